"""`triage explain`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from triage.explain.anything import STDIN, explain_anything


@click.command()
@click.argument("anything", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(anything: tuple[str, ...], as_json: bool) -> None:
    """Name the cause of what ANYTHING holds, with its evidence, or say that it is unknown.

    ANYTHING is one or more of: a dump, a log (of SGLang, kv_canary, compute-sanitizer,
    cuda-gdb, the driver, FlashInfer; compressed or not), a FlashInfer level-10 folder, a
    folder of any of them, or - for standard input. A log given with a dump is set beside its
    launch.

    The exit code is 0 whenever something could be read: an unknown cause is an answer.
    """
    from triage.explain.pages import is_page

    if len(anything) == 1 and is_page(anything[0]) and not Path(anything[0]).exists():
        _page(anything[0], as_json)
        return
    stdin = sys.stdin.buffer.read() if STDIN in anything else None
    report = explain_anything(anything, stdin)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
        return
    from triage.report.explain import print_report

    print_report(report)


def _page(name: str, as_json: bool) -> None:
    from triage.explain.pages import page

    found = page(name)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=2))
        return
    from triage.report.explain import print_page

    print_page(found)
