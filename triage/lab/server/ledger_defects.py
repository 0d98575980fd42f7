"""Ledger bugs of the catalogue in a real server: a page given back twice, or while it is read.

Each gives pages back from a function of this file, so that "whose hand" has one right answer.
They stand where SGLang's own callers of the allocator do, above every hook (`late.py`): what a
check raises leaves through SGLang's frames, and ends the server as a caller's own mistake would.

    double-free         the pages that a finished request gave back are freed again, once the
                        free group of that step has ended
    aborted-in-flight   the page that a decoding request's newest token lies in is freed, as by
                        an abort that does not ask whether its step is under way, and the
                        request is decoded on

Both happen once, in the first step that offers what they need. With the checks of the ledger
(CHECKS=all) the server is to stop there; without them `double-free` is told by nobody.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triage.lab.server.late import Moments, Observer, Row, Step, complain, wrap
from triage.sglang.allocator.ledger_hooks import free_pages, grouping
from triage.sglang.binding.names import swa_allocator_class
from triage.sglang.holders import kept_by, row_of

On = Callable[[], bool]
"""Has the defect begun?"""


def free_again(allocator: Any, slots: Tensor) -> None:
    """The planted free of `double-free`."""
    allocator.free(slots)


def free_in_flight(allocator: Any, slots: Tensor) -> None:
    """The planted free of `aborted-in-flight`."""
    allocator.free(slots)


@dataclass(frozen=True, slots=True)
class Planted:
    """What must be found of a defect.

    cause: as `triage explain` names it. function: whose free is the newest event of the page.
    """

    cause: str
    function: Callable[[Any, Tensor], None]

    def is_in(self, frame: str) -> bool:
        """Is `frame`, as a page's history has it, a line of the planted function?"""
        place, _, name = frame.partition(" ")
        file, _, line = place.rpartition(":")
        lines, first = inspect.getsourcelines(self.function)
        return (
            file == "lab/server/ledger_defects.py"
            and name == self.function.__qualname__
            and line.isdigit()
            and first <= int(line) < first + len(lines)
        )


PLANTED = {
    "double-free": Planted("double-free", free_again),
    "aborted-in-flight": Planted("freed-page", free_in_flight),
}


class DoubleFree(Observer):
    """Behind SGLang's release of a request, and behind the end of the free group it is in."""

    def __init__(self, on: On) -> None:
        self.on, self.begun, self.done = on, False, False
        self.released: list[Tensor] = []  # slots of the rows that were given back in this group

    def bind(self, moments: Moments) -> None:
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

        self.moments = moments
        wrap(ReqToTokenPool, "free", self._release)
        wrap(swa_allocator_class(), "free_group_end", self._end)

    def begin(self, step: Step) -> None:
        self.begun = self.on()

    def _release(self, original: Any, table: Any, request: Any) -> Any:
        row = row_of(request)
        if self.begun and not self.done and row is not None:
            length = kept_by(request, "kv_allocated_len")
            self.released.append(table.req_to_token[row, :length].clone())
        result = original(table, request)
        self._free_again(self.moments.scheduler.token_to_kv_pool_allocator)
        return result

    def _end(self, original: Any, allocator: Any) -> Any:
        result = original(allocator)
        self._free_again(allocator)
        return result

    def _free_again(self, allocator: Any) -> None:
        """What is left with the tree is not free by now, and is left alone."""
        if not self.released or grouping(allocator):
            return
        slots, page = torch.cat(self.released), int(allocator.page_size)
        self.released.clear()
        free = torch.from_numpy(free_pages(allocator.full_attn_allocator)).to(slots.device)
        again = slots[torch.isin(slots // page, free)]
        if len(again):
            self.done = True
            complain(f"double-free of {len(again)} slots, first {int(again[0])}")
            free_again(allocator, again)


class AbortedInFlight(Observer):
    """Frees before a step is launched: SGLang has allocated for it, nobody else can be given it."""

    def __init__(self, on: On) -> None:
        self.on, self.moments, self.done = on, Moments(), False

    def bind(self, moments: Moments) -> None:
        self.moments = moments

    def begin(self, step: Step) -> None:
        if self.done or not self.on():
            return
        scheduler = self.moments.scheduler
        allocator = scheduler.token_to_kv_pool_allocator
        if grouping(allocator):
            return
        for row in step.rows:
            slots = _newest_page(scheduler.req_to_token_pool.req_to_token, row, allocator)
            if slots is not None:
                self.done = True
                complain(f"aborted-in-flight frees slot {int(slots[0])} of request {row.rid}")
                free_in_flight(allocator, slots)
                return


def _newest_page(table: Tensor, row: Row, allocator: Any) -> Tensor | None:
    """Slots of the page that a decoding request's newest token lies in; None if it is not sure.

    Under overlap a request has one token more than its list says: the newest that is listed is
    in the row in any case. Waits for the device.
    """
    request, held = row.request, row_of(row.request)
    answered = len(getattr(request, "output_ids", None) or ())
    if held is None or row.ended or not answered:
        return None
    page = int(allocator.page_size)
    newest = len(request.origin_input_ids) + answered - 2  # the last one has no slot yet
    first = int(table[held, newest]) // page * page
    return torch.arange(first, first + page, device=table.device) if first else None
