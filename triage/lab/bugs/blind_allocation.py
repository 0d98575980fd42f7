"""Defects of the second author in eviction, mapping, allocator and request rows.

Long because each bug is a few lines of SGLang and the words about it; one family a file.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from triage.lab.bugs.allocation import caller, evict_ahead, nth, swa_allocator
from triage.lab.bugs.bug import SGLANG, Bug, Harmed, small
from triage.lab.bugs.released import keeps_no_margin, source
from triage.lab.patching import replaced


def _the_row_before(harmed: Harmed) -> AbstractContextManager[None]:
    """Eviction reads its slots from the row before the request's."""

    def rolled(pool: Any) -> Any:
        return SimpleNamespace(req_to_token=pool.req_to_token.roll(1, dims=0))

    from sglang.srt.mem_cache import common

    if not hasattr(common, "free_swa_out_of_window_slots"):  # up to 0.5.13.post1
        from sglang.srt.managers.schedule_batch import ScheduleBatch

        def make(original: Any) -> Any:
            def _evict_swa(self: Any, req: Any, pre_len: int) -> None:
                batch = {**vars(self), "req_to_token_pool": rolled(self.req_to_token_pool)}
                original(SimpleNamespace(**batch), req, pre_len)

            return _evict_swa

        return replaced(ScheduleBatch, "_evict_swa", make)

    def made(original: Any) -> Any:
        @wraps(original)  # the lab asks for its parameters
        def evict(req: Any, pre_len: int, *, req_to_token_pool: Any, **kwargs: Any) -> None:
            original(req, pre_len, req_to_token_pool=rolled(req_to_token_pool), **kwargs)

        return evict

    return replaced(common, "free_swa_out_of_window_slots", made)


def _window_not_less_one(harmed: Harmed) -> AbstractContextManager[Any]:
    """The layers count the current token into `sliding_window_size`, eviction does not."""
    from triage.lab.runtime import Runtime

    layer = Runtime._layer

    def wide(self: Runtime, index: int) -> Any:
        made = layer(self, index)
        if made.sliding_window_size >= 0:
            made.sliding_window_size += 1
        return made

    return mock.patch.object(Runtime, "_layer", wide)


def _row_written_one_late(harmed: Harmed) -> AbstractContextManager[None]:
    """A decode writes its slot behind the position it belongs to."""
    from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

    def make(original: Any) -> Any:
        def write(self: Any, indices: Any, values: Any) -> None:
            rows, positions = indices
            if isinstance(positions, torch.Tensor):
                harmed()
                positions = positions + 1
            original(self, (rows, positions), values)

        return write

    return replaced(ReqToTokenPool, "write", make)


def _slots_of_pages(pages: torch.Tensor, page: int) -> torch.Tensor:
    return (pages[:, None] * page + torch.arange(page)).reshape(-1)


