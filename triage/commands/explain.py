"""`triage explain`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from triage.commands.completion import names, pages
from triage.commands.progress import progress
from triage.errors import did_you_mean
from triage.explain import classes
from triage.explain.together import together
from triage.files.reports import report_json
from triage.files.text import echo
from triage.importers.anything import STDIN, read_anything
from triage.invariants import catalogue


@click.command()
@click.argument("anything", nargs=-1, required=True, shell_complete=names(pages, files=True))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(anything: tuple[str, ...], as_json: bool) -> None:
    """Name the cause of what ANYTHING holds, with its evidence, or say that it is unknown.

    ANYTHING is one or more of: a dump, a log (of SGLang, kv_canary, compute-sanitizer,
    cuda-gdb, the driver, FlashInfer; compressed or not), a FlashInfer level-10 folder, a
    folder of any of them, or - for standard input. A log given with a dump is set beside its
    launch. The name of an invariant (I12) or of a class of defect (double-free) is its page.

    The exit code is 0 if all of it could be read: an unknown cause is an answer.
    """
    row = catalogue.find(anything[0].upper()) if len(anything) == 1 else None
    if row is not None and not Path(anything[0]).exists():
        echo(
            report_json("explain-invariant", classes.invariant_as_dict(row), indent=2)
            if as_json
            else classes.invariant_page(row)
        )
        return
    known = classes.find(anything[0]) if len(anything) == 1 else None
    if known is not None and not Path(anything[0]).exists():
        echo(report_json("explain-class", known.as_dict(), 2) if as_json else classes.page(known))
        return
    if len(anything) == 1 and not Path(anything[0]).exists() and (meant := _meant(anything[0])):
        raise click.UsageError(f"no file, invariant or class {anything[0]!r}{meant}")
    stdin = sys.stdin.buffer if STDIN in anything else None
    with progress("explain", 2) as tell:
        inputs = read_anything(anything, stdin)
        tell(1, now="setting side by side")
        report = together(inputs)
    if as_json:
        echo(report_json("explain", report.as_dict(), indent=2))
    else:
        from triage.report.explain import print_report

        print_report(report)
    raise SystemExit(2 if any(given.unread for given in report.inputs) else 0)


def _meant(name: str) -> str:
    """What a name that is no file may stand for; empty for what looks like a path."""
    if "/" in name or "." in name or name == STDIN:
        return ""
    return did_you_mean(name, (*catalogue.BY_NAME, *classes.CLASSES))
