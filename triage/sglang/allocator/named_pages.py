"""Which pages of which pool a piece of evidence names, as far as it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from triage.evidence import Evidence

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


class Sized(Protocol):
    """A pool, as far as it is asked here."""

    page_size: int
    num_pages: int


def pages_named(evidence: Evidence, pools: Mapping[str, Sized]) -> Iterator[tuple[str, int]]:
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
