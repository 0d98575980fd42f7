"""The one memory of the hot path: the call this process is in, and what its forward decided.

A layer of a forward costs here what a dozen comparisons of host objects cost, and
nothing else. `docs/architecture.md` walks one launch through it:

    entry       `forward_decode`, `forward_extend`: whose launches come from inside, and
                whether they are of the forward that the memory is about (SAME_FORWARD_SRC)
    write       the slots that were checked for another layer (SAME_WRITE_SRC)
    launch      the table and lengths that were checked for another layer (SAME_LAUNCH_SRC)

What is not known goes on to `guard.py` and `writes.py`, which leave their answer in the
`Forward`; modes `raise`, `contain` and `log` share it. New metadata, and a capture that
begins or ends, make a new one. What outlives a forward, launches that differ from earlier
ones in values alone, is `bound.py`.

The three sources are written into the wrappers, since a call costs as much as all of what
they compare; each stands beside a function that says the same, and a test holds them equal.
One thread runs the forwards of a process, in every SGLang read (0.5.12.post1 to 0.5.23).

Long because each source stands beside the function that says the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from triage.device import capture

Replacement = tuple[Tensor, Tensor]
"""The table and the lengths that a launch must be given instead of its own."""

Form = tuple[Any, ...]


def form_of(tensor: Tensor) -> Form:
    """All that decides how a kernel reads a tensor, but its address."""
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def same_elements(one: Tensor | None, other: Tensor | None) -> bool:
    """Do both read the same elements of memory? Not whether they hold what they held."""
    if one is other:
        return True
    return (
        one is not None
        and other is not None
        and one.data_ptr() == other.data_ptr()
        and form_of(one) == form_of(other)
    )


first_extent: Callable[[Tensor], int] = torch._C.TensorBase.__len__  # type: ignore[attr-defined]
"""`tensor.shape[0]` at two thirds of its cost: no `torch.Size` is made."""


@dataclass(slots=True)
class Checked:
    """The newest check of one index space, and what the launch of another layer must share.

    Tensors are compared by identity: a forward hands the same ones to every layer.

    kinds: of each layer of the pool, its number there and whether it slides.
    layers: those that were found to read this index space.
    replacement: what the launch must be given instead, None in modes `raise` and `log`.
    """

    table: Tensor | None
    lengths: Tensor | None
    cumulative: Tensor | None
    q_len: int | None
    window: int
    pages: int
    kinds: Mapping[int, tuple[int, bool]]
    slides: bool
    replacement: Replacement | None = None
    layers: set[Any] = field(default_factory=set)

    def release_refs(self) -> None:
        """Keep no tensor of the forward alive; what was found of its form and layers stays."""
        self.table = self.lengths = self.cumulative = None


@dataclass(slots=True)
class Forward:
    """What one forward decided at its first check, and what of it was checked since.

    holder: what has the pool, the backend or (0.5.12.post1) the batch.
    windowed, whole: the newest check of a launch with a window, and without one.
    written, written_swa: the newest write that was checked; None, None before it. The SWA
        slots are None where the pool translates by itself.
    tables_read, writes_read: keys of what mode `raise` has read, by address: a draft's steps
        and a batch's copies share metadata and lengths, and so these.
    fresh: were the metadata found to be this batch's?
    vectors: lengths, offsets and requests of the batch, and their form.
    """

    backend: Any
    metadata: Any
    lengths: Any
    batch: Any
    pool: Any
    holder: Any
    windowed: Checked | None = None
    whole: Checked | None = None
    written: Tensor | None = None
    written_swa: Tensor | None = None
    tables_read: set[tuple[Any, ...]] = field(default_factory=set)
    writes_read: set[tuple[Any, ...]] = field(default_factory=set)
    fresh: bool = False
    vectors: tuple[Any, Any, Any, Form] | None = None

    def goes_on(self, batch: Any, pool: Any) -> None:
        """With another batch over the same metadata, or another pool: no check by identity holds.

        A copy of the batch brings its own request list, so the device checks it anew.
        """
        self.batch, self.pool = batch, pool
        self.holder = holder_of(self.backend, batch)
        self.windowed = self.whole = self.written = self.written_swa = None
        self.vectors = None
        self.fresh = False

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


def holder_of(backend: Any, batch: Any) -> Any:
    """What has the pool in this release."""
    return backend if hasattr(backend, "token_to_kv_pool") else batch


class HotState:
    """State of the hot path. One per process; written by one thread.

    Attributes:
        armed: False makes every wrapper go straight on.
        current_call: `(backend, layer, forward_batch)` of the entry that is running, or None.
        capturing: what the predicate said at the last entry.
        on_capture_change: called where it says something else now.
        newest: the forward that was checked last. forward: the same while the entry that is
            running is one of its, else None.
        repeated: launches for which a check held.
        relaunched: launches that were checked as an earlier one was.
        other_forward: what was noted of the forward of another backend than trtllm_mha's while
            one of its layers runs, else None (`newest.py`).
    """

    __slots__ = (
        "armed",
        "capturing",
        "current_call",
        "forward",
        "newest",
        "on_capture_change",
        "other_forward",
        "relaunched",
        "repeated",
    )

    def __init__(self) -> None:
        self.armed = True
        self.current_call: tuple[Any, Any, Any] | None = None
        self.capturing = False
        self.on_capture_change: Callable[[], None] = lambda: None
        self.repeated = self.relaunched = 0
        self.newest: Forward | None = None
        self.forward: Forward | None = None
        self.other_forward: dict[Any, Any] | None = None

    def decide(self, backend: Any, batch: Any, pool: Any) -> Forward:
        """The forward that a call of `backend` belongs to; a new one if nothing of it is known.

        Call it from inside the entry. A forward brings its own metadata and lengths.
        """
        metadata = getattr(backend, "forward_metadata", None)
        lengths = getattr(batch, "seq_lens", None)
        found = self.newest
        if (
            found is None
            or found.backend is not backend
            or found.metadata is not metadata
            or found.lengths is not lengths
        ):
            found = Forward(backend, metadata, lengths, batch, pool, holder_of(backend, batch))
        elif found.batch is not batch or found.pool is not pool:
            found.goes_on(batch, pool)
        self.newest = self.forward = found
        return found

    def forget(self) -> None:
        """Whatever was checked is to be checked again."""
        self.newest = self.forward = None

    @staticmethod
    def serves(checked: Checked, layer: Any) -> bool:
        """Is this another layer of the index space? It is among its `layers` from then on."""
        try:
            slides = checked.kinds[layer.layer_id][1]
        except KeyError:  # not a layer of this pool
            return False
        if slides == checked.slides:
            checked.layers.add(layer)
        return slides == checked.slides

    def hand_over_counts(self, counts: Counter[str]) -> None:
        """Add what was counted here to `counts`, and begin again from 0."""
        if self.repeated or self.relaunched:
            counts["launches"] += self.repeated + self.relaunched
            counts["tables"] += self.relaunched
            self.repeated = self.relaunched = 0

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Calls inside read what was checked as a whole: they go straight on."""
        before, self.armed = self.armed, False
        try:
            yield
        finally:
            self.armed = before

    @contextmanager
    def entered(self, backend: Any, layer: Any, forward_batch: Any) -> Iterator[None]:
        """Calls to FlashInfer inside belong to this layer of this backend."""
        before = self.current_call, self.forward
        self.current_call = (backend, layer, forward_batch)
        if capture.capturing() is not self.capturing:
            self.on_capture_change()
        self.forward = same_forward(self, backend, forward_batch)
        try:
            yield
        finally:
            self.current_call, self.forward = before


