"""A dump as a picture for a chat: the entries that fault named, the map, the ids on their axis.

On the left the live part of the page table, one square an entry, in the colours of the
report page. On the right the page ids of each request beside those it should have had;
whatever lies above the line leaves the cache. Needs the extra `report` (matplotlib).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.dump.sections import Dump
from triage.errors import ReplayError
from triage.explain.case import LaunchCase
from triage.files.text import printable
from triage.report.table_map import CODE, STATES, TABLE, TableMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRONG, RIGHT, BAND = "#c0392b", "#7f8c8d", "#f5d6d2"
COLOURS = {
    "absent": "#ffffff",
    "unseen": "#dfe3e7",
    "padding": "#eceff1",
    "tile": "#cfc4ad",
    "right": "#8d97a2",
    "unjudged": "#6c9fc0",
    "dummy": "#00806a",
    "stale": "#2b78c4",
    "foreign": "#b07b00",
    "space": "#8b4fd0",
    "negative": "#8a5a2b",
    "zeros": "#c2417c",
    "fault": "#d0480a",
}
NAMED = 3  # entries that are written out
MAX_DOTS = 20_000  # of each kind: more than that is a band of colour all the same


def draw(dump: Dump, ending: str) -> bytes:
    """The picture of `dump` as a file of that ending (".png", ".svg", ".pdf").

    Raises ReplayError if the dump holds no table to draw, or nobody knows the ending.
    """
    from matplotlib.figure import Figure

    case = LaunchCase.of(dump)
    if case is None:
        raise ReplayError("this dump holds no launch with its page table; nothing to draw")
    table = TableMap.of(case)
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    figure.suptitle(_title(case, table), fontsize=10, x=0.01, ha="left", parse_math=False)
    _draw_map(left, table)
    _draw_ids(right, table)
    for axis in (left.xaxis, left.yaxis, right.xaxis, right.yaxis):
        axis.get_major_locator().set_params(integer=True)
    return drawn(figure, ending)


def _title(case: LaunchCase, table: TableMap) -> str:
    """What the launch is, and the first wrong entries as numbers."""
    launch, bad = case.launch, int(table.bad.sum())
    window = "no window" if launch.window_left < 0 else f"window {launch.window_left + 1}"
    lines = [f"layer {launch.layer_id}, {window}: {bad} of {int(case.seen.sum())} visible "
             f"entries of {TABLE} are wrong, {int(case.outside().sum())} leave the cache of "
             f"{launch.num_pages} pages"]  # fmt: skip
    lines += [_sentence(entry) for entry in table.worst(NAMED)]
    return "\n".join(map(printable, lines))


def _sentence(entry: dict[str, object]) -> str:
    expected = "not recorded" if entry["expected"] is None else f"page {entry['expected']}"
    return (
        f"{TABLE}[{entry['row']}, {entry['column']}] = {entry['value']}, expected {expected}: "
        f"{entry['says']}"
    )


def _draw_map(axes: Axes, table: TableMap) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    rows, columns = table.states.shape
    palette = ListedColormap([COLOURS[state.key] for state in STATES])
    low, high = table.first_column - 0.5, table.first_column + max(columns, 1) - 0.5
    if table.states.size:
        axes.imshow(
            table.states, cmap=palette, vmin=0, vmax=len(STATES) - 1, aspect="auto",
            interpolation="nearest", extent=(low, high, rows - 0.5, -0.5),
        )  # fmt: skip
    for entry in table.worst(NAMED):
        axes.plot(entry["column"], entry["row"], "o", mfc="none", mec="black", markersize=11)
    axes.set(xlabel=f"column of {TABLE}", ylabel="row", title="")
    counts = table.counts()
    shown = [state for state in STATES if counts[state.key] and state.key != "absent"]
    axes.legend(
        handles=[
            Patch(color=COLOURS[s.key], label=f"{s.short}: {counts[s.key]}")
            for s in shown
        ],
        loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=7, frameon=False,
    )  # fmt: skip


def _draw_ids(axes: Axes, table: TableMap) -> None:
    inside = table.case.launch.num_pages
    live = table.bad | (table.states == CODE["right"]) | (table.states == CODE["unjudged"])
    known = live & (table.expected != UNKNOWN)
    top = int(max(table.ids[live].max(initial=0), inside) * 1.08) + 1
    low = min(int(table.ids[live].min(initial=0)), 0)
    axes.axhspan(inside, top, color=BAND, label=f"outside the cache of {inside} pages")
    axes.axhline(inside, color=WRONG, linewidth=1)
    _dots(axes, known, table.expected, ".", RIGHT, "right page")
    _dots(axes, table.bad, table.ids, "x", WRONG, "wrong page")
    axes.set(xlabel="row", ylabel="page id", ylim=(low, top))
    by_value = sorted(table.worst(NAMED), key=lambda entry: -entry["value"])
    for at, entry in enumerate(by_value):
        axes.annotate(
            f"[{entry['row']}, {entry['column']}] = {entry['value']}",
            (entry["row"], entry["value"]), xytext=(0.03, 0.70 - 0.09 * at),
            textcoords="axes fraction", fontsize=8, arrowprops={"arrowstyle": "->"},
            bbox={"boxstyle": "round", "fc": "white", "ec": WRONG},
        )  # fmt: skip
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)


def _dots(
    axes: Axes, mask: np.ndarray, values: np.ndarray, marker: str, colour: str, label: str
) -> None:
    row, column = np.nonzero(mask)
    some = slice(None, None, max(len(row) // MAX_DOTS, 1))
    axes.plot(row[some], values[row, column][some], marker, color=colour, markersize=4, label=label)


def drawn(figure: Figure, ending: str) -> bytes:
    """A matplotlib figure as a file. Raises ReplayError for an ending that is no format."""
    file, known = io.BytesIO(), figure.canvas.get_supported_filetypes()
    name = ending.removeprefix(".").lower() or "png"
    if name not in known:
        raise ReplayError(f"{ending!r} is no picture; known: {', '.join(sorted(known))}")
    figure.savefig(file, dpi=120, format=name)
    return file.getvalue()
