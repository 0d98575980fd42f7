"""`triage lab bugs`, `matrix` and `versions`: the catalogue from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from triage.commands import completion as complete
from triage.commands.engine_options import engine_options
from triage.commands.lab_options import dumps_option, under
from triage.commands.options import force_option
from triage.commands.progress import counted, progress
from triage.errors import LabError, UnsupportedSGLang
from triage.files.reports import report_json
from triage.files.text import console, echo
from triage.files.writing import check_output, write_output


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete.names(complete.bugs))
@click.option(
    "--sglang",
    "version",
    shell_complete=complete.names(complete.release_names),
    help="Play under this release instead of the installed one.",
)
@dumps_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bugs(names: tuple[str, ...], version: str | None, directory: Path, as_json: bool) -> None:
    """List the catalogue, or play the bugs called NAMES with all traps on.

    Exit code: 0 listed, or every one played was caught; 1 one was missed; 2 usage.
    """
    if not names:
        _list(as_json)
        return
    under(version)
    from triage.lab.bugs import find
    from triage.lab.matrix import run

    lines = run([find(name) for name in names], directory).lines
    if as_json:
        echo(report_json("lab-bug", [line.json() for line in lines]))
    for line in lines if not as_json else ():
        echo(f"{line.bug} (SGLang {line.sglang}): {line.what}")
        if line.not_applicable:
            echo(f"  not played: {line.not_applicable}")
            continue
        echo(f"  without traps: {line.untrapped}")
        caught = "caught" if line.caught else "MISSED"
        echo(f"  {caught}: {line.summary or 'nothing fired'}")
        echo(f"  explained: {line.explained or 'no dump'} {line.named}; fix: {line.fixed}")
    raise SystemExit(0 if all(line.not_applicable or line.caught for line in lines) else 1)


def _list(as_json: bool) -> None:
    from triage.lab.bugs import CATALOGUE

    if as_json:
        known = [
            {
                "name": bug.name,
                "what": bug.what,
                "reference": bug.reference,
                "released": bug.released,
                "invariants": list(bug.invariants),
            }
            for bug in CATALOGUE.values()
        ]
        echo(report_json("lab-bugs", known))
        return
    for bug in CATALOGUE.values():
        origin = "released" if bug.released else "re-injected"
        echo(f"{bug.name:32} {'/'.join(bug.invariants):12} {origin:11} {bug.what}")
    echo(f"{len(CATALOGUE)} bugs; triage lab bugs NAME plays one, triage lab matrix all")


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete.names(complete.bugs))
@click.option(
    "--sglang",
    "releases",
    multiple=True,
    shell_complete=complete.names(complete.release_names),
    help="Under this release; may be given again.",
)
@dumps_option
@engine_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page here as well.")
@force_option
def matrix(
    names: tuple[str, ...],
    releases: tuple[str, ...],
    directory: Path,
    engine: str,
    workers: int | None,
    as_json: bool,
    markdown: bool,
    page: Path | None,
    force: bool,
) -> None:
    """Play the catalogue, or the bugs called NAMES: traps on, bounds only, fixes on.

    False alarms stand beside it. Releases are played one after the other; with --workers, or over
    Ray, several at a time.
    Exit code: 0 everything that applies was caught and nothing else fired, 1 not, 2 usage.
    """
    from triage.report import matrix as report

    if page is not None:
        check_output(page, force=force)
    lines: list[dict[str, Any]] = []
    if engine == "ray" or workers is not None:
        lines = _spread(names, releases or ("",), directory, engine, workers)
    else:
        for release in releases or ("",):
            lines += _lines(names, release, directory)
    if as_json:
        echo(report_json("lab-matrix", lines))
    elif markdown:
        echo(report.markdown(lines))
    else:
        _table(lines)
    if page is not None:
        write_output(page, report.html(lines).encode(), force=force)
    if not as_json:
        echo(report.summary(lines))
        if page is not None:
            echo(f"wrote {page}")
    good = all(
        line["not_applicable"] or (line["caught"] and not line["false_alarm"]) for line in lines
    )
    raise SystemExit(0 if good else 1)


def _spread(
    names: tuple[str, ...],
    releases: tuple[str, ...],
    directory: Path,
    engine: str,
    workers: int | None,
) -> list[dict[str, Any]]:
    """The lines of all releases in their order, each played in a process of a worker."""
    from contextlib import closing

    from triage.engines import engine as engine_of
    from triage.lab.jobs import Command, answers

    commands = [
        Command(
            ("lab", "matrix", *names, "--json", "--dir", str(directory / (release or "installed"))),
            release,
        )
        for release in releases
    ]
    with closing(engine_of(engine, workers)) as spread, progress("releases", len(commands)) as tell:
        made = answers(spread, commands, (0, 1), tell)
    return [row for command in commands for row in made[command]["rows"]]


def _lines(names: tuple[str, ...], release: str, directory: Path) -> list[dict[str, Any]]:
    """The lines of one release: here, or in a process of its own."""
    if release:
        from triage.lab import versions

        command = [sys.executable, "-m", "triage", "lab", "matrix", *names, "--json"]
        done = subprocess.run(
            [*command, "--dir", str(directory)],
            env=versions.environment(release),
            stdout=subprocess.PIPE,
            stderr=None if sys.stderr.isatty() else subprocess.PIPE,  # the bar, or the reason
            text=True,
        )
        if done.returncode not in (0, 1) or not done.stdout.strip():
            why = (done.stderr or "see above").strip()[-500:]
            raise LabError(f"the matrix failed on SGLang {release}: {why}")
        made: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])["rows"]
        return made
    under(None)
    from triage.lab.bugs import CATALOGUE, find
    from triage.lab.matrix import run

    played = [find(name) for name in names] or CATALOGUE.values()
    found = counted("bugs", lambda progress: run(played, directory, progress))
    return [line.json() for line in found.lines]


def _table(lines: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from triage.report.matrix import columns, rows

    table = Table(*columns(lines))
    for row in rows(lines):
        table.add_row(*row)
    console().print(table)


@click.command("versions")
@click.argument("scenario", default="smoke", shell_complete=complete.names(complete.scenarios))
@click.option("--install", multiple=True, help="Fetch this release first; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def releases(scenario: str, install: tuple[str, ...], as_json: bool) -> None:
    """Run SCENARIO with the traps on under every SGLang release at hand.

    Exit code: 0 clean on all, 1 not, 2 usage.
    """
    from triage.lab import bootstrap, versions

    bootstrap.need("torch")  # each release would say so, one by one
    for version in install:
        versions.install(version)
    if not versions.available():
        raise UnsupportedSGLang("no release of SGLang is at hand; --install 0.5.18 fetches one")
    results = []
    with progress("releases", len(versions.available())) as tell:
        for result in versions.run_all(scenario):
            results.append(result)
            tell(len(results))
            if not as_json:
                echo(f"{result['sglang']:14} {result['outcome']:8} {result['detail']}")
    if as_json:
        echo(report_json("lab-versions", results))
    raise SystemExit(0 if all(result["outcome"] == "clean" for result in results) else 1)
