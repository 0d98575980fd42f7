"""An oracle of the lab: the allocator's books checked from scratch after every call.

Independent of the traps, of their ledger and of their code: plain Python sets
over what the allocator returned and what it was given back. It says at which
event the state was first wrong, so that a report can say how soon a trap
answered. Slow, and only for the small pools of the lab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

ENTRIES = (
    "alloc",
    "alloc_extend",
    "alloc_decode",
    "alloc_extend_swa_tail",
    "free",
    "free_swa",
    "free_full",
    "free_segment",
    "free_swa_segment",
    "free_full_segment",
    "free_group_begin",
    "free_group_end",
    "set_full_to_swa_mapping",
    "clear",
)
"""Every way into the allocator that some release has and that moves pages or the mapping."""

_FULL_FREES = ("free", "free_full", "free_segment", "free_full_segment")


@dataclass(slots=True)
class Audit:
    """Stands around one allocator object. `wrong` is (event, sentence) of the first fault."""

    allocator: Any
    events: int = 0  # calls that came back
    calls: int = 0  # calls that were made
    on_wrong: Callable[[str], None] = lambda sentence: None
    wrong: tuple[int, str] | None = None
    held: set[int] = field(default_factory=set)
    _depth: int = 0
    _pending: set[int] = field(default_factory=set)

    def attach(self) -> None:
        for name in ENTRIES:
            method = getattr(self.allocator, name, None)
            if method is not None:
                setattr(self.allocator, name, self._around(name, method))

    def _around(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def entry(*args: Any, **kwargs: Any) -> Any:
            outermost = self._depth == 0
            self._depth += 1
            self.calls += outermost
            pages = self._pages(args) if outermost and name in _FULL_FREES else set()
            try:
                returned = method(*args, **kwargs)
            finally:
                self._depth -= 1
            if outermost:
                self.events += 1
                self._book(name, pages, returned)
                if self.wrong is None and (faults := self.faults(f"after {name}")):
                    self.wrong = (self.events, faults[0])
                    self.on_wrong(faults[0])
            return returned

        return entry

    def _pages(self, args: tuple[Any, ...]) -> set[int]:
        slots = args[0] if args else torch.zeros(0, dtype=torch.int64)
        return set((slots.to(torch.int64) // self.allocator.page_size).tolist())

    def _book(self, name: str, freed: set[int], returned: Any) -> None:
        if name == "clear":
            self.held.clear()
            self._pending.clear()
        elif name.startswith("alloc") and returned is not None:
            self.held |= self._pages((returned,))
        elif name == "free_group_end":
            self.held -= self._pending
            self._pending.clear()
        elif freed:
            if self._grouping():
                self._pending |= freed
            else:
                self.held -= freed

    def _grouping(self) -> bool:
        allocator = self.allocator
        if hasattr(allocator, "is_not_in_free_group"):
            return not allocator.is_not_in_free_group
        return allocator.free_group is not None

    def faults(self, where: str) -> list[str]:
        """Sentences about the books as they are now; empty if they balance."""
        allocator, page = self.allocator, int(self.allocator.page_size)
        full = _free_pages(allocator.full_attn_allocator)
        swa = _free_pages(allocator.swa_attn_allocator)
        size_full, size_swa = allocator.size_full // page, allocator.size_swa // page
        found = _books("full", full, size_full) + _books("swa", swa, size_swa)
        free = set(full)
        if free & self.held:
            found.append(f"full pages {_few(free & self.held)} are free and held")
        if not self._grouping() and len(free | self.held) != size_full:
            lost = set(range(1, size_full + 1)) - free - self.held
            found.append(f"full pages {_few(lost)} are neither free nor held")
        mapping = allocator.full_to_swa_index_mapping[:-1].to(torch.int64)
        mapped = mapping.nonzero().flatten()
        targets = mapping[mapped]
        if len(targets.unique()) != len(targets):
            found.append("two full slots are mapped to one SWA slot")
        if not self._grouping():
            homeless = set((mapped // page).tolist()) - self.held
            if homeless:
                found.append(f"free full pages {_few(homeless)} are still mapped")
            used = set((targets // page).tolist())
            taken = set(range(1, size_swa + 1)) - set(swa)
            if used - taken:
                found.append(f"SWA pages {_few(used - taken)} are mapped and free")
            if taken - used:
                found.append(f"SWA pages {_few(taken - used)} are taken and nobody maps to them")
        return [f"{where}: {sentence}" for sentence in found]


def _free_pages(sub: Any) -> list[int]:
    parts = [part for part in (sub.free_pages, sub.release_pages) if part is not None]
    return [int(p) for part in parts for p in part.tolist()]


def _books(name: str, free: list[int], size: int) -> list[str]:
    found = []
    if len(free) != len(set(free)):
        found.append(f"a page stands twice in the {name} free list")
    if any(page < 1 or page > size for page in free):
        found.append(f"the {name} free list holds a page outside [1, {size}]")
    return found


def _few(pages: set[int]) -> str:
    listed = sorted(pages)
    return ", ".join(map(str, listed[:4])) + (" and more" if len(listed) > 4 else "")
