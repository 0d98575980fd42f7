"""Where the events of a page come from: hooks at the allocators and the trees of SGLang.

Every page passes an allocator of one pool (full or SWA), so that is where "allocated" and
"freed" are noted; who called is looked up at the outermost call, the SWA allocator's where
there is one. Inside a free group SGLang keeps slots and gives them back at its end, from
another place: there the event is noted when the slots are put in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any
from weakref import WeakSet, ref

from torch import Tensor

from triage.device import capture
from triage.evidence import Evidence, PageHistory
from triage.sglang.allocator.call_sites import CallSites
from triage.sglang.allocator.ledger_hooks import grouping, has_mapping
from triage.sglang.allocator.named_pages import pages_named
from triage.sglang.allocator.page_recorder import (
    ALLOCATED,
    FREED,
    INSERTED,
    MAPPED,
    SWA_FREED,
    Moved,
    PageRecorder,
    write,
)

Args = tuple[Any, ...]
Named = dict[str, Any]
"""Arguments of SGLang's call behind the allocator, by position and by name."""

PAGES = 8
"""Pages of one piece of evidence whose history is told."""


class _Pool:
    """The recorder of one allocator; calls that its own methods make are no events."""

    def __init__(self, allocator: Any, sites: CallSites) -> None:
        self.allocator = ref(allocator)
        self.page_size = int(allocator.page_size)
        self.num_pages = int(allocator.size) // self.page_size + 1
        self.recorder = PageRecorder(self.num_pages, self.page_size, allocator.device, sites)
        self.under_way = False


