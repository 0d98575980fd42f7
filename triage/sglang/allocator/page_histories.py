"""Where the events of a page come from: hooks at the allocators and the trees of SGLang.

Every page passes an allocator of one pool (full or SWA), so that is where "allocated" and
"freed" are noted; who called is looked up at the outermost call, the SWA allocator's where
there is one. Inside a free group SGLang keeps slots and gives them back at its end, from
another place: there the event is noted when the slots are put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor

from triage.device import capture
from triage.evidence import Evidence, PageHistory
from triage.sglang.allocator.call_sites import Caller, CallSites
from triage.sglang.allocator.ledger_hooks import grouping, has_mapping, nested
from triage.sglang.allocator.page_recorder import (
    ALLOCATED,
    FREED,
    INSERTED,
    MAPPED,
    SWA_FREED,
    PageRecorder,
)

PAGES = 8
"""Pages of one piece of evidence whose history is told."""

_SLOTS = {
    "kv_indices": "",
    "window_kv_indices": "",
    "out_cache_loc": "full",
    "last_loc": "full",
    "swa_loc": "swa",
    "translated": "swa",
    "live node": "swa",
    "tombstone": "swa",
    "full_to_swa[last_loc]": "swa",
    "full_to_swa_index_mapping": "swa",
    "full_to_swa_index_mapping[new]": "swa",
    "slots": "",
}
"""Tensors of slots that evidence names -> the pool they are of; "" for the evidence's own."""


class _Pool:
    """The recorder of one allocator; calls that its own methods make are no events."""

    def __init__(self, allocator: Any, sites: CallSites) -> None:
        self.page_size = int(allocator.page_size)
        self.num_pages = int(allocator.size) // self.page_size + 1
        self.recorder = PageRecorder(self.num_pages, self.page_size, allocator.device, sites)
        self.depth = 0