# -- the sources, each with the function that says the same ----------------------------------

SAME_FORWARD_SRC = """
_newest = hot.newest
if (
    _newest is not None
    and {batch} is _newest.batch
    and {backend} is _newest.backend
    and {backend}.forward_metadata is _newest.metadata
    and _newest.holder.token_to_kv_pool is _newest.pool
):
    hot.forward = _newest
else:
    hot.forward = None
"""
"""Does the entry belong to the forward that was checked last?"""


def same_forward(hot: HotState, backend: Any, batch: Any) -> Forward | None:
    """SAME_FORWARD_SRC: the forward that was checked last, if the entry is one of its."""
    newest = hot.newest
    known = (
        newest is not None
        and batch is newest.batch
        and backend is newest.backend
        and backend.forward_metadata is newest.metadata
        and newest.holder.token_to_kv_pool is newest.pool
    )
    return newest if known else None


SAME_WRITE_SRC = """
_forward = hot.forward
if hot.armed and (
    _forward is None
    or {loc} is not _forward.written
    or {swa_loc} is not _forward.written_swa
):
"""
"""Is a write to be looked at? Not if another layer of the forward wrote to the very same slots."""


def same_write(hot: HotState, loc: Any, swa_loc: Any) -> bool:
    """The other side of SAME_WRITE_SRC: was this very write checked for another layer?"""
    forward = hot.forward
    return forward is not None and loc is forward.written and swa_loc is forward.written_swa


SAME_LAUNCH_SRC = """
_forward = hot.forward
_checked = (
    None
    if _forward is None
    else _forward.windowed
    if {window_left} >= 0
    else _forward.whole
)
if (
    _checked is not None
    and {block_tables} is _checked.table
    and {window_left} == _checked.window
    and {seq_lens} is _checked.lengths
    and {q_len_per_req} == _checked.q_len
    and {cum_seq_lens_q} is _checked.cumulative
    and extent({kv_cache}[0]) == _checked.pages
    and (hot.current_call[1] in _checked.layers or hot.serves(_checked, hot.current_call[1]))
):
    hot.repeated += 1
"""
"""Is a launch another layer's of a forward that was checked? Only what the call itself brings is
compared, the likeliest difference first. What stands behind it in the wrapper of the FlashInfer
call (`attention.py`) goes into its `if` and its `else`. `extent` is `first_extent`.
"""


def same_launch(
    hot: HotState,
    *,
    kv_cache: Any,
    block_tables: Any,
    seq_lens: Any,
    window_left: int,
    q_len_per_req: int | None,
    cum_seq_lens_q: Any,
) -> Checked | None:
    """SAME_LAUNCH_SRC: the check that holds for this launch, which is counted; else None."""
    forward = hot.forward
    if forward is None or hot.current_call is None:
        return None
    checked = forward.windowed if window_left >= 0 else forward.whole
    layer = hot.current_call[1]
    holds = (
        checked is not None
        and block_tables is checked.table
        and window_left == checked.window
        and seq_lens is checked.lengths
        and q_len_per_req == checked.q_len
        and cum_seq_lens_q is checked.cumulative
        and first_extent(kv_cache[0]) == checked.pages
        and (layer in checked.layers or hot.serves(checked, layer))
    )
    if not holds:
        return None
    hot.repeated += 1
    return checked
