"""`triage quality`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from triage.commands.workload import drive, finish
from triage.files.reports import report_json
from triage.files.text import echo
from triage.fleet.client import Server
from triage.fleet.journal import read
from triage.fleet.quality import COLOURS, Quality, asker, digest, judge, load_tasks
from triage.fleet.workloads import FleetError


@click.command()
@click.option("--base-url", required=True, help="Root of the server, with or without /v1.")
@click.option("--tasks", default=COLOURS, show_default=True, help="Task file, or the built-in set.")
@click.option("--baseline", type=click.Path(path_type=Path), help="Results to compare with.")
@click.option("--out", type=click.Path(path_type=Path), help="Result file, JSON lines.")
@click.option("--model", default="", help="Default: the first model that is served.")
@click.option("--max-tokens", default=32, show_default=True, type=click.IntRange(1))
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(1))
@click.option("--timeout", default=600.0, show_default=True, help="Seconds per request.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def quality(
    base_url: str,
    tasks: str,
    baseline: Path | None,
    out: Path | None,
    model: str,
    max_tokens: int,
    concurrency: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask every task at temperature 0: accuracy, and agreement with a baseline run.

    Exit codes as for `triage workload`.
    """
    known = load_tasks(tasks)
    before = read(baseline) if baseline is not None else None
    path = out or Path(f"quality-{time.strftime('%Y%m%dT%H%M%S')}.jsonl")
    header = {"count": len(known), "max_tokens": max_tokens, "set": digest(known)}
    if before is not None:
        for name in ("count", "set"):
            if before.header.get(name) != header[name]:
                raise FleetError(f"{baseline} is a run of another set of tasks ({name} differs)")
    ask = asker(known, max_tokens)
    end = drive(Server(base_url, model, timeout), path, header, len(known), concurrency, ask)
    found = judge(known, read(path), before)
    echo(report_json("quality", found.as_dict()) if as_json else _text(found))
    raise SystemExit(finish(end, path, as_json))


def _text(found: Quality) -> str:
    share = found.right / found.answered if found.answered else 0.0
    lines = [f"accuracy {found.right}/{found.answered} ({share:.1%})"]
    if found.compared is not None and found.characters is not None:
        lines.append(
            f"identical to the baseline {found.identical}/{found.compared}, "
            f"{found.characters:.1%} of characters before the first difference"
        )
    if found.first_divergence is not None:
        parted = found.first_divergence
        lines.append(
            f"first divergence: {parted['task']}, character {parted['position']}: "
            f"{parted['baseline']!r} became {parted['run']!r}"
        )
    return "\n".join(lines)
