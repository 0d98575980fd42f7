"""Fused ops on real servers: five workloads, stock beside `SGLANG_TRIAGE_FUSED`, on one GPU.

    python -m triage.bench.fused_serving 26B-A4B --out fused.jsonl --budget-s 400
    python -m triage.bench.fused_serving --table fused.jsonl
    python -m triage.bench.fused_serving --launches fused.jsonl
    python -m triage.bench.fused_serving --plot fused.png fused.jsonl
    python -m triage.bench.fused_serving --measured fused.jsonl    what `auto` goes by

True dimensions, random weights (`--load-format dummy`), triton attention. A shape of which one
GPU does not hold two has a GPU for each side (`--gpu 0 --gpu 1`), which is noted with it. The
workloads are input/output tokens with all prompts at once, and the same one by one. `--form
short` asks for fewer prompts and shorter answers, for a machine that is lent for minutes; a short
workload is called so wherever it is shown. Each side is a server:

    stock      SGLang as installed
    fused      every op
    auto       SGLANG_TRIAGE_FUSED=auto
    OP[+OP]    these ops alone, such as `moe-tail` or `routing+moe-tail`
    ...+pdl    the same, and launches overlap: `fused+pdl`

How servers are played in turn, what is kept and what goes on after a cut: `server_pairs`. The
answers of every side are compared with stock's token by token. What a server's log says of the
ops, how often each ran and what fell back, is kept with the results, and at the end of a run the
launches of a decode step, counted by SGLang's own profiler (`layer_launches`).

Long because workloads, sides and what is made of their results are one command.

Exit code: 0 measured, 2 usage, 3 cannot serve here.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from triage import config
from triage.bench import fused_table, layer_launches
from triage.bench.pair_results import Results, differences
from triage.bench.server_pairs import Load, Side, measure
from triage.errors import LabError
from triage.lab.server import machine, session, shapes, timed_load
from triage.lab.server.machine import CannotServe
from triage.lab.server.ports import HIGHEST_PORT
from triage.lab.server.smoke.run import port_of

FORMS = ("short", "full")
STOCK = "stock"
LOGGED = "sglang-triage fused"
"""What begins a line of a server's log that says what became of the ops."""

FLAGS = ("--chunked-prefill-size=8192", "--max-total-tokens=60000")
"""Pools small enough for two servers of 26B-A4B on one H200, a chunk that holds any prompt."""


@dataclass(frozen=True, slots=True)
class Form:
    """Tokens in and out of each prompt, prompts at once, prompts one by one."""

    given: int
    output: int
    at_once: int
    one_by_one: int

    def loads(self, running: int | None = None) -> tuple[Load, Load]:
        """All at once, or `running` of them at a time; and one by one."""
        return (
            Load(min(running or self.at_once, self.at_once), self.given, self.output, self.at_once),
            Load(1, self.given, self.output, self.one_by_one),
        )


WORKLOADS: dict[str, dict[str, Form]] = {
    "A": {"full": Form(3000, 100, 30, 4), "short": Form(3000, 48, 16, 1)},
    "C": {"full": Form(100, 1000, 30, 2), "short": Form(100, 128, 30, 1)},
    "B": {"full": Form(500, 500, 50, 2), "short": Form(500, 96, 32, 1)},
    "chat": {"full": Form(1000, 1000, 40, 2), "short": Form(1000, 96, 32, 1)},
    "summarisation": {"full": Form(8000, 1000, 80, 2), "short": Form(8000, 48, 6, 1)},
}
"""In order of worth: a run that is cut off has the first ones."""

LEAST_TURNS = 3
"""A load with fewer is no measurement for `auto`."""

LARGEST_AT_A_TIME = 32
"""Prompts of the largest shape at a time, where the workload has more."""


def loads_of(shape: str, workload: str, form: str) -> tuple[Load, Load]:
    """All at once (of 31B at most 32 at a time), and one by one."""
    return WORKLOADS[workload][form].loads(LARGEST_AT_A_TIME if shape == "31B" else None)


