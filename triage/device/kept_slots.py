"""The packed slots of a launch that broke an invariant, on the host before anyone asks.

The failure: in `contain`, `log` and under CUDA graphs a finding is known a step later, when
SGLang has packed the next step's slots into the same buffer. The rule: the check's own launch
copies what it judged, and only if it found something: the last of its programs writes the rows,
and beside each slot the one that `req_to_token` and the mapping then named, into pinned host
memory. A sound launch costs one comparison of two integers; nobody waits, and reading the copy
touches no device.

`places` launches are kept at a time; a place is free again once `release` was told that its
step has been judged. A launch that finds none free is not kept.

Words, int64, of each place: HEAD numbers, of which BEGUN and COMPLETE hold the checker's launch
+ 1 and differ in a torn copy, then OF_ROW numbers of each row. Cells, int32, of each place:
slots, `req_to_token`'s full slots, and the slots that the launch should have had; -1 in the
last two where it is not known, LOST where an offset points past the buffer.

Memory: places * ((8 + rows * 5) * 8 + cells * 12) bytes on the host, none on the device.

Not covered: rows past `rows`, and rows that no longer fit into `cells`: `None` in `rows_of`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BEGUN, COMPLETE, TAG, ROWS, CELLS = range(5)
HEAD = 8
COUNT, START, REQUEST, AT = range(4)
OF_ROW = 5
LOST = -(2**31)
"""A slot that could not be read. No slot of any pool is negative."""

PLACES = 2
MAX_ROWS = 1024
MAX_CELLS = 1 << 20


@dataclass(frozen=True, slots=True)
class KeptRow:
    """One row of a kept launch.

    count: slots by its offsets. start: position of the first. request: its request index, None
    where the check was not given any. slots, own, right: `(kept,)`, int32, as the module says;
    None where they did not fit.
    """

    count: int
    start: int
    request: int | None
    slots: np.ndarray | None
    own: np.ndarray | None
    right: np.ndarray | None


@dataclass(frozen=True, slots=True)
class KeptLaunch:
    """tag: what the caller gave the check. rows: as many as fit. all_rows: of the launch."""

    launch: int
    tag: int
    all_rows: int
    rows: tuple[KeptRow, ...]


class KeptSlots:
    """The places of one checker.

    Args:
        rows, cells: of the largest launch; what is larger is kept as far as that goes.
        pinned: the kernel writes it, so it must be reachable from the GPU.
    """

    def __init__(self, rows: int, cells: int, *, pinned: bool, places: int = PLACES) -> None:
        self.places = places
        self.max_rows, self.max_cells = max(rows, 1), max(cells, 1)
        size = HEAD + self.max_rows * OF_ROW
        self.words = torch.zeros(places, size, dtype=torch.int64, pin_memory=pinned)
        self.cells = torch.zeros(places, 3, self.max_cells, dtype=torch.int32, pin_memory=pinned)

    @classmethod
    def of(cls, req_to_token: Tensor) -> KeptSlots:
        """As large as a launch over every row of `req_to_token`, within MAX_ROWS and MAX_CELLS."""
        rows, context = req_to_token.shape
        cells = min(rows * context, MAX_CELLS)
        return cls(min(rows, MAX_ROWS), cells, pinned=req_to_token.device.type == "cuda")

    @property
    def host_bytes(self) -> int:
        return self.words.numel() * 8 + self.cells.numel() * 4

    def launch(self, number: int) -> KeptLaunch | None:
        """The checker's launch of that number; None if it is not kept. No device is touched.

        Whole once a mark behind that launch has arrived.
        """
        for words, cells in zip(self.words.numpy(), self.cells.numpy(), strict=True):
            if words[BEGUN] == words[COMPLETE] == number + 1:
                return _launch(words, cells, self.max_rows)
        return None

    def release(self, before: int) -> None:
        """Free the places of the checker's launches below that number: they were judged."""
        words = self.words.numpy()
        for place in words:
            if 0 < place[COMPLETE] <= before:
                place[BEGUN] = place[COMPLETE] = 0


def _launch(words: np.ndarray, cells: np.ndarray, max_rows: int) -> KeptLaunch:
    number, tag, rows = (int(words[at]) for at in (COMPLETE, TAG, ROWS))
    about = words[HEAD:].reshape(-1, OF_ROW)[: min(rows, max_rows)]
    return KeptLaunch(number - 1, tag, rows, tuple(_row(each, cells) for each in about))


def _row(about: np.ndarray, cells: np.ndarray) -> KeptRow:
    count, start, request, at = (int(about[place]) for place in (COUNT, START, REQUEST, AT))
    known = None if request < -(2**61) else request
    if at < 0:
        return KeptRow(count, start, known, None, None, None)
    kept = cells[:, at : at + max(min(count, cells.shape[1] - at), 0)].copy()
    return KeptRow(count, start, known, *kept)


def keep_eager(
    kept: KeptSlots,
    launch: int,
    tag: int,
    kv_indptr: Tensor,
    kv_indices: Tensor,
    *,
    starts: Tensor,
    requests: Tensor | None,
    req_to_token: Tensor | None,
    full_to_swa: Tensor | None,
    unknown: int,
) -> None:
    """Twin of `_keep_slots` of `packed_slot_kernels.py`, for CPU tensors. Mutates `kept`.

    starts: `(rows,)`, position of each row's first slot. unknown: stands for no request.
    """
    place = next((n for n in range(kept.places) if int(kept.words[n, COMPLETE]) == 0), None)
    if place is None:
        return
    words, cells = kept.words[place], kept.cells[place]
    words[BEGUN] = launch + 1
    firsts, used, rows = kv_indptr.to(torch.int64), 0, len(kv_indptr) - 1
    for row in range(min(rows, kept.max_rows)):
        first, count, start = int(firsts[row]), int(firsts[row + 1] - firsts[row]), int(starts[row])
        reach = min(max(count, 0), len(kv_indices))
        fits = used + reach <= kept.max_cells
        request = unknown if requests is None else int(requests[row])
        about = torch.tensor([count, start, request, used if fits else -1])
        words[HEAD + row * OF_ROW :][: len(about)] = about
        if not fits or not reach:
            continue
        at = first + torch.arange(reach)
        there = (at >= 0) & (at < len(kv_indices))
        slot = kv_indices[at.clamp(0, len(kv_indices) - 1)].to(torch.int64)
        slot = torch.where(there, slot.clamp(-(2**31) + 1, 2**31 - 1), LOST)
        own = right = torch.full_like(slot, -1)
        if req_to_token is not None and requests is not None:
            own, right = _named(start + torch.arange(reach), request, req_to_token, full_to_swa)
        cells[:, used : used + reach] = torch.stack([slot, own, right]).to(torch.int32)
        used += reach
    words[TAG], words[ROWS], words[CELLS] = tag, rows, used
    words[COMPLETE] = launch + 1


def _named(
    position: Tensor, request: int, req_to_token: Tensor, full_to_swa: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What `req_to_token` has for the positions, and what it stands for in the pool read."""
    requests, context = req_to_token.shape
    known = (position >= 0) & (position < context) & (1 <= request < requests)
    row = req_to_token[min(max(request, 0), requests - 1)]
    own = torch.where(known, row[position.clamp(0, context - 1)].to(torch.int64), -1)
    if full_to_swa is None:
        return own, own
    mapped = known & (own >= 0) & (own < len(full_to_swa))
    right = full_to_swa[own.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    return own, torch.where(mapped, right, -1)