class PageHistories:
    """The recorders of a process. `step` says which step is the newest.

    A hook has two halves, as `Shell.beside` calls them: what `before_...` returns goes to
    `behind_...`, and where it is None nothing is done behind.
    """

    def __init__(self, step: Callable[[], int]) -> None:
        self.step = step
        self.sites = CallSites()
        self._pools: dict[int, _Pool] = {}  # by the allocator's id, which may be another's by now
        self._hybrids: WeakSet[Any] = WeakSet()
        self._hybrid: ref[Any] | None = None  # the last of them
        self._outermost: FrameType | None = None  # in it the outermost call is under way
        self._moved: list[Moved] = []  # what that call moved so far
        self._settling = False  # a group ends: its slots were noted when they were put in

    def restart(self) -> None:
        """As in a new process."""
        self._outermost, self._moved, self._settling = None, [], False
        self._pools.clear()
        self._hybrids.clear()
        self._hybrid = None

    # -- one pool ------------------------------------------------------------------------

    def before_alloc(self, allocator: Any, _: Args, __: Named) -> _Pool | None:
        if self._outermost is None and capture.capturing():
            return None
        pool = self._of(allocator)
        if pool.under_way:
            return None
        pool.under_way = True
        return pool

    def behind_alloc(self, pool: _Pool, slots: Any) -> None:
        pool.under_way = False
        if slots is not None:
            self._note(pool, ALLOCATED, slots)

    def before_free(self, allocator: Any, args: Args, named: Named) -> _Pool | None:
        return self._freed(allocator, args, named, 1)

    def before_free_of_pages(self, allocator: Any, args: Args, named: Named) -> _Pool | None:
        return self._freed(allocator, args, named, 0)

    def before_group_end(self, allocator: Any, _: Args, __: Named) -> _Pool | None:
        pool = self._of(allocator)
        if pool.under_way:
            return None
        pool.under_way = True
        return pool

    def behind_free(self, pool: _Pool, _: Any) -> None:
        pool.under_way = False

    def before_clear(self, allocator: Any, _: Args, __: Named) -> None:
        self._pools.pop(id(allocator), None)

    # -- both pools -------------------------------------------------------------------------

    def before_hybrid_alloc(self, allocator: Any, _: Args, __: Named) -> bool | None:
        if self._outermost is not None or capture.capturing():
            return None
        known = self._hybrid
        if known is None or known() is not allocator:
            self._hybrids.add(allocator)
            self._hybrid = ref(allocator)
        self._outermost = sys._getframe(1)
        return True

    def before_hybrid_free(self, allocator: Any, args: Args, named: Named) -> bool | None:
        """In an open group the slots are noted now, with their SWA side as it is mapped now."""
        if not self.before_hybrid_alloc(allocator, args, named):
            return None
        self._free_both(allocator, _first(args, named), grouping(allocator), swa_alone=False)
        return True

    def before_hybrid_free_swa(self, allocator: Any, args: Args, named: Named) -> bool | None:
        """As `before_hybrid_free`; the full slots stay."""
        if not self.before_hybrid_alloc(allocator, args, named):
            return None
        self._free_both(allocator, _first(args, named), grouping(allocator), swa_alone=True)
        return True

    def behind_hybrid(self, _: bool, __: Any) -> None:
        """The outermost call."""
        try:
            self._write_moved()
        finally:
            self._outermost = None

    def before_hybrid_group_end(self, _: Any, __: Args, ___: Named) -> bool:
        self._settling = True
        return True

    def behind_hybrid_group_end(self, _: bool, __: Any) -> None:
        self._settling = False

    def before_mapping(self, allocator: Any, args: Args, named: Named) -> None:
        """A mapping of its own; that of an allocation goes without saying."""
        if self._outermost is None and not capture.capturing():
            self._note(self._of(allocator.full_attn_allocator), MAPPED, _first(args, named))

    # -- a tree -----------------------------------------------------------------------------

    def before_insert(self, cache: Any, args: Args, named: Named) -> None:
        if capture.capturing():
            return
        given = args[0] if args else next(iter(named.values()), None)
        slots = getattr(given, "value", None)
        allocator = getattr(cache, "token_to_kv_pool_allocator", None)
        full = getattr(allocator, "full_attn_allocator", allocator)
        if isinstance(slots, Tensor) and full is not None:
            self._note(self._of(full), INSERTED, slots)

    # -- what is asked -------------------------------------------------------------------------

    def of(self, evidence: Evidence) -> tuple[PageHistory, ...]:
        """The pages that evidence names, at most `PAGES`; waits for the device.

        Nothing where several allocators could be meant.
        """
        self._write_moved()  # an error in the midst of a call
        pools = self._named_pools()
        wanted: dict[tuple[str, int], None] = {}
        for pool, page in pages_named(evidence, pools):
            if page and len(wanted) < PAGES:
                wanted[pool, page] = None
        found: list[PageHistory] = []
        for name in dict.fromkeys(pool for pool, _ in wanted):
            pages = [page for pool, page in wanted if pool == name]
            found += pools[name].recorder.of(name, pages)
        return tuple(found)

    def recorders(self) -> list[PageRecorder]:
        """Of every pool."""
        return [pool.recorder for pool in self._living()]

    # -- helpers ----------------------------------------------------------------------------

    def _freed(self, allocator: Any, args: Args, named: Named, size: int) -> _Pool | None:
        """size: 1 where slots are freed, 0 where it is pages."""
        if self._outermost is None and capture.capturing():
            return None
        pool = self._of(allocator)
        if pool.under_way:
            return None
        if not self._settling:
            slots = _first(args, named)
            self._note(pool, FREED, slots if size else slots * pool.page_size)
        pool.under_way = True
        return pool

    def _free_both(self, allocator: Any, slots: Tensor, grouped: bool, *, swa_alone: bool) -> None:
        try:
            full = self._of(allocator.full_attn_allocator)
            if swa_alone:
                self._note(full, SWA_FREED, slots)
            elif grouped:
                self._note(full, FREED, slots)
            if grouped and has_mapping(allocator):
                swa = self._of(allocator.swa_attn_allocator)
                self._note(swa, FREED, _mapped(allocator, slots))
        except BaseException:  # no `behind` follows: the next call is outermost again
            self._outermost, self._moved = None, []
            raise

    def _note(self, pool: _Pool, kind: int, slots: Tensor) -> None:
        """Of a call that moves slots of both pools, both are written at its end: together they
        cost one launch, and until it returns nobody changes them."""
        if not slots.numel():
            return
        moved = pool.recorder, kind, slots
        if self._outermost is None:
            write([moved], self.step(), self.sites.caller())
        else:
            self._moved.append(moved)

    def _write_moved(self) -> None:
        moved, self._moved = self._moved, []
        if moved and self._outermost is not None:
            write(moved, self.step(), self.sites.caller(self._outermost))

    def _of(self, allocator: Any) -> _Pool:
        pool = self._pools.get(id(allocator))
        if pool is None or pool.allocator() is not allocator:
            # Those of allocators that are gone hold memory on the device.
            known = self._pools.items()
            self._pools = {key: each for key, each in known if each.allocator() is not None}
            pool = self._pools[id(allocator)] = _Pool(allocator, self.sites)
        return pool

    def _living(self) -> list[_Pool]:
        return [pool for pool in list(self._pools.values()) if pool.allocator() is not None]

    def _named_pools(self) -> dict[str, _Pool]:
        hybrids = list(self._hybrids)
        if len(hybrids) > 1:
            return {}
        if not hybrids:
            alone = self._living()
            return {"full": alone[0]} if len(alone) == 1 else {}
        subs = {name: getattr(hybrids[0], f"{name}_attn_allocator") for name in ("full", "swa")}
        known = {name: self._pools.get(id(sub)) for name, sub in subs.items()}
        return {
            name: pool
            for name, pool in known.items()
            if pool is not None and pool.allocator() is subs[name]
        }


def _first(args: Args, named: Named) -> Tensor:
    slots: Tensor = args[0] if args else next(iter(named.values()))
    return slots


def _mapped(allocator: Any, slots: Tensor) -> Tensor:
    mapping: Tensor = allocator.full_to_swa_index_mapping
    return mapping[slots.long().clamp(0, len(mapping) - 1)]