def side_of(name: str) -> Side:
    """A side by its name, see above. Raises BadParameter for an unknown op."""
    from triage.sglang.fixes.fused import AUTO, OPS, PDL

    if name == STOCK:
        return Side(name, {})
    parts = name.split("+")
    wanted = [op for part in parts for op in (OPS if part == "fused" else (part,))]
    unknown = [op for op in wanted if op not in (*OPS, AUTO, PDL)]
    if unknown:
        known = ", ".join((STOCK, "fused", AUTO, PDL, *OPS))
        raise click.BadParameter(f"no side {', '.join(unknown)}; known: {known}")
    return Side(name, {config.FUSED: ",".join(wanted)})


def told(log: str) -> list[str]:
    """The newest lines that a server's log has about the ops, each text once."""
    said = [line[line.index(LOGGED) :] for line in log.splitlines() if LOGGED in line]
    return list(dict.fromkeys(said))[-40:]


def launches(side: str, plan: session.ServerPlan) -> dict[str, Any]:
    """The kernels of decode steps with one row, raw, or why none could be recorded."""
    asked = Load(1, 16, 6 * layer_launches.STEPS, 1).asked(-2, shapes.SMALL_VOCAB)
    wish = plan.wish
    try:
        names = layer_launches.ask(
            wish.port,
            wish.directory / "profile",
            lambda: timed_load.play(asked, wish.port, 1),
        )
    except LabError as error:  # a figure less; what was measured before stays
        return {"launches": None, "why": str(error)}
    return {"launches": layer_launches.kept(names, plan.dimensions.layers)}


