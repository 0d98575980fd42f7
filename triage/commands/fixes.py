"""`triage fixes`."""

from __future__ import annotations

import click

from triage.commands.completion import names, release_names
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo
from triage.lab import bootstrap, versions


@click.command()
@click.option(
    "--sglang",
    "version",
    shell_complete=names(release_names),
    help="Ask this release instead of the installed one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fixes(version: str | None, as_json: bool) -> None:
    """List every fix and whether the installed SGLang needs it.

    Each fix asks SGLang's own code; NEEDED, ALREADY_FIXED and NOT_APPLICABLE come with
    what was seen. Exit code 0 whenever SGLang could be asked.
    """
    if version is not None and version != bootstrap.sglang_version():
        versions.restart(version, ["fixes", *(["--json"] if as_json else [])])
    with progress("fixes") as tell:
        tell(0, now="loading SGLang")
        installed = bootstrap.prepare()
        from triage.sglang.fixes import AUTO, FIXES, Probe

        answers: dict[str, Probe] = {}
        for name, fix in FIXES.items():
            tell(len(answers), len(FIXES), now=name)
            answers[name] = fix.ask()
    if as_json:
        rows = {
            name: {
                "need": answer.need.value,
                "reason": answer.reason,
                "what": FIXES[name].what,
                "automatic": FIXES[name].automatic,
            }
            for name, answer in answers.items()
        }
        echo(report_json("fixes", {"sglang": installed, "fixes": rows}, indent=2))
        return
    echo(f"SGLang {installed}; apply with SGLANG_TRIAGE_FIXES=name,... or {AUTO}")
    for name, answer in answers.items():
        star = "" if FIXES[name].automatic else f"   (never part of {AUTO})"
        echo(f"\n{name}{star}\n  {FIXES[name].what}\n  {answer.need.value}: {answer.reason}")
