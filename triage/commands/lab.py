"""`triage lab`: run SGLang's real memory classes on a CPU. Thin coat over `triage/lab/run.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.commands.completion import (
    check_names,
    names,
    reinjections,
    release_names,
    scenarios,
    server_fixes,
)
from triage.commands.lab_blind import blind
from triage.commands.lab_catalogue import bugs, matrix, releases
from triage.commands.lab_options import dumps_option, under
from triage.commands.lab_serve import serve
from triage.commands.lab_soak import machine, soak
from triage.commands.options import WholeHelp
from triage.commands.progress import progress
from triage.config import CHECKS, MODES, from_environment
from triage.files.reports import report_json
from triage.files.text import echo
from triage.lab.scenarios import BACKENDS

OUTCOME = {
    "clean": "clean: every launch read what it should",
    "trapped": "TRAPPED before the launch",
    "contained": "CONTAINED: no fault, and an exception before the step's tokens were accepted",
    "fault": "FAULT: a GPU would have died of an illegal memory access here",
}


@click.group(cls=WholeHelp)
def lab() -> None:
    """Reproduce KV-cache faults in SGLang's real classes, on a CPU; `serve` on a GPU."""


@lab.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_scenarios(as_json: bool) -> None:
    """Scenarios, defects that can be re-injected, and SGLang releases at hand."""
    from triage.lab import versions
    from triage.lab.reinject import REINJECTIONS
    from triage.lab.scenarios import SCENARIOS

    if as_json:
        echo(
            report_json(
                "lab-list",
                {
                    "scenarios": {s.name: s.what for s in SCENARIOS.values()},
                    "defects": list(REINJECTIONS),
                    "sglang": list(versions.available()),
                },
            )
        )
        return
    for scenario in SCENARIOS.values():
        echo(f"{scenario.name:32} {scenario.what}")
    echo(f"defects: {', '.join(REINJECTIONS)}")
    echo(f"further SGLang releases: {', '.join(versions.available()) or 'none'}")


@lab.command()
@click.argument("scenario", shell_complete=names(scenarios))
@click.option("--seed", default=0, show_default=True, help="Everything follows from it.")
@click.option(
    "--reinject",
    shell_complete=names(reinjections),
    help="Put this historical defect back first, one of `triage lab list`.",
)
@click.option("--trap/--no-trap", default=True, show_default=True, help="Arm the traps.")
@click.option(
    "--checks",
    default="",
    shell_complete=names(check_names),
    help="Families or invariants to check, as I1,I20.",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="raise",
    show_default=True,
    help="What a trap does: stop before the launch, contain it, or only log.",
)
@click.option(
    "--fix",
    "fixes",
    multiple=True,
    shell_complete=names(server_fixes),
    help="Apply this fix, one of `triage fixes`; may be given again.",
)
@click.option(
    "--sglang",
    "version",
    shell_complete=names(release_names),
    help="Run under this release instead of the installed one.",
)
@dumps_option
@click.option("--steps", type=click.IntRange(min=1), help="Stop after this many decode steps.")
@click.option("--overlap/--no-overlap", default=True, show_default=True, help="Overlap scheduling.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="trtllm_mha",
    show_default=True,
    help="Whose metadata SGLang builds, and whose kernels are stood in for.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run(
    scenario: str,
    seed: int,
    reinject: str | None,
    trap: bool,
    checks: str,
    mode: str,
    fixes: tuple[str, ...],
    version: str | None,
    directory: Path,
    steps: int | None,
    overlap: bool,
    backend: str,
    as_json: bool,
) -> None:
    """Drive SCENARIO to its end, to the first trap, or to the fault a GPU would have had.

    `triage lab list` has the scenarios. Exit code: 0 clean, 1 trapped or faulted, 2 usage.
    """
    from triage.lab.reinject import check_name
    from triage.lab.scenarios import find, with_backend

    from_environment({CHECKS: checks})
    if reinject is not None:
        check_name(reinject)
    if fixes:
        from triage.lab import bootstrap

        bootstrap.need("torch")
        from triage.sglang.fixes import check_names

        check_names(fixes)
    found = with_backend(find(scenario), backend, reinject)
    with progress("requests") as tell:
        tell(0, found.requests, now="loading SGLang")
        under(version)
        from triage.lab.run import Request
        from triage.lab.run import run as drive

        request = Request(
            scenario=found,
            seed=seed,
            reinject=reinject,
            traps=trap,
            fixes=fixes,
            directory=directory,
            max_steps=steps,
            overlap=overlap,
            checks=checks,
            mode=mode,
        )
        tell(0, found.requests, now="building pools")
        report = drive(request, tell)
    echo(report_json("lab-run", report.json()) if as_json else _text(report.json()))
    raise SystemExit(0 if report.outcome == "clean" else 1)


def _text(report: dict[str, Any]) -> str:
    setup = [report["backend"], f"SGLang {report['sglang']}", f"seed {report['seed']}"]
    setup += [f"defect {report['reinject']} re-injected"] if report["reinject"] else []
    setup += ["traps on" if report["traps"] else "traps off"]
    setup += [f"fix {name}" for name in report["fixes"]]
    lines = [
        f"{report['scenario']} ({', '.join(setup)})",
        f"  {OUTCOME[report['outcome']]}",
        f"  {report['launches']} launches, {report['steps']} decode steps, "
        f"{report['finished']} of {report['requests']} requests done, "
        f"{report['seconds']['drive']} s",
    ]
    wrong, fault, trapped = report["first_wrong"], report["fault"], report["trapped"]
    if wrong:
        lines.append(
            f"  ids were first wrong at launch {wrong['launch']} ({wrong['role']} "
            f"{wrong['forward_mode']}, layer {wrong['layer_id']}, {wrong['entries']} entries); "
            f"{report['wrong_launches']} launches read wrong pages"
        )
    if fault:
        lines.append(
            f"  fault at launch {fault['launch']}, layer {fault['layer_id']}, SWA pool "
            f"{fault['swa_fill']:.0%} full now, {report['peak_swa_fill']:.0%} at most "
            "(emulated: addresses are deduced, no GPU ran)"
        )
    if report["ring"]:
        lines.append(f"  the flight recorder's ring: {report['ring']}")
    if trapped:
        lines += [f"  {line}" for line in trapped["message"].splitlines()]
    lines.append(f"  tables sha256 {report['tables_digest'][:16]}")
    return "\n".join(lines)


lab.add_command(blind)
lab.add_command(bugs)
lab.add_command(machine)
lab.add_command(matrix)
lab.add_command(releases)
lab.add_command(serve)
lab.add_command(soak)
