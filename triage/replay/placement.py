"""Where a page id outside the cache would have pointed in the recorded process.

A cache is followed by whatever the allocator put there. With K and V as halves
of one allocation, K's ids in N .. 2N-1 read V; with the allocator's segments in
the dump, each bad id's address is known to be mapped (foreign bytes) or not (a
fault). Without them, all that can be said is by how far the id leaves the tensor.
"""

from __future__ import annotations

from typing import NamedTuple

from triage.dump.dtypes import numpy_dtype
from triage.dump.footprint import Footprint
from triage.dump.sections import Dump, Launch


class Cache(NamedTuple):
    """Address of page 0, bytes from one page to the next, and pages."""

    start: int
    page_bytes: int
    pages: int

    @property
    def end(self) -> int:
        return self.start + self.page_bytes * self.pages


def cache_of(launch: Launch, name: str) -> Cache | None:
    """The recorded place of `k_cache` or `v_cache`; None if the dump does not say it."""
    facts = launch.tensors.get(name)
    if facts is None or not facts.data_ptr or not facts.stride:
        return None
    try:
        width = numpy_dtype(facts.dtype).itemsize
    except KeyError:
        return None
    return Cache(facts.data_ptr, facts.stride[0] * width, launch.num_pages)


def joined_halves(launch: Launch) -> bool:
    """Does V begin where K ends?"""
    keys, values = cache_of(launch, "k_cache"), cache_of(launch, "v_cache")
    return keys is not None and values is not None and keys.end == values.start


def sentence(dump: Dump, footprint: Footprint) -> str:
    """What lay where the visible bad ids of the fault band point; empty if nothing is known."""
    assert dump.launch is not None
    ids = [each.value for each in footprint.offenders if (each.set, each.band) == ("must", "fault")]
    if not ids:
        return ""
    if joined_halves(dump.launch):
        return "K and V are halves of one allocation: K's ids in that band read V, V's leave it"
    caches = [cache_of(dump.launch, name) for name in ("k_cache", "v_cache")]
    segments = dump.pools.segments if dump.pools is not None else ()
    if not segments or any(cache is None for cache in caches):
        return ""
    mapped = unmapped = 0
    for cache in caches:
        assert cache is not None
        for each in ids:  # in Python's integers: a file may name any address and stride
            address = cache.start + each * cache.page_bytes
            inside = any(
                start <= address and address + cache.page_bytes <= start + size
                for start, size in segments
            )
            mapped, unmapped = mapped + inside, unmapped + (not inside)
    return (
        f"of the first {len(ids)} such ids, in K and V, {unmapped} point to memory the allocator "
        f"had not mapped (a fault) and {mapped} to memory it had (foreign bytes)"
    )
