"""`triage lab soak` and `triage lab machine`: the drawn lifecycles from the command line."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from triage import engines
from triage.commands.completion import names, release_names
from triage.commands.lab_options import dumps_option, under
from triage.commands.progress import counted
from triage.commands.written import json_option
from triage.config import MODES
from triage.errors import LabError
from triage.files.reports import report_json
from triage.files.text import echo

NEEDS = "drawn lifecycles need hypothesis: pip install 'sglang-triage[test]'"


@click.command()
@click.option("--steps", default=2000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=0, show_default=True, help="Number of the first search.")
@click.option(
    "--sglang",
    "releases",
    shell_complete=names(release_names),
    multiple=True,
    help="Under this release; may be given again, or `all`: the steps are shared among them.",
)
@dumps_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON lines, one a search; a second run with the same file goes on.",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="raise",
    show_default=True,
    help="Of the traps; but for raise, what the scheduler frees lands inside a queued forward.",
)
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes at a time; each writes its own file beside --output.",
)
@click.option(
    "--engine",
    type=click.Choice(engines.NAMES),
    default="local",
    show_default=True,
    help="Where those processes run: this machine, or Ray's workers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def soak(
    steps: int,
    seed: int,
    releases: tuple[str, ...],
    directory: Path,
    output: Path | None,
    mode: str,
    jobs: int,
    engine: str,
    as_json: bool,
) -> None:
    """Lifecycles drawn by Hypothesis, in which nothing may fire, until STEPS decode steps.

    Exit code: 0 nothing fired, 1 a false alarm or a finding, 2 usage.
    """
    from triage.lab import versions
    from triage.lab.soak import SoakReport

    wanted = tuple(versions.available()) if "all" in releases else releases
    if len(wanted) > 1 or jobs > 1 or engine == "ray":
        if output is None:
            raise LabError("several processes write what they played: give --output FILE")
        from triage.lab.bootstrap import sglang_version
        from triage.lab.soak_jobs import play, play_over, shares

        parts = shares(wanted or (sglang_version(),), jobs, output)
        if engine == "ray":
            with closing(engines.engine(engine, jobs)) as spread:
                counted(
                    "decode steps", lambda bar: play_over(spread, parts, steps, seed, mode, bar)
                )
        else:
            counted(
                "decode steps", lambda bar: play(parts, jobs, steps, seed, directory, mode, bar)
            )
        report = SoakReport.of(line for part in parts for line in part.lines())
    else:
        report = _run_here(wanted[0] if wanted else None, steps, seed, directory, output, mode)
    echo(report_json("lab-soak", report.json()) if as_json else text(report.json()))
    if output is not None and not as_json:
        echo(f"wrote {output}")
    raise SystemExit(1 if report.alarms or report.findings else 0)


def _run_here(
    version: str | None, steps: int, seed: int, directory: Path, output: Path | None, mode: str
) -> Any:
    under(version)
    from triage.lab.soak import soak as run

    try:
        return counted("decode steps", lambda bar: run(steps, seed, directory, output, bar, mode))
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        raise LabError(NEEDS) from error


def text(report: dict[str, Any]) -> str:
    """The report for a terminal: totals, steps by combination, what fired and its script."""
    from triage.lab.combinations import left_out

    lines = [
        f"{report['steps']} decode steps of {report['examples']} lifecycles in "
        f"{report['searches']} searches, {report['seconds']:.0f} s of a core, "
        f"{report['steps_per_second']} steps a second of it",
        f"  {report['launches']} launches, {report['allocator_events']} allocator calls, "
        f"{report['ledger_audits']} free lists equal to the ledger",
        f"  {len(report['alarms'])} false alarms, {len(report['findings'])} findings",
        "  steps with " + ", ".join(f"{name}: {n}" for name, n in report["settings"].items()),
    ]
    for version, drawn in report["releases"].items():
        lines.append(f"  {version}: {drawn['drawn']} of {drawn['of']} combinations drawn")
    lines.append(
        f"{'SGLang':13} {'backend':11} {'pool':4} {'page':>4} {'draft':6} {'cache':9} {'steps':>7}"
    )
    for version, backend, pool, page, draft, cache, steps in report["cells"]:
        lines.append(f"{version:13} {backend:11} {pool:4} {page:4} {draft:6} {cache:9} {steps:7}")
    for version in report["releases"]:
        lines += [f"left out on {version}: {sentence}" for sentence in left_out(version)]
    for kind in ("alarms", "findings"):
        for found in report[kind]:
            lines.append(f"{kind[:-1]} on {found['sglang']}, search {found['number']}:")
            lines += [f"  {line}" for line in found["error"].splitlines()]
            lines.append(f"  oracle: {found['oracle']}")
            lines += ["  shortest script found:", found["script"]]
    return "\n".join(lines)


@click.command()
@click.option("--examples", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--steps", default=20, show_default=True, help="Rules per example, at most.")
@click.option("--seed", default=0, show_default=True, help="Number of the search.")
@click.option(
    "--sglang",
    "version",
    shell_complete=names(release_names),
    help="Under this release instead of the installed one.",
)
@dumps_option
@json_option
def machine(
    examples: int, steps: int, seed: int, version: str | None, directory: Path, as_json: bool
) -> None:
    """One search of drawn lifecycles, traps on; a failure is shrunk to a short script.

    Exit code: 0 nothing fired, 1 something did, 2 usage.
    """
    under(version)
    try:
        from triage.lab.machine import search
    except ModuleNotFoundError as error:
        raise LabError(NEEDS) from error
    tally, failure = search(examples, steps, directory, number=seed)
    if as_json:
        found = None if failure is None else asdict(failure)
        told = {"lifecycles": tally.examples, "steps": sum(tally.steps.values()), "failure": found}
        echo(report_json("lab-machine", told))
        raise SystemExit(0 if failure is None else 1)
    played = f"{tally.examples} lifecycles, {sum(tally.steps.values())} decode steps"
    if failure is None:
        echo(f"{played}: nothing fired")
        return
    echo(failure.error)
    echo(f"oracle: {failure.oracle}")
    echo("shortest script found:")
    echo(failure.script)
    raise SystemExit(1)
