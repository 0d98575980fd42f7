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

A side whose server does not start is noted with its reason and left out.

Long because the start, the turns and the end of one set of servers belong together.

Exit code: 0 measured, 2 usage, 3 cannot serve here.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from triage import config
from triage.bench.pair_results import Agreement, Result, Results, differences, markdown
from triage.errors import LabError
from triage.lab.server import machine, session, shapes, timed_load, workload
from triage.lab.server.machine import CannotServe
from triage.lab.server.ports import HIGHEST_PORT
from triage.lab.server.process import Server
from triage.lab.server.smoke.run import port_of

STARTS_APART_S = 3.0

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


def planned(
    shape: str, sides: Sequence[Side], work: Path, port: int, here: machine.Machine, **wish: Any
) -> list[tuple[Side, session.ServerPlan]]:
    """A server for each side, with a port and a folder below `work` of its own.

    wish: of every server's `session.Wish`. Raises CannotServe.
    """
    return [
        (
            side,
            session.plan(
                session.Wish(
                    shape,
                    work / f"{shape}-{side.name}",
                    mode=session.OFF,
                    port=port_of(port, number),
                    **wish,
                ),
                here,
            ),
        )
        for number, side in enumerate(sides)
    ]


def measure(
    wishes: Sequence[tuple[Side, session.ServerPlan]],
    loads: Sequence[Load],
    results: Results,
    *,
    turns: int,
    until: float,
    say: Say,
    notes: Callable[[str], list[str]] = lambda log: [],
    last: Callable[[str, session.ServerPlan], dict[str, Any]] | None = None,
) -> None:
    """Start a server for each side, play `turns` turns of each load, stop them.

    until: of `time.monotonic()`; no turn begins after it.
    notes: lines of a server's log that are kept with the results.
    last: asked of each side by name at the end, while its server still runs; kept too.
    A side whose server does not start is noted with the reason and left out. Raises
    CannotServe where fewer than two are left, or the first is not; all are stopped.
    """
    shape = wishes[0][1].dimensions

    def note(plain: dict[str, Any]) -> None:
        results.note({"shape": shape.name, **plain})

    with ExitStack() as stack:
        servers = {side.name: stack.enter_context(_server(side, plan)) for side, plan in wishes}
        names = _start(servers, until, say, note)
        vocab = min(shape.vocab, shapes.SMALL_VOCAB)
        try:
            _warm_up([servers[name].port for name in names], loads, vocab)
            say(f"{shape.name}: every load was played once, not measured")
            for round_ in range(turns):
                for load in loads:
                    turn = results.turns(shape.name, load.name, names)
                    if turn >= turns or time.monotonic() > until:
                        continue
                    order = names if round_ % 2 == 0 else names[::-1]
                    asked = load.asked(turn, vocab)
                    played = {
                        name: timed_load.play(asked, servers[name].port, load.concurrency)
                        for name in order
                    }
                    for name in names:
                        results.add(_result(shape.name, name, load.name, turn, played, names[0]))
                say(f"{shape.name}: turn {round_ + 1} of {turns}")
            for side, plan in wishes if last is not None else ():
                if last is not None and side.name in names:
                    note({"side": side.name, **last(side.name, plan)})
        except LabError as error:
            raise CannotServe(f"{error} ({_deaths(servers)})") from error
        finally:
            for name in names:
                note({"side": name, "log": notes(servers[name].log())})


def _result(
    shape: str, side: str, load: str, turn: int, played: dict[str, timed_load.TimedLoad], first: str
) -> Result:
    seen = played[side]
    agreement = None
    if side != first:
        ours, theirs = ([one.output_ids for one in played[n].requests] for n in (side, first))
        agreement = Agreement.of(ours, theirs)
    return Result(
        shape, side, load, turn,
        seen.tpot_ms, seen.ttft_ms, seen.tokens_per_s,
        tuple(_digest(one.output_ids) for one in seen.requests),
        seen.seconds, agreement,
    )  # fmt: skip


def _warm_up(ports: Sequence[int], loads: Sequence[Load], vocab: int) -> None:
    """Every load once on every server, side by side: kernels are compiled and tuned in it."""

    def play(port: int) -> None:
        for load in loads:
            timed_load.play(load.asked(-1, vocab), port, load.concurrency)

    with ThreadPoolExecutor(len(ports)) as pool:
        list(pool.map(play, ports))


def _deaths(servers: dict[str, Server]) -> str:
    dead = [f"{name}: {each.death_reason()}" for name, each in servers.items() if not each.alive]
    return "; ".join(dead) or "every server runs"


def _server(side: Side, plan: session.ServerPlan) -> Server:
    wish = plan.wish
    session.write_models(plan)
    return Server(
        plan.model,
        wish.port,
        wish.directory / session.LOG,
        {**plan.environment, config.FUSED: None, **side.environment},
        [*plan.server_flags, *timed_load.STREAM_FLAGS],
        session.plugins(plan),
    )


def _start(
    servers: dict[str, Server], until: float, say: Say, note: Callable[[dict[str, Any]], None]
) -> list[str]:
    """The sides that came up, in order."""

    def start(numbered: tuple[int, tuple[str, Server]]) -> str:
        number, (name, server) = numbered
        time.sleep(number * STARTS_APART_S)
        try:
            seconds = server.start(max(30.0, until - time.monotonic()))
        except LabError as error:
            note({"side": name, "failed": str(error), "log": server.log_tail(40).splitlines()})
            say(f"{name}: {error}")
            return f"{name}: {error}"
        note({"side": name, "start_s": round(seconds, 1)})
        say(f"{name}: healthy after {seconds:.0f} s")
        return ""

    with ThreadPoolExecutor(len(servers)) as pool:
        failed = list(pool.map(start, enumerate(servers.items())))
    up = [name for name, why in zip(servers, failed, strict=True) if not why]
    if failed[0] or len(up) < 2:
        raise CannotServe("; ".join(filter(None, failed)))
    return up


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()[:12]


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
        wishes = planned(
            shape,
            [Side.parse(text) for text in sides],
            work,
            port,
            machine.examine(),
            small=small,
            mtp=mtp,
            attention=attention,
            given=flags_,
        )
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
