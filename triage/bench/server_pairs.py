"""Real servers side by side on one GPU, loaded in turn: what a switch costs or brings.

    python -m triage.bench.server_pairs E4B --out pairs.jsonl --load 1x128x128 --load 32x128x128 \
        --side off --side contain:SGLANG_TRTLLM_MHA_DEBUG=1,SGLANG_TRTLLM_MHA_DEBUG_MODE=contain

The first side is the one that the others are compared with. In a turn each side plays the
same load once, in an order that is turned round from turn to turn; the others' servers are
idle meanwhile. A difference is that of one turn, so a machine that is slow for a while is
slow for both; the median of the differences is printed with the middle half of them.

A load is CONCURRENCYxINPUTxOUTPUT (every request at once), with `*REQUESTS` behind it for
more of them. Every turn has prompts of its own, the same ones for each side, so no prefix
cache helps. Each result is one JSON line the moment it is known, and a later run with the
same file goes on where this one ended. Weights are random (`--load-format dummy`).

Exit code: 0 measured, 2 usage, 3 cannot serve here.

Long because what is measured, kept and compared is one record.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from triage.errors import LabError
from triage.lab.server import machine, session, shapes, timed_load, workload
from triage.lab.server.machine import CannotServe
from triage.lab.server.process import Server
from triage.lab.server.smoke.run import HIGHEST_PORT, port_of

STARTS_APART_S = 3.0
MEASURES = ("tpot_ms", "ttft_ms", "tokens_per_s")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Side:
    """One server: its name and the variables of sglang-triage that it has."""

    name: str
    environment: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Side:
        """`NAME` or `NAME:VARIABLE=VALUE,...`; `+` stands for a comma inside a value."""
        name, _, rest = text.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        if not name or any(not value for _, _, value in pairs):
            raise click.BadParameter(f"{text!r} is not NAME or NAME:VARIABLE=VALUE,...")
        return cls(name, {key: value.replace("+", ",") for key, _, value in pairs})


@dataclass(frozen=True, slots=True)
class Load:
    """`requests` requests, `concurrency` at a time; lengths in tokens."""

    concurrency: int
    input_tokens: int
    output_tokens: int
    requests: int

    @classmethod
    def parse(cls, text: str) -> Load:
        found = re.fullmatch(r"(\d+)x(\d+)x(\d+)(?:\*(\d+))?", text)
        if not found:
            raise click.BadParameter(
                f"{text!r} is not CONCURRENCYxINPUTxOUTPUT[*REQUESTS], such as 32x128x128"
            )
        concurrency, given, output, requests = (int(one or 0) for one in found.groups())
        return cls(concurrency, given, output, requests or concurrency)

    @property
    def name(self) -> str:
        more = "" if self.requests == self.concurrency else f"*{self.requests}"
        return f"{self.concurrency}x{self.input_tokens}x{self.output_tokens}{more}"

    def asked(self, turn: int, vocab: int) -> list[workload.Asked]:
        return workload.exact(self.requests, self.input_tokens, self.output_tokens, turn, vocab)


@dataclass(frozen=True, slots=True)
class Result:
    """What one side measured in one turn. outputs: digests of the answers, to compare them."""

    shape: str
    side: str
    load: str
    turn: int
    tpot_ms: float
    ttft_ms: float
    tokens_per_s: float
    outputs: tuple[str, ...]


class Results:
    """The JSON lines of one file. `add` writes through."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Result] = []
        if path.exists():
            for line in path.read_text().splitlines():
                plain = json.loads(line)
                if "turn" in plain:
                    self.all.append(Result(**{**plain, "outputs": tuple(plain["outputs"])}))

    def add(self, result: Result) -> None:
        self.all.append(result)
        self.note(asdict(result))

    def note(self, plain: dict[str, Any]) -> None:
        with self.path.open("a") as lines:
            lines.write(json.dumps(plain) + "\n")

    def turns(self, shape: str, load: str, sides: Iterable[str]) -> int:
        """Turns of a load in which every side was measured."""
        done = [
            {one.turn for one in self.all if (one.shape, one.load, one.side) == (shape, load, side)}
            for side in sides
        ]
        return len(set.intersection(*done)) if done else 0


def measure(
    wishes: Sequence[tuple[Side, session.ServerPlan]],
    loads: Sequence[Load],
    results: Results,
    *,
    turns: int,
    until: float,
    say: Say,
) -> None:
    """Start a server for each side, play `turns` turns of each load, stop them.

    until: of `time.monotonic()`; no turn begins after it.
    Raises CannotServe where a server does not start; the others are stopped.
    """
    shape = wishes[0][1].dimensions
    names = [side.name for side, _ in wishes]
    with ExitStack() as stack:
        servers = {side.name: stack.enter_context(_server(side, plan)) for side, plan in wishes}
        _start(servers, until, say, lambda note: results.note({"shape": shape.name, **note}))
        vocab = min(shape.vocab, shapes.SMALL_VOCAB)
        for load in loads:  # a first time, not measured: kernels are compiled and tuned in it
            for server in servers.values():
                timed_load.play(load.asked(-1, vocab), server.port, load.concurrency)
        for round_ in range(turns):
            for load in loads:
                turn = results.turns(shape.name, load.name, names)
                if turn >= turns or time.monotonic() > until:
                    continue
                order = names if round_ % 2 == 0 else names[::-1]
                for name in order:
                    port = servers[name].port
                    seen = timed_load.play(load.asked(turn, vocab), port, load.concurrency)
                    results.add(
                        Result(
                            shape.name, name, load.name, turn,
                            seen.tpot_ms, seen.ttft_ms, seen.tokens_per_s,
                            tuple(_digest(one.output_ids) for one in seen.requests),
                        )
                    )  # fmt: skip
            say(f"{shape.name}: turn {round_ + 1} of {turns}")


