"""A dump as a picture: the page ids a launch was given, beside those it should have had.

One column per request, page id upwards. Whatever lies above the line leaves the
cache; whatever is red reads another request's keys although the kernel cannot
tell. Needs the extra `report` (matplotlib).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from triage.dump.expected_ids import expected_ids, visible
from triage.dump.sections import Dump
from triage.errors import ReplayError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WRONG, RIGHT, BAND = "#c0392b", "#7f8c8d", "#f5d6d2"


def draw(dump: Dump, ending: str) -> bytes:
    """The picture of `dump` as a file of that ending (".png", ".svg", ".pdf").

    Raises ReplayError if the dump holds no table to draw, or nobody knows the ending.
    """
    from matplotlib.figure import Figure

    launch, tables, expected = dump.launch, dump.tables, expected_ids(dump)
    if launch is None or tables is None or expected is None:
        raise ReplayError("this dump holds no page table with its request table; nothing to draw")
    passed = tables.page_table.padded().astype(np.int64)
    seen = visible(dump, passed.shape[1])
    rows = np.broadcast_to(np.arange(len(passed))[:, None], passed.shape)
    wrong = seen & (passed != expected)
    inside = launch.num_pages
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    top = int(max(passed[seen].max(initial=0), inside) * 1.06)
    axes.axhspan(inside, top, color=BAND, label=f"outside the cache of {inside} pages: fault")
    axes.axhline(inside, color=WRONG, linewidth=1)
    axes.plot(rows[seen], expected[seen], ".", color=RIGHT, markersize=4, label="right page")
    axes.plot(rows[wrong], passed[wrong], "x", color=WRONG, markersize=4, label="wrong page")
    axes.set(xlabel="request of the batch", ylabel="page id", ylim=(0, top))
    axes.set_title(
        f"layer {launch.layer_id}, window {launch.window_left + 1}: "
        f"{int(wrong.sum())} of {int(seen.sum())} visible entries are wrong, "
        f"{int((seen & (passed >= inside)).sum())} leave the cache",
        fontsize=10,
    )
    axes.legend(loc="lower right", fontsize=8, framealpha=0.9)
    return drawn(figure, ending)


def drawn(figure: Figure, ending: str) -> bytes:
    """A matplotlib figure as a file. Raises ReplayError for an ending that is no format."""
    file, known = io.BytesIO(), figure.canvas.get_supported_filetypes()
    name = ending.removeprefix(".").lower() or "png"
    if name not in known:
        raise ReplayError(f"{ending!r} is no picture; known: {', '.join(sorted(known))}")
    figure.savefig(file, dpi=120, format=name)
    return file.getvalue()