@click.command()
@click.argument("shape", required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--side", "sides", multiple=True, default=(STOCK, "fused"), show_default=True)
@click.option("--workload", "workloads", multiple=True, type=click.Choice(list(WORKLOADS)))
@click.option("--form", type=click.Choice(FORMS), default="short", show_default=True)
@click.option("--turns", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--mtp", is_flag=True, help="With the shape's assistant.")
@click.option("--small", is_flag=True, help="Two periods of layers: to try this command.")
@click.option("--work", type=click.Path(path_type=Path), help="Models and logs; beside --out.")
@click.option("--port", type=click.IntRange(1024, HIGHEST_PORT), default=30_000, show_default=True)
@click.option("--budget-s", type=float, default=400.0, show_default=True)
@click.option("--flag", "flags_", multiple=True, help="For every server, as `--flag=--name=value`.")
@click.option("--table", type=click.Path(exists=True, path_type=Path), help="Print its table.")
@click.option(
    "--launches",
    "counted",
    type=click.Path(exists=True, path_type=Path),
    help="Print the launches per layer of its servers.",
)
@click.option(
    "--measured",
    type=click.Path(exists=True, path_type=Path),
    help="Print its measurements as `auto` reads them.",
)
@click.option(
    "--gpu", "gpus", multiple=True, metavar="N", help="Of a side, in order; all on one by default."
)
@click.option("--profile/--no-profile", default=True, help="Count launches at the end.")
@click.option("--plot", type=(Path, Path), help="PICTURE RESULTS: draw the results.")
def main(
    shape: str | None,
    out: Path | None,
    sides: tuple[str, ...],
    workloads: tuple[str, ...],
    form: str,
    turns: int,
    mtp: bool,
    small: bool,
    work: Path | None,
    port: int,
    budget_s: float,
    flags_: tuple[str, ...],
    gpus: tuple[str, ...],
    table: Path | None,
    counted: Path | None,
    measured: Path | None,
    profile: bool,
    plot: tuple[Path, Path] | None,
) -> None:
    """Serve SHAPE once per --side and play the workloads."""
    if table is not None:
        click.echo(fused_table.markdown(Results(table).all, named_loads()))
        return
    if counted is not None:
        click.echo(fused_table.launches_markdown(Results(counted).notes))
        return
    if measured is not None:
        click.echo(json.dumps(measurements(measured), indent=1))
        return
    if plot is not None:
        picture, read = plot
        picture.write_bytes(fused_table.draw(Results(read).all, named_loads(), picture.suffix))
        return
    if shape is None or out is None or sides[:1] != (STOCK,) or len(sides) < 2:
        raise click.UsageError("needs a SHAPE, --out, and --side stock before another; see --help")
    if gpus and len(gpus) != len(sides):
        raise click.UsageError(f"--gpu is given {len(gpus)} times for {len(sides)} sides")
    began = time.monotonic()
    results = Results(out)
    folder = work or out.with_suffix(".servers")

    def say(line: str) -> None:
        click.echo(f"[{time.monotonic() - began:4.0f} s] {line}")

    try:
        here = machine.examine()
        name = shapes.find(shape).name
        wishes = []
        for number, side in enumerate(map(side_of, sides)):
            if gpus:
                side.environment["CUDA_VISIBLE_DEVICES"] = gpus[number]
            wish = session.Wish(
                name,
                folder / f"{name}-{side.name}",
                small=small,
                mtp=mtp,
                attention="triton",
                mode=session.OFF,
                port=port_of(port, number),
                given=(*FLAGS, *flags_),
            )
            wishes.append((side, session.plan(wish, here)))
        results.note(
            {"shape": name, "gpu": here.gpu.name, "sglang": here.sglang, "mtp": mtp}
            | ({"gpus": list(gpus)} if gpus else {})
        )
        loads = [
            load for each in workloads or WORKLOADS for load in loads_of(name, each, form)
        ]  # fmt: skip
        until = began + budget_s
        measure(
            wishes,
            loads,
            results,
            turns=turns,
            until=until,
            say=say,
            notes=told,
            last=launches if profile else None,
        )
    except CannotServe as error:
        click.echo(f"cannot serve here: {error}", err=True)
        raise SystemExit(3) from error
    click.echo(fused_table.markdown(results.all, named_loads()))


def measurements(path: Path) -> list[dict[str, Any]]:
    """What `triage/sglang/fixes/fused_measured.json` holds, of one file of results.

    Of each side its ops that have a place in the shape; loads of three turns or more.
    """
    from triage.sglang.fixes.fused import PDL

    results = Results(path)
    machines = {note["shape"]: note for note in results.notes if "gpu" in note}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in differences(results.all):
        if one.measure != "tpot_ms" or one.turns < LEAST_TURNS or one.side == "auto":
            continue
        ops = side_of(one.side).environment[config.FUSED] or ""
        entry = found.setdefault(
            (one.shape, one.side),
            {
                "gpu": machines[one.shape]["gpu"],
                "sglang": machines[one.shape]["sglang"],
                "shape": one.shape,
                "ops": sorted(set(ops.split(",")) & (places(shapes.find(one.shape)) | {PDL})),
                "loads": {},
                "where": path.name,
            },
        )
        change = (one.median, one.low, one.high)
        entry["loads"][one.load] = [round(value, 3) for value in change]
    return list(found.values())


def places(shape: shapes.Shape) -> frozenset[str]:
    """The ops that have a place in a shape's layers."""
    if shape.experts:
        tails = {"post-attn-triple", "routing", "moe-tail", "moe-tail-next-norm"}
    elif shape.per_layer:
        tails = {"post-attn-norms", "ple-tail", "ple-tail-next-norm"}
    else:
        tails = {"post-attn-norms", "dense-tail", "dense-tail-next-norm"}
    return frozenset(tails | {"attention-preamble"})


def named_loads() -> list[fused_table.Named]:
    """Every load of every shape, in the order of the table."""
    return [
        fused_table.Named(shape, workload, form, way, load.name)
        for shape in shapes.SHAPES
        for workload in WORKLOADS
        for form in FORMS
        for way, load in zip(
            ("at once", "one by one"), loads_of(shape, workload, form), strict=True
        )
    ]


if __name__ == "__main__":
    main()
