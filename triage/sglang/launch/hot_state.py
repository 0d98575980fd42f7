"""What the wrappers on the hot path look at: the call this process is in, and what was checked.

A layer of a forward costs here what a dozen comparisons of host objects cost, and
nothing else: the first launch of an index space and the first write go on to
`watching.py` and `writes.py`, which leave their answer here for the layers behind them.

One thread runs the forwards of a process, in every SGLang read (0.5.12.post1 to 0.5.23).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from triage.device import capture

Given = tuple[Tensor, Tensor]
"""The table and the lengths that a launch must be given instead of its own."""


@dataclass(slots=True)
class Checked:
    """The newest check of one index space, and what a later launch must share with it.

    Tensors and objects are compared by identity: a forward hands the same ones to
    every layer. `holder` is what has the pool, the backend or (0.5.12.post1) the batch.
    `given` is what the launch must be given instead, None in mode `log`.

    kinds: of each layer of the pool, whether it slides.
    layers: those that were found to read this index space.
    """

    table: Tensor | None
    lengths: Tensor | None
    cumulative: Tensor | None
    q_len: int | None
    window: int
    pages: int
    backend: Any
    metadata: Any
    forward_batch: Any
    pool: Any
    holder: Any
    kinds: Mapping[int, tuple[int, bool]]
    slides: bool
    given: Given | None
    layers: set[Any] = field(default_factory=set)

    def let_go(self) -> None:
        """Keep nothing of the forward alive; what was found of its form and layers stays."""
        self.table = self.lengths = self.cumulative = None
        self.forward_batch = self.metadata = None
        if self.holder is not self.backend:
            self.holder = None


@dataclass(slots=True)
class Written:
    """The newest write that was checked on the device, and the forward it belongs to.

    `swa_loc` is None where the pool translates by itself.
    """

    loc: Tensor
    swa_loc: Tensor | None
    backend: Any
    metadata: Any


HOLDS = """
_checked, _inside = seat.windowed if {window_left} >= 0 else seat.whole, seat.inside
if (
    _checked is not None
    and _inside is not None
    and {block_tables} is _checked.table
    and {window_left} == _checked.window
    and {seq_lens} is _checked.lengths
    and _inside[2] is _checked.forward_batch
    and _inside[0] is _checked.backend
    and _checked.backend.forward_metadata is _checked.metadata
    and _checked.holder.token_to_kv_pool is _checked.pool
    and {q_len_per_req} == _checked.q_len
    and {cum_seq_lens_q} is _checked.cumulative
    and extent({kv_cache}[0]) == _checked.pages
    and (_inside[1] in _checked.layers or seat.serves(_checked, _inside[1]))
):
    seat.repeated += 1
"""
"""Is a launch another layer's of a forward that was checked? Host comparisons alone, the
likeliest difference first. Source text, written into the wrapper of the FlashInfer call
(`attention.py`): it runs at every layer, where a call costs as much as all of it. What
stands behind it in the wrapper goes into its `if` and its `else`. `extent` is
`first_extent`.
"""

first_extent: Callable[[Tensor], int] = torch._C.TensorBase.__len__  # type: ignore[attr-defined]
"""`tensor.shape[0]` at two thirds of its cost: no `torch.Size` is made."""


Form = tuple[Any, ...]


def form_of(tensor: Tensor) -> Form:
    """All that decides how a kernel reads a tensor, but its address."""
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


class Seat:
    """State of the hot path. One per process; written by one thread.

    Attributes:
        armed: False makes every wrapper go straight on.
        inside: `(backend, layer, forward_batch)` of the entry that is running, or None.
        capturing: what the predicate said at the last entry.
        turned: called where it says something else now.
        windowed: the newest check of a launch with a window. whole: without one.
        repeated: launches for which a check held.
        again: launches that were checked as an earlier one was.
    """

    __slots__ = (
        "again",
        "armed",
        "capturing",
        "inside",
        "repeated",
        "turned",
        "whole",
        "windowed",
        "written",
    )

    def __init__(self) -> None:
        self.armed = True
        self.inside: tuple[Any, Any, Any] | None = None
        self.capturing = False
        self.turned: Callable[[], None] = lambda: None
        self.repeated = self.again = 0
        self.written: Written | None = None
        self.windowed: Checked | None = None
        self.whole: Checked | None = None

    @staticmethod
    def serves(checked: Checked, layer: Any) -> bool:
        """Is this another layer of the index space? It is among its `layers` from then on."""
        if checked.kinds[layer.layer_id][1] != checked.slides:
            return False
        checked.layers.add(layer)
        return True

    def wrote(self, loc: Tensor, swa_loc: Tensor | None) -> bool:
        """Was this very write checked, for another layer of the same forward?"""
        written = self.written
        return (
            written is not None
            and self.inside is not None
            and loc is written.loc
            and swa_loc is written.swa_loc
            and written.backend.forward_metadata is written.metadata
        )

    def keep(self, checked: Checked) -> None:
        """The newest check of its index space: a copy for containment holds no older one."""
        if checked.window >= 0:
            self.windowed, other = checked, self.whole
            if other is not None and other.slides == checked.slides:
                self.whole = None
        else:
            self.whole, other = checked, self.windowed
            if other is not None and other.slides == checked.slides:
                self.windowed = None

    def forget(self) -> None:
        """Whatever was checked is to be checked again."""
        self.windowed = self.whole = self.written = None

    @contextmanager
    def entered(self, backend: Any, layer: Any, forward_batch: Any) -> Iterator[None]:
        """Calls to FlashInfer inside belong to this layer of this backend."""
        before = self.inside
        self.inside = (backend, layer, forward_batch)
        if capture.capturing() is not self.capturing:
            self.turned()
        try:
            yield
        finally:
            self.inside = before