class PageHistories:
    """The recorders of a process. `step` says which step is the newest."""

    def __init__(self, step: Callable[[], int]) -> None:
        self.step = step
        self.sites = CallSites()
        self._pools: WeakKeyDictionary[Any, _Pool] = WeakKeyDictionary()
        self._hybrids: WeakSet[Any] = WeakSet()
        self._caller: Caller | None = None  # of the outermost call under way
        self._under_way: list[tuple[_Pool, int, Tensor]] = []  # what that call moved so far
        self._settling = False  # a group ends: its slots were noted when they were put in

    def restart(self) -> None:
        """As in a new process."""
        self._pools.clear()
        self._hybrids.clear()

    # -- one pool ------------------------------------------------------------------------

    def around_alloc(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        if capture.capturing():
            return original(allocator, *args, **kwargs)
        pool = self._of(allocator)
        slots = nested(pool, original, allocator, args, kwargs)
        if slots is not None and not pool.depth:
            self._note(pool, ALLOCATED, slots)
        return slots

    def around_free(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        if capture.capturing():
            return original(allocator, *args, **kwargs)
        pool = self._of(allocator)
        if not pool.depth and not self._settling:
            slots = args[0] if args else next(iter(kwargs.values()))
            if original.__name__ == "free_page_ids":
                slots = slots * pool.page_size
            self._note(pool, FREED, slots)
        return nested(pool, original, allocator, args, kwargs)

    def around_group_end(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        return nested(self._of(allocator), original, allocator, args, kwargs)

    def around_clear(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        self._pools.pop(allocator, None)
        return original(allocator, *args, **kwargs)

    # -- both pools -------------------------------------------------------------------------

    def around_hybrid_alloc(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        return self._outermost(original, allocator, args, kwargs)

    def around_hybrid_free(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        """In an open group the slots are noted now, with their SWA side as it is mapped now."""
        if self._caller is not None or capture.capturing():
            return original(allocator, *args, **kwargs)
        slots = args[0] if args else next(iter(kwargs.values()))
        full = self._of(allocator.full_attn_allocator)
        self._hybrids.add(allocator)
        self._caller = self.sites.caller()
        try:
            grouped, alone = grouping(allocator), "swa" in original.__name__
            if alone:
                self._note(full, SWA_FREED, slots)
            elif grouped:
                self._note(full, FREED, slots)
            if grouped and has_mapping(allocator):
                swa = self._of(allocator.swa_attn_allocator)
                self._note(swa, FREED, _mapped(allocator, slots))
            return original(allocator, *args, **kwargs)
        finally:
            self._ended()

    def around_hybrid_group_end(
        self, original: Any, allocator: Any, *args: Any, **kwargs: Any
    ) -> Any:
        self._settling = True
        try:
            return original(allocator, *args, **kwargs)
        finally:
            self._settling = False

    def around_mapping(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        """A mapping of its own; that of an allocation goes without saying."""
        if self._caller is None and not capture.capturing():
            slots = args[0] if args else next(iter(kwargs.values()))
            self._note(self._of(allocator.full_attn_allocator), MAPPED, slots)
        return original(allocator, *args, **kwargs)

    def _outermost(self, original: Any, allocator: Any, args: Any, kwargs: Any) -> Any:
        if self._caller is not None or capture.capturing():
            return original(allocator, *args, **kwargs)
        self._hybrids.add(allocator)
        self._caller = self.sites.caller()
        try:
            return original(allocator, *args, **kwargs)
        finally:
            self._ended()

    # -- a tree -----------------------------------------------------------------------------

    def around_insert(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        if not capture.capturing():
            given = args[0] if args else next(iter(kwargs.values()), None)
            slots = getattr(given, "value", None)
            allocator = getattr(cache, "token_to_kv_pool_allocator", None)
            full = getattr(allocator, "full_attn_allocator", allocator)
            if isinstance(slots, Tensor) and full is not None:
                self._note(self._of(full), INSERTED, slots)
        return original(cache, *args, **kwargs)

    # -- what is asked -------------------------------------------------------------------------

    def of(self, evidence: Evidence) -> tuple[PageHistory, ...]:
        """The pages that evidence names, at most `PAGES`; waits for the device.

        Nothing where several allocators could be meant.
        """
        self._note_moved()  # an error in the midst of a call
        pools = self._named_pools()
        wanted: dict[tuple[str, int], None] = {}
        for pool, page in _pages_named(evidence, pools):
            if page and len(wanted) < PAGES:
                wanted[pool, page] = None
        found: list[PageHistory] = []
        for name in dict.fromkeys(pool for pool, _ in wanted):
            pages = [page for pool, page in wanted if pool == name]
            found += pools[name].recorder.of(name, pages)
        return tuple(found)

    def recorders(self) -> list[PageRecorder]:
        """Of every pool."""
        return [pool.recorder for pool in list(self._pools.values())]

    # -- helpers ----------------------------------------------------------------------------

    def _note(self, pool: _Pool, kind: int, slots: Tensor) -> None:
        """Of a call that moves slots of both pools, both are noted at its end: one behind the
        other they cost less, and until it returns nobody changes them."""
        if not slots.numel():
            return
        if self._caller is None:
            pool.recorder.note(kind, slots, self.step(), self.sites.caller())
        else:
            self._under_way.append((pool, kind, slots))

    def _ended(self) -> None:
        """The outermost call."""
        try:
            self._note_moved()
        finally:
            self._caller = None

    def _note_moved(self) -> None:
        moved, self._under_way = self._under_way, []
        if self._caller is not None:
            for pool, kind, slots in moved:
                pool.recorder.note(kind, slots, self.step(), self._caller)

    def _of(self, allocator: Any) -> _Pool:
        pool = self._pools.get(allocator)
        if pool is None:
            pool = self._pools[allocator] = _Pool(allocator, self.sites)
        return pool

    def _named_pools(self) -> dict[str, _Pool]:
        hybrids = list(self._hybrids)
        if len(hybrids) > 1:
            return {}
        if not hybrids:
            alone = list(self._pools.values())
            return {"full": alone[0]} if len(alone) == 1 else {}
        subs = {name: getattr(hybrids[0], f"{name}_attn_allocator") for name in ("full", "swa")}
        return {name: self._pools[sub] for name, sub in subs.items() if sub in self._pools}


def _pages_named(evidence: Evidence, pools: dict[str, _Pool]) -> Iterator[tuple[str, int]]:
    """(pool, page) of every id that the evidence names, the page that was expected included."""
    own = evidence.pool or "full"
    packed = bool(evidence.facts.get("stream"))  # a dump holds packed slots as pages of one token
    for violation in evidence.violations:
        name, paged = _named_by(violation.tensor, own)
        if name not in pools:
            continue
        for value in (violation.value, violation.expected):
            if value is None or value < 0:
                continue
            page = value if paged and not packed else value // pools[name].page_size
            # Beyond the SWA pool an id can only be one of the full pool.
            beyond = page >= pools[name].num_pages
            yield ("full" if beyond and "full" in pools else name), page
    for fact, name in (("page", own), ("pages", own), ("full pages", "full")):
        known = evidence.facts.get(fact)
        for each in known if isinstance(known, list) else [known]:
            if name in pools and isinstance(each, int):
                yield name, each
    for fact in ("given back", "freed"):  # slots of a group that kept a view of its caller's table
        slot = evidence.facts.get(fact)
        if isinstance(slot, int) and "full" in pools:
            yield "full", slot // pools["full"].page_size


def _named_by(tensor: str, own: str) -> tuple[str, bool]:
    """The pool whose ids evidence names under this name, and whether they are pages.

    "" where they are no ids of a pool. own: the pool that the evidence is of.
    """
    name, _, what = tensor.partition(" (")
    if name == "block_tables":
        return own, not what.startswith("slots")
    if name.endswith(" pages"):
        pool = name.removesuffix(" pages").lower()
        return (own if pool == "pool" else pool), True
    return (_SLOTS[name] or own, False) if name in _SLOTS else ("", False)


def _mapped(allocator: Any, slots: Tensor) -> Tensor:
    mapping: Tensor = allocator.full_to_swa_index_mapping
    return mapping[slots.long().clamp(0, len(mapping) - 1)]
