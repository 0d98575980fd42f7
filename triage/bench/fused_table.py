"""What `fused_serving` measured, as a table and as a picture. Needs no GPU.

A workload of which nothing is recorded says so: a row that is not there could be one that
was looked away from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from triage.bench import launch_account
from triage.bench.pair_results import Difference, Result, differences
from triage.errors import LabError
from triage.lab.server import shapes
from triage.report.picture import drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "shape", "workload", "prompts", "side", "TPOT of stock", "TPOT", "middle half", "TTFT",
    "tok/s", "equal tokens", "first difference at token", "turns",
)  # fmt: skip
NOT_MEASURED = "not measured yet"


class Named(NamedTuple):
    """A load by what it is: `load` is its name in the results."""

    shape: str
    workload: str
    form: str
    way: str
    load: str

    @property
    def called(self) -> str:
        tokens = "/".join(self.load.split("*")[0].split("x")[1:])
        short = ", short" if self.form == "short" else ""
        return f"{self.workload} ({tokens}{short})"


def markdown(results: Sequence[Result], loads: Iterable[Named]) -> str:
    """One row per workload, way and side; one per workload of which nothing is recorded."""
    found = {(one.shape, one.load, one.side, one.measure): one for one in differences(results)}
    lines = [_line(COLUMNS), "|" + "---|" * len(COLUMNS)]
    by_workload: dict[tuple[str, str], list[Named]] = {}
    for named in loads:
        by_workload.setdefault((named.shape, named.workload), []).append(named)
    for (shape, workload), group in by_workload.items():
        rows = [_row(named, side, found, results) for named, side in _measured(group, found)]
        missing = (shape, workload, "", "", NOT_MEASURED)
        lines += rows or [_line([*missing, *[""] * (len(COLUMNS) - len(missing))])]
    return "\n".join(lines)


def _measured(
    group: Sequence[Named], found: dict[tuple[str, str, str, str], Difference]
) -> list[tuple[Named, str]]:
    sides = list(dict.fromkeys(side for _, _, side, _ in found))
    return [
        (named, side)
        for named in group
        for side in sides
        if (named.shape, named.load, side, "tpot_ms") in found
    ]


def _row(
    named: Named,
    side: str,
    found: dict[tuple[str, str, str, str], Difference],
    results: Sequence[Result],
) -> str:
    def of(measure: str) -> Difference:
        return found[named.shape, named.load, side, measure]

    tpot = of("tpot_ms")
    own = [
        one for one in results if (one.shape, one.load, one.side) == (named.shape, named.load, side)
    ]
    agreed = [one.agreement for one in own if one.agreement is not None]
    tokens = sum(one.answers for one in agreed)
    equal = sum(one.equal * one.answers for one in agreed) / tokens if tokens else None
    firsts = [one.first for one in agreed if one.first is not None]
    return _line(
        [
            named.shape,
            named.called,
            named.way,
            side,
            f"{tpot.of_first:.2f} ms",
            f"{tpot.median:+.2f} %",
            f"{tpot.low:+.2f} to {tpot.high:+.2f} %",
            f"{of('ttft_ms').median:+.2f} %",
            f"{of('tokens_per_s').median:+.2f} %",
            "not recorded" if equal is None else f"{100 * equal:.1f} %",
            "none" if agreed and not firsts else str(min(firsts, default="not recorded")),
            str(tpot.turns),
        ]
    )


def launches_markdown(notes: Iterable[dict[str, Any]]) -> str:
    """Launches per decoder layer of every server that was asked, one row each; the newest counts.

    A server that could not be asked, or whose kernels give no account, has its reason.
    """
    rows = {
        (note["shape"], note["side"]): (note["launches"], note.get("why", ""))
        for note in notes
        if "launches" in note
    }
    columns = ("shape", "side", *launch_account.OF_A_LAYER, launch_account.OUTSIDE, "steps")
    lines = [_line(columns), "|" + "---|" * len(columns)]
    for (shape, side), (kept, why) in rows.items():
        try:
            if kept is None:
                raise LabError(why)
            found = launch_account.stored(kept, shapes.find(shape))
            each = [f"{launches:.2f}" for launches in found.by_purpose.values()]
            cells = [*each, str(found.steps)]
        except LabError as error:
            cells = [f"not counted: {error}", *[""] * (len(columns) - 3)]
        lines.append(_line([shape, side, *cells]))
    return "\n".join(lines if rows else [*lines, _line([NOT_MEASURED, *[""] * (len(columns) - 1)])])


def draw(results: Sequence[Result], loads: Iterable[Named], ending: str) -> bytes:
    """Time per token of every side against stock, by workload; a line for the middle half.

    ending: of the file (".png", ".svg"). Raises ReplayError for one that is no picture.
    """
    from matplotlib.figure import Figure

    found = [one for one in differences(results) if one.measure == "tpot_ms"]
    names = {(named.shape, named.load): named for named in loads}
    shown = {one.shape: None for one in found if (one.shape, one.load) in names}
    figure = Figure(figsize=(9, 1 + 2.8 * max(1, len(shown))), layout="constrained")
    figure.suptitle("Time per output token against stock, per cent (below zero: faster)")
    axes = figure.subplots(max(1, len(shown)), 1, squeeze=False)[:, 0]
    for axis, shape in zip(axes, shown, strict=False):
        _bars(axis, [one for one in found if one.shape == shape and (shape, one.load) in names])
        axis.set_title(shape, loc="left", fontsize=9)
        labels = dict.fromkeys(one.load for one in found if one.shape == shape)
        kept = [names[shape, load] for load in labels if (shape, load) in names]
        called = [each.called.replace(" (", "\n(") for each in kept]
        axis.set_xticks(
            range(len(kept)),
            [f"{what}\n{each.way}" for what, each in zip(called, kept, strict=True)],
            fontsize=6,
        )
    if not shown:
        axes[0].text(0.5, 0.5, NOT_MEASURED, ha="center")
    return drawn(figure, ending)


def _bars(axis: Axes, found: Sequence[Difference]) -> None:
    loads = list(dict.fromkeys(one.load for one in found))
    sides = list(dict.fromkeys(one.side for one in found))
    width = 0.8 / max(1, len(sides))
    for number, side in enumerate(sides):
        own = [one for one in found if one.side == side]
        at = [loads.index(one.load) - 0.4 + width * (number + 0.5) for one in own]
        spread = [[one.median - one.low for one in own], [one.high - one.median for one in own]]
        axis.bar(at, [one.median for one in own], width, label=side, yerr=spread, capsize=2)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.legend(fontsize=7)


def _line(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
