"""What the output witness costs a decode step on the clock: four servers in turn on one GPU.

    python -m triage.bench.witness_pairs --out witness-pairs.jsonl --budget-s 150
    python -m triage.bench.witness_pairs --out witness-pairs.jsonl --table

    off, off-again    SGLANG_TRTLLM_MHA_DEBUG=1 in `contain`, no witness
    on, on-again      the same, with a look at every `--every`th step

Two servers that are alike differ by some per cent for as long as they live, so there are two
of each side, and what each pair differs by is printed beside the share: less than that cannot
be told from one run. A share is that of one turn, both `on` against both `off`. A later run with
the same --out goes on, with servers of its own, whose differences are others.

A step that is looked at costs the same at any N. A small `--every` makes it large beside what
servers differ by: of a share S at every 5th step, S / 20 at most is that of looking at every
100th. What the steps between cost, `gpu_witness` measures apart.

How servers are played in turn and what is kept: `server_pairs`. Kept with the results is what
each server's log says of the rows that were computed again.

Exit code: 0 measured, 2 usage, 3 cannot serve here.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from triage import config
from triage.bench.pair_results import Result, Results
from triage.bench.server_pairs import Load, Side, measure, planned
from triage.lab.server import machine
from triage.lab.server.machine import CannotServe
from triage.lab.server.ports import HIGHEST_PORT

NAMES = ("off", "on", "off-again", "on-again")
MEASURES = ("tpot_ms", "tokens_per_s")
LOADS = ("1x128x100", "32x128x100")
FLAGS = ("--max-total-tokens=60000",)
"""Pools small enough for four servers of E4B on one H200."""

LOGGED = "sglang-triage: output witness"


@dataclass(frozen=True, slots=True)
class Share:
    """Per cent that both servers with a witness take more than both without, turn by turn.

    low, high: the middle half of the turns. off, on: by how much the two servers alike of each
    side differ, the second more than the first; medians.
    """

    load: str
    measure: str
    turns: int
    share: float
    low: float
    high: float
    off: float
    on: float


def sides(every: int) -> list[Side]:
    traps = {config.DEBUG: "1", config.MODE: "contain"}
    looks = {**traps, config.WITNESS: str(every)}
    return [Side(name, looks if name.startswith("on") else traps) for name in NAMES]


def shares(results: Sequence[Result]) -> list[Share]:
    """Of every load, by the turns that all four servers played."""
    found = []
    for load in dict.fromkeys(one.load for one in results):
        by = {(one.side, one.turn): one for one in results if one.load == load}
        turns = sorted({turn for _, turn in by})
        whole = [turn for turn in turns if all((name, turn) in by for name in NAMES)]
        for measure_ in MEASURES if whole else ():
            played = [[getattr(by[name, turn], measure_) for name in NAMES] for turn in whole]
            each = sorted(
                100 * (math.sqrt(on * on_again / (off * off_again)) - 1)
                for off, on, off_again, on_again in played
            )
            quarter = len(each) // 4
            found.append(
                Share(
                    load, measure_, len(whole),
                    statistics.median(each), each[quarter], each[-1 - quarter],
                    statistics.median(100 * (turn[2] / turn[0] - 1) for turn in played),
                    statistics.median(100 * (turn[3] / turn[1] - 1) for turn in played),
                )
            )  # fmt: skip
    return found


def markdown(found: Sequence[Share]) -> str:
    lines = [
        "| load | measure | with a witness | middle half | two without | two with | turns |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {one.load} | {one.measure.removesuffix('_ms')} | {one.share:+.2f} % "
            f"| {one.low:+.2f} to {one.high:+.2f} % | {one.off:+.2f} % | {one.on:+.2f} % "
            f"| {one.turns} |"
        )
    return "\n".join(lines)


def told(log: str) -> list[str]:
    """The newest line of a server's log about what was computed again."""
    return [line[line.index(LOGGED) :] for line in log.splitlines() if LOGGED in line][-1:]


@click.command()
@click.argument("shape", default="E4B")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--every", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--load", "loads", multiple=True, default=LOADS, show_default=True)
@click.option("--turns", type=click.IntRange(min=1), default=1000, help="At most.")
@click.option("--attention", default="trtllm_mha", show_default=True)
@click.option("--small", is_flag=True, help="Two periods of layers: to try this command.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("/tmp/witness-pairs"))
@click.option("--port", type=click.IntRange(1024, HIGHEST_PORT), default=30_000, show_default=True)
@click.option("--budget-s", type=float, default=150.0, show_default=True, help="Starts included.")
@click.option("--flag", "flags_", multiple=True, help="For every server, as `--flag=--name=value`.")
@click.option("--table", is_flag=True, help="Print the table of --out, measure nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the shares as JSON lines.")
def main(
    shape: str,
    out: Path,
    every: int,
    loads: tuple[str, ...],
    turns: int,
    attention: str,
    small: bool,
    work: Path,
    port: int,
    budget_s: float,
    flags_: tuple[str, ...],
    table: bool,
    as_json: bool,
) -> None:
    """Serve SHAPE four times, two of them with a witness, and say what it costs."""
    results, began = Results(out), time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - began:4.0f} s] {line}", err=True)

    def print_shares() -> None:
        found = shares(results.all)
        click.echo("\n".join(json.dumps(asdict(each)) for each in found) if as_json else
                   markdown(found))  # fmt: skip

    if table:
        print_shares()
        return
    others = {note["every"] for note in results.notes if "every" in note} - {every}
    if others:
        raise click.UsageError(
            f"{out} was measured with --every {others.pop()}: give the same, or another --out"
        )
    try:
        wishes = planned(
            shape,
            sides(every),
            work,
            port,
            machine.examine(),
            small=small,
            attention=attention,
            given=(*FLAGS, *flags_),
        )
        results.note({"every": every})
        measure(
            wishes,
            [Load.parse(text) for text in loads],
            results,
            turns=turns,
            until=began + budget_s,
            say=say,
            notes=told,
        )
    except CannotServe as error:
        click.echo(f"cannot serve here: {error}", err=True)
        raise SystemExit(3) from error
    print_shares()


if __name__ == "__main__":
    main()
