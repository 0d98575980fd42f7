"""`triage verify`."""

from __future__ import annotations

import click

from triage.commands.completion import names, provable, scenarios
from triage.commands.progress import progress
from triage.errors import did_you_mean
from triage.files.reports import report_json
from triage.files.text import echo
from triage.verify.proof import HEADER, markdown, rows
from triage.verify.prove import PROVABLE, prove_all


@click.command()
@click.argument("fixes", nargs=-1, metavar="[FIX]...", shell_complete=names(provable))
@click.option(
    "--scenario",
    default="smoke",
    show_default=True,
    shell_complete=names(scenarios),
    help="Lab scenario of the crash.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print a Markdown table.")
def verify(fixes: tuple[str, ...], scenario: str, as_json: bool, as_markdown: bool) -> None:
    """Show for each FIX (all, if none is named) that the failure goes with it.

    Red without it, green with it, and equal to an SGLang that never had the defect; for
    comparison what `clamp` costs. A proof takes up to two minutes; several need further SGLang
    releases, which is said before the first one runs.

    Exit code: 0 every proof holds, 1 one does not, 3 torch, SGLang or a release is missing.
    """
    unknown = [name for name in fixes if name not in PROVABLE]
    if unknown:
        meant = did_you_mean(unknown[0], PROVABLE)
        raise click.UsageError(f"no fix {unknown[0]!r}{meant}; known: {', '.join(PROVABLE)}")
    with progress("verify") as tell:
        proofs = prove_all(fixes, scenario, tell)
    if as_json:
        echo(report_json("verify", [proof.as_dict() for proof in proofs], indent=2))
    elif as_markdown:
        echo(markdown(proofs))
    else:
        for proof, cells in zip(proofs, rows(proofs), strict=True):
            echo(f"\n{proof.fix}: {'holds' if proof.holds else 'DOES NOT HOLD'}")
            for name, cell in list(zip(HEADER, cells, strict=True))[1:-1]:
                echo(f"  {name:14} {cell}")
    raise SystemExit(0 if all(proof.holds for proof in proofs) else 1)
