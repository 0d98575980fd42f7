"""`triage kernels sanitize`."""

from __future__ import annotations

from dataclasses import asdict

import click

from triage.commands.kernels_options import DEVICE, JSON, prepare
from triage.files.reports import report_json
from triage.files.text import echo


@click.command()
@click.argument("ops", nargs=-1)
@click.option("--sanitizer", "modes", multiple=True, type=click.Choice(["fpsan", "gsan", "iisan"]))
@DEVICE
@JSON
def sanitize(ops: tuple[str, ...], modes: tuple[str, ...], device: str, as_json: bool) -> None:
    """Run our kernels under Triton's sanitizers, where it has them (3.9) and there is a GPU."""
    prepare(device)
    from triage_kernels.validate.report import result_text
    from triage_kernels.validate.sanitizers import SANITIZERS
    from triage_kernels.validate.sanitizers import sanitize as run

    results = []
    for result in run(ops, device, modes or SANITIZERS):
        results.append(result)
        if not as_json:
            echo(result_text(result, details=True))
    if as_json:
        echo(report_json("kernels-sanitize", {"results": [asdict(r) for r in results]}, indent=1))
    outcomes = {r.outcome for r in results}
    raise SystemExit(1 if "FAIL" in outcomes else 0 if "PASS" in outcomes else 3)
