"""`triage lab serve`: a real server on this machine's GPU. Thin coat over `session.py`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from triage.commands.completion import (
    architectures,
    attention_backends,
    names,
    server_defects,
    server_fixes,
    server_flags,
    server_loads,
    server_modes,
    shapes,
)
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import write_output

if TYPE_CHECKING:
    from triage.lab.server.result import Served

EXIT_CANNOT_RUN = 3


@click.command()
@click.argument("shape", shell_complete=names(shapes))
@click.option("--small", is_flag=True, help="Two periods of layers, with a seeded checkpoint.")
@click.option("--mtp", is_flag=True, help="With the shape's assistant as a frozen-KV draft.")
@click.option(
    "--defect",
    metavar="NAME",
    shell_complete=names(server_defects),
    help="Put this historical defect back first.",
)
@click.option(
    "--mode",
    default="default",
    show_default=True,
    metavar="MODE",
    shell_complete=names(server_modes),
    help="default (DEBUG=1 alone), off, raise, contain or log.",
)
@click.option(
    "--fix",
    "fixes",
    multiple=True,
    metavar="NAME",
    shell_complete=names(server_fixes),
    help="Apply it; may be repeated.",
)
@click.option(
    "--load",
    default="plain",
    show_default=True,
    metavar="LOAD",
    shell_complete=names(server_loads),
    help="plain (repeatable), mixed (aborts, edges), none (serve until Ctrl-C).",
)
@click.option("--requests", type=click.IntRange(min=1), help="Of the load; its own by default.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Of the load, likewise.")
@click.option("--seed", default=0, show_default=True, help="Every request follows from it.")
@click.option(
    "--attention",
    default="trtllm_mha",
    show_default=True,
    metavar="BACKEND",
    shell_complete=names(attention_backends),
    help="trtllm_mha as far as this GPU has it, or triton throughout, with true head sizes.",
)
@click.option("--port", default=30000, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds to be healthy in."
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="Model, log, answers, dumps; must be new. A folder in /tmp by default.",
)
@click.option(
    "--weights",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Serve this checkpoint of SHAPE instead of a model made on the spot.",
)
@click.option(
    "--draft-weights",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="With --mtp, the assistant's checkpoint.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="FLAG",
    shell_complete=names(server_flags),
    help="Leave out this flag of those chosen here; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Say the plan, start nothing.")
@click.option(
    "--arch",
    metavar="ARCH",
    shell_complete=names(architectures),
    help="With --dry-run: plan for this GPU, as sm_100.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON result.")
@click.argument("server_flags", nargs=-1, type=click.UNPROCESSED)
def serve(
    shape: str,
    small: bool,
    mtp: bool,
    defect: str | None,
    mode: str,
    fixes: tuple[str, ...],
    load: str,
    requests: int | None,
    concurrency: int | None,
    seed: int,
    attention: str,
    port: int,
    timeout_s: float,
    directory: Path | None,
    weights: Path | None,
    draft_weights: Path | None,
    without: tuple[str, ...],
    dry_run: bool,
    arch: str | None,
    as_json: bool,
    server_flags: tuple[str, ...],
) -> None:
    """Serve SHAPE (E2B, E4B, 26B-A4B, 31B) with the installed SGLang, and play a load.

    No tokenizer, no network, and no weights but those of --weights: the model is made on the
    spot. Everything after `--` goes to the server and wins over what is chosen here.

    Exit code: 0 as asked and clean, 1 a trap fired or the server failed, 2 usage, 3 cannot
    run here, 130 and 143 interrupted (answers so far are kept).
    """
    from triage.fleet import interrupts
    from triage.lab.server import session
    from triage.lab.server.machine import CannotServe, elsewhere, examine
    from triage.lab.server.report import text
    from triage.lab.server.shapes import find

    if arch is not None and not dry_run:
        raise click.UsageError("--arch plans for a GPU that is not here: only with --dry-run")
    if directory is None:
        stamp = time.strftime("%Y%m%dT%H%M%S")
        directory = Path(tempfile.gettempdir()) / f"triage_serve_{os.getuid()}" / stamp
    wish = session.Wish(
        shape,
        directory.absolute(),
        small=small,
        mtp=mtp,
        attention=attention,
        defect=defect,
        mode=mode,
        fixes=fixes,
        load=load,
        requests=requests,
        concurrency=concurrency,
        seed=seed,
        port=port,
        timeout_s=timeout_s,
        given=server_flags,
        without=without,
        weights=weights,
        draft_weights=draft_weights,
    )

    def say(line: str) -> None:
        echo(line, err=as_json)

    with interrupts.raised():
        code = 0
        try:
            find(shape)  # a name that there is not needs no GPU to be told
            plan = session.plan(wish, examine() if arch is None else elsewhere(arch))
            for line in plan.sentences():
                say(line)
            if dry_run:
                return
            try:
                served = _counted(lambda progress: session.serve(plan, say, progress))
                code = served.exit_code
            except interrupts.Interrupted as interrupt:
                served, code = session.partial(plan), interrupt.exit_code
        except CannotServe as error:
            echo(f"Error: {error}", err=True)
            raise SystemExit(EXIT_CANNOT_RUN) from error
        except interrupts.Interrupted as interrupt:
            raise SystemExit(interrupt.exit_code) from interrupt
    result = directory / "result.json"
    record = report_json("lab-serve", served.json(), indent=1) + "\n"
    write_output(result, record.encode(), force=True)
    echo(report_json("lab-serve", served.json()) if as_json else text(served))
    if not as_json:
        echo(f"wrote {result}")
    raise SystemExit(code)


def _counted(work: Callable[[Callable[[int, int], None]], Served]) -> Served:
    from triage.commands.progress import counted

    served: Served = counted("requests done", work)
    return served