def _neighbour_cleared(harmed: Harmed) -> AbstractContextManager[None]:
    """`free_swa` clears the mapping of one page more than it frees."""

    def make(original: Any) -> Any:
        def free_swa(self: Any, free_index: Any) -> None:
            original(self, free_index)
            page = int(self.page_size)
            behind = (free_index.to(torch.int64) // page).unique() + 1
            behind = behind[behind <= self.size_full // page]
            self.full_to_swa_index_mapping[_slots_of_pages(behind, page)] = 0

        return free_swa

    return replaced(swa_allocator(), "free_swa", make)


def _cleared_a_call_late(harmed: Harmed) -> AbstractContextManager[None]:
    """`free_swa` gives SWA pages back now and clears their mapping when it is called next."""

    def make(original: Any) -> Any:
        owed: list[torch.Tensor] = []

        def free_swa(self: Any, free_index: Any) -> None:
            for slots in owed:
                self.full_to_swa_index_mapping[slots] = 0
            pages = (free_index.to(torch.int64) // self.page_size).unique()
            slots = _slots_of_pages(pages, int(self.page_size))
            before = self.full_to_swa_index_mapping[slots].clone()
            original(self, free_index)
            self.full_to_swa_index_mapping[slots] = before
            owed[:] = [slots]

        return free_swa

    return replaced(swa_allocator(), "free_swa", make)


def _shifted_by_one(harmed: Harmed) -> AbstractContextManager[None]:
    """`alloc_extend` pairs every full slot with the SWA slot of the token before."""

    def make(original: Any) -> Any:
        def alloc_extend(self: Any, *args: Any, **kwargs: Any) -> Any:
            slots = original(self, *args, **kwargs)
            if slots is not None and len(slots) > 1:
                mapping = self.full_to_swa_index_mapping
                mapping[slots] = mapping[slots].roll(1)
                harmed()
            return slots

        return alloc_extend

    return replaced(swa_allocator(), "alloc_extend", make)


def _last_slot_of_another(harmed: Harmed) -> AbstractContextManager[Any]:
    """The slots to go on from are in another order than the requests."""

    def around(alloc_extend: Any) -> Any:
        def rolled(
            self: Any, prefix: Any, prefix_cpu: Any, lens: Any, lens_cpu: Any, last: Any, *rest: Any
        ) -> Any:
            wrong = last.roll(1)
            goes_on = (prefix % self.page_size != 0) & (lens > prefix)
            if bool((goes_on & (wrong != last)).any()):
                harmed()
            return alloc_extend(self, prefix, prefix_cpu, lens, lens_cpu, wrong, *rest)

        return rolled

    return caller(swa_allocator(), "alloc_extend", around)


def _in_a_group(act: Callable[[Any, Any, torch.Tensor, Harmed], None]) -> Any:
    """Have a caller free in a group; at its third free it does `act`."""

    def inject(harmed: Harmed) -> AbstractContextManager[Any]:
        def around(free: Any) -> Any:
            due = nth(3, lambda: None)
            inside: list[bool] = []

            def grouped(self: Any, free_index: Any) -> None:
                if inside or not len(free_index):
                    free(self, free_index)  # the group's end frees through the same entry
                    return
                inside.append(True)
                try:
                    self.free_group_begin()
                    if due():
                        act(self, free, free_index, harmed)
                    else:
                        free(self, free_index)
                        self.free_group_end()
                finally:
                    inside.clear()

            return grouped

        return caller(swa_allocator(), "free", around)

    return inject


def _ended_twice(allocator: Any, free: Any, slots: torch.Tensor, harmed: Harmed) -> None:
    free(allocator, slots)
    allocator.free_group_end()
    harmed()
    allocator.free_group_end()


def _begun_again(allocator: Any, free: Any, slots: torch.Tensor, harmed: Harmed) -> None:
    """Ended once only: a second end of these releases would free again as well."""
    page = int(allocator.page_size)
    free(allocator, slots[:page].clone())
    harmed()
    allocator.free_group_begin()
    free(allocator, slots[page:].clone())
    allocator.free_group_end()


def _abort_in_flight(harmed: Harmed) -> AbstractContextManager[Any]:
    """An abort frees a request's slots between the draft and the verify of one step."""
    from triage.lab.forwards import Forwards

    def around(verify: Any) -> Any:
        due = nth(6, lambda: None)

        def interrupted(self: Any, batch: Any, loc: Any) -> None:
            if due():
                table = self.runtime.req_to_token_pool.req_to_token
                page = int(self.runtime.geometry.page_size)
                firsts = table[batch[0].req_pool_idx, : batch[0].length : page].to(torch.int64)
                slots = (firsts[:, None] + torch.arange(page)).flatten()  # whole pages
                harmed()
                self.runtime.token_to_kv_pool_allocator.free(slots)
            verify(self, batch, loc)

        return interrupted

    return mock.patch.object(Forwards, "verify", around(Forwards.verify))


def _groups_can_go_wrong() -> str:
    nested = source(swa_allocator().free_group_begin)
    if "super()" in nested:
        from sglang.srt.mem_cache.allocator.base import BaseTokenToKVPoolAllocator

        nested = source(BaseTokenToKVPoolAllocator.free_group_begin)
    return "fixed: a group asserts that none is open" if "assert" in nested else ""


def _clears_by_page() -> str:
    by_page = hasattr(swa_allocator(), "_expand_to_full_pages")
    return "" if by_page else "wrong by itself on this release: see free-swa-by-token"


SECOND_AUTHOR_ALLOCATION = (
    Bug(
        "evicted-a-token-early",
        "SWA eviction believes the request one token further than it is",
        f"variant of {SGLANG}/pull/29860: no margin, off by one",
        ("I1", "I15"),
        inject=evict_ahead(1),
        scenario=small(draft="none", output_tokens=40),
        overlap=False,
        applies=keeps_no_margin,
        cause="freed-page",
    ),
    Bug(
        "evicted-from-the-row-before",
        "SWA eviction frees the pages of the request in the row before",
        "re-injected here: index of the row off by one",
        ("I15", "I1", "I17", "I6"),
        inject=_the_row_before,
        scenario=small(requests=6, output_tokens=60),
        applies=keeps_no_margin,
        cause="freed-page",
        also=("dummy-page-freed",),  # 0.5.23: the row before the first one holds nothing
    ),
    Bug(
        "window-a-token-wide",
        "the layers' window is one token wider than the one eviction keeps",
        f"variant of {SGLANG}/pull/34273: one more token is attended to",
        ("I1", "I15"),
        inject=_window_not_less_one,
        scenario=small(draft="none", output_tokens=40),
        overlap=False,
        applies=keeps_no_margin,
        cause="freed-page",
    ),
    Bug(
        "row-written-one-late",
        "a decode writes its slot into req_to_token one position too far",
        "re-injected here: the length with the new token taken for its position",
        ("I20", "I14", "I3", "I1"),
        inject=_row_written_one_late,
        scenario=small(draft="none"),
        cause="row-written-wrongly",
        # The next call goes on behind the 0 that stands there, and returns a dummy page's slot.
        also=("page-owned-twice", "illegal-allocation"),
    ),
    Bug(
        "neighbour-page-unmapped",
        "free_swa clears the mapping of the page behind the one it frees as well",
        f"variant of {SGLANG}/pull/27779",
        ("I4", "I6"),
        inject=_neighbour_cleared,
        applies=_clears_by_page,
        cause="stale-mapping",
    ),
    Bug(
        "mapping-cleared-a-call-late",
        "a freed SWA page is mapped until free_swa is called again",
        f"variant of {SGLANG}/pull/25385",
        ("I6", "I4"),
        inject=_cleared_a_call_late,
        applies=_clears_by_page,
        cause="stale-mapping",
    ),
    Bug(
        "mapping-shifted-by-one",
        "alloc_extend maps every full slot to the SWA slot of the token before",
        "re-injected here: legal ids, injective, but not page preserving",
        ("I4", "I8"),
        inject=_shifted_by_one,
        scenario=small(draft="none"),
        cause="stale-mapping",
    ),
    Bug(
        "last-slot-of-another-request",
        "alloc_extend goes on behind the last slot of another request",
        f"variant of {SGLANG}/pull/11772: last_loc of the wrong row",
        ("I20", "I5"),
        inject=_last_slot_of_another,
        cause="page-owned-twice",
    ),
    Bug(
        "group-ended-twice",
        "a free group is ended twice and frees what it holds again",
        "hardened in 0.5.23: free_group_end forgets its list",
        ("I6", "I5"),
        inject=_in_a_group(_ended_twice),
        applies=_groups_can_go_wrong,
        cause="double-free",
    ),
    Bug(
        "group-begun-again",
        "a free group is begun again before its end and drops what it had collected",
        "hardened in 0.5.23: free groups cannot be nested",
        ("I7", "I5"),
        inject=_in_a_group(_begun_again),
        applies=_groups_can_go_wrong,
        cause="leak",
    ),
    Bug(
        "aborted-in-flight",
        "an abort frees a request's slots while its step is under way",
        "re-injected here: an abort between draft and verify",
        ("I17", "I1", "I5"),
        inject=_abort_in_flight,
        cause="freed-page",
    ),
)
