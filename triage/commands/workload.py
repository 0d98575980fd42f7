"""`triage workload`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click

from triage.commands.options import WholeHelp, force_option
from triage.commands.progress import progress
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.fleet import compare as comparison
from triage.fleet import interrupts, load, summary
from triage.fleet.client import Answer, Server
from triage.fleet.journal import Journal, read
from triage.fleet.workloads import WORKLOADS, FleetError, Workload, prompt


@click.group(cls=WholeHelp)
def workload() -> None:
    """Drive an OpenAI-compatible server with the workloads of the first crashes.

    \b
    Exit codes: 0 all answered, 1 some requests failed, 2 usage, 3 the server is not
    there or went away. What was answered is kept; the same command goes on from there.
    """


def _command(spec: Workload) -> click.Command:
    """`triage workload NAME`."""

    @click.command(
        spec.name,
        help=f"{spec.what}: {spec.prompts} prompts, {spec.input_tokens} in / "
        f"{spec.output_tokens} out, {spec.concurrency} at a time.",
    )
    @click.option("--base-url", required=True, help="Root of the server, with or without /v1.")
    @click.option("--model", default="", help="Default: the first model that is served.")
    @click.option("--label", default="", help="Runs of one label are repetitions in `compare`.")
    @click.option("--out", type=click.Path(path_type=Path), help="Result file, JSON lines.")
    @click.option("--seed", default=0, show_default=True, help="Of the prompts.")
    @click.option("--prompts", default=spec.prompts, show_default=True, type=click.IntRange(1))
    @click.option("--timeout", default=600.0, show_default=True, help="Seconds per request.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def run(
        base_url: str,
        model: str,
        label: str,
        out: Path | None,
        seed: int,
        prompts: int,
        timeout: float,
        as_json: bool,
    ) -> None:
        path = out or Path(f"workload-{spec.name}-{time.strftime('%Y%m%dT%H%M%S')}.jsonl")
        header = {"workload": spec.name, "seed": seed, "prompts": prompts, "label": label}

        async def ask(server: Server, index: int, origin: float) -> Answer:
            text = prompt(spec, index, seed)
            return await server.complete(index, text, spec.output_tokens, origin)

        server = Server(base_url, model, timeout)
        end = drive(server, path, header, prompts, spec.concurrency, ask, note_accept_length=True)
        found = summary.summarise(read(path))
        echo(report_json("workload", found.as_dict()) if as_json else summary.text_of(found))
        raise SystemExit(finish(end, path, as_json))

    return run


def drive(
    server: Server,
    path: Path,
    header: dict[str, Any],
    total: int,
    concurrency: int,
    ask: load.Ask,
    *,
    note_accept_length: bool = False,
) -> load.End:
    """Run with a progress bar on stderr; leaves with SystemExit where no server answers."""

    async def all_of_it() -> load.End:
        async with server:
            problem = await load.reachable(server)
            if problem:
                echo(problem, err=True)
                raise SystemExit(int(load.End.SERVER_GONE))
            of_whom = {"model": server.model, "server": server.root}
            journal = Journal(path, {**header, **of_whom}).open()
            try:
                with progress("requests", total) as tell:
                    return await load.run(
                        server, journal, total, concurrency, ask, tell, note_accept_length
                    )
            finally:
                journal.close()

    try:
        with interrupts.raised():
            return asyncio.run(all_of_it())
    except interrupts.Interrupted as stop:
        echo(f"\nstopped; what was answered is in {path}, run again to go on", err=True)
        raise SystemExit(stop.exit_code) from None


def finish(end: load.End, path: Path, quiet: bool) -> int:
    """Say where the results are and what is missing; returns the exit code."""
    if end is load.End.SERVER_GONE:
        echo("the server went away in the middle; run again to go on from there", err=True)
    elif end is load.End.ERRORS:
        errors = [answer.error for answer in read(path).answers.values() if answer.error]
        echo(f"{len(errors)} requests failed, the first with {errors[0]}", err=True)
    echo(f"results: {path}", err=quiet)
    return int(end)


@workload.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--plot", type=click.Path(path_type=Path), help="Write a bar chart (PNG, SVG, PDF).")
@force_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(runs: tuple[Path, ...], plot: Path | None, force: bool, as_json: bool) -> None:
    """Differences of RUNS to the first label, each with its noise band."""
    if plot is not None:
        check_output(plot, force=force, inputs=runs, error=FleetError)
    deltas = comparison.compare([read(path) for path in runs])
    if as_json:
        rows = [
            {
                "metric": delta.metric.name,
                "label": delta.label,
                "first": delta.base,
                "this": delta.value,
                "change": delta.share,
                "band": delta.band,
                "verdict": delta.verdict,
            }
            for delta in deltas
        ]
        echo(report_json("workload-compare", rows, indent=2))
    else:
        echo(comparison.text_of(deltas))
    if plot is not None:
        drawn = comparison.plot(deltas, plot.suffix)
        write_output(plot, drawn, force=force, inputs=runs, error=FleetError)
        echo(f"plot: {plot}", err=as_json)


for _spec in WORKLOADS.values():
    workload.add_command(_command(_spec))