def _server(side: Side, plan: session.ServerPlan) -> Server:
    wish = plan.wish
    session.write_models(plan)
    return Server(
        plan.model,
        wish.port,
        wish.directory / session.LOG,
        {**plan.environment, **side.environment},
        [*plan.server_flags, *timed_load.STREAM_FLAGS],
        session.plugins(plan),
    )


def _start(
    servers: dict[str, Server], until: float, say: Say, note: Callable[[dict[str, Any]], None]
) -> None:
    def start(numbered: tuple[int, tuple[str, Server]]) -> None:
        number, (name, server) = numbered
        time.sleep(number * STARTS_APART_S)
        try:
            seconds = server.start(max(30.0, until - time.monotonic()))
        except LabError as error:
            raise CannotServe(f"{name}: {error}") from error
        note({"side": name, "start_s": round(seconds, 1)})
        say(f"{name}: healthy after {seconds:.0f} s")

    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(start, enumerate(servers.items())))


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one side against the first, of one load: per cent, by the turns that both played."""

    shape: str
    load: str
    side: str
    measure: str
    turns: int
    of_first: float
    median: float
    low: float
    high: float
    equal: float


def differences(results: Sequence[Result]) -> list[Difference]:
    """Every side against the first of its shape and load. `low` and `high`: the middle half.

    equal: share of answers that are token for token those of the first side.
    """
    found = []
    keys = list(dict.fromkeys((one.shape, one.load) for one in results))
    for shape, load in keys:
        of = [one for one in results if (one.shape, one.load) == (shape, load)]
        sides = list(dict.fromkeys(one.side for one in sorted(of, key=lambda one: one.turn)))
        by = {(one.side, one.turn): one for one in of}
        for side in sides[1:]:
            both = [
                (by[sides[0], turn], by[side, turn])
                for turn in sorted({one.turn for one in of})
                if (sides[0], turn) in by and (side, turn) in by
            ]
            if not both:
                continue
            pairs = [
                ours == theirs
                for a, b in both
                for ours, theirs in zip(a.outputs, b.outputs, strict=True)
            ]
            for measure_ in MEASURES:
                base = [getattr(a, measure_) for a, _ in both]
                change = sorted(
                    100 * (getattr(b, measure_) / getattr(a, measure_) - 1) for a, b in both
                )
                quarter = len(change) // 4
                found.append(
                    Difference(
                        shape, load, side, measure_, len(both), statistics.median(base),
                        statistics.median(change), change[quarter], change[-1 - quarter],
                        sum(pairs) / len(pairs),
                    )
                )  # fmt: skip
    return found


def markdown(found: Sequence[Difference]) -> str:
    """The differences as one Markdown table."""
    lines = [
        "| shape | load | side | measure | first side | difference | middle half | turns | equal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        unit = "tok/s" if one.measure == "tokens_per_s" else "ms"
        lines.append(
            f"| {one.shape} | {one.load} | {one.side} | {one.measure.removesuffix('_ms')} "
            f"| {one.of_first:.3g} {unit} | {one.median:+.2f} % "
            f"| {one.low:+.2f} to {one.high:+.2f} % | {one.turns} | {one.equal:.0%} |"
        )
    return "\n".join(lines)


@click.command()
@click.argument("shape", required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--side", "sides", multiple=True, metavar="NAME[:VARIABLE=VALUE,...]")
@click.option("--load", "loads", multiple=True, metavar="CONCURRENCYxINPUTxOUTPUT[*REQUESTS]")
@click.option("--turns", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--attention", default="trtllm_mha", show_default=True)
@click.option("--mtp", is_flag=True, help="With the shape's assistant.")
@click.option("--small", is_flag=True, help="Two periods of layers: to try this command.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("/tmp/pairs"))
@click.option("--port", type=click.IntRange(1024, HIGHEST_PORT), default=30_000, show_default=True)
@click.option("--budget-s", type=float, default=560.0, show_default=True)
@click.option("--flag", "flags_", multiple=True, help="For every server, as `--flag=--name=value`.")
@click.option("--table", is_flag=True, help="Print the table of --out, measure nothing.")
def main(
    shape: str | None,
    out: Path,
    sides: tuple[str, ...],
    loads: tuple[str, ...],
    turns: int,
    attention: str,
    mtp: bool,
    small: bool,
    work: Path,
    port: int,
    budget_s: float,
    flags_: tuple[str, ...],
    table: bool,
) -> None:
    """Serve SHAPE once per --side and measure the difference that each makes."""
    results = Results(out)
    if table:
        click.echo(markdown(differences(results.all)))
        return
    if shape is None or len(sides) < 2 or not loads:
        raise click.UsageError("needs a SHAPE, two --side or more, and a --load; see --help")
    until = time.monotonic() + budget_s
    began = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - began:4.0f} s] {line}")

    try:
        here = machine.examine()
        wishes = []
        for number, text in enumerate(sides):
            side = Side.parse(text)
            wish = session.Wish(
                shape,
                work / f"{shape}-{side.name}",
                small=small,
                mtp=mtp,
                attention=attention,
                mode=session.OFF,
                port=port_of(port, number),
                given=flags_,
            )
            wishes.append((side, session.plan(wish, here)))
        measure(
            wishes,
            [Load.parse(text) for text in loads],
            results,
            turns=turns,
            until=until,
            say=say,
        )
    except CannotServe as error:
        click.echo(f"cannot serve here: {error}", err=True)
        raise SystemExit(3) from error
    click.echo(markdown(differences(results.all)))


if __name__ == "__main__":
    main()
