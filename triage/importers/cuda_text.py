"""Faulting addresses from cuda-gdb, compute-sanitizer and the driver, matched to pages of a dump.

The dump knows where the K and V caches lay. An address is then a page id of
one of them, in or behind the cache, and the id may stand in the page table: so
a fault that a tool reports as a bare address becomes a row and a column.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from triage.dump.sections import Dump

_ADDRESS = re.compile(
    r"(?:illegal address(?: detected)? at|illegal access to address|fault address:?|errorAddress"
    r"|faulted @|\baddress|\baccess (?:at|to))\s*=?\s*(?:\(@\w+\)\s*)?"
    r"(?P<address>0x[0-9a-f_]{4,17})",
    re.IGNORECASE,
)
_KERNEL = re.compile(
    r"(?:^=+\s+at |[Kk]ernel[: ]+|in )"
    r"(?P<kernel>(?:fmha|kernel_mha|xqa|Batch\w*|_Z|void )[\w:<>, ]+)",
    re.MULTILINE,
)
MAX_FAULTS = 256


@dataclass(frozen=True, slots=True)
class CudaFault:
    address: int
    kernel: str


@dataclass(frozen=True, slots=True)
class Match:
    """Where an address lies; `page_id` may be beyond the cache, `entries` are those with it."""

    address: int
    kernel: str
    tensor: str
    page_id: int | None
    beyond_bytes: int
    entries: tuple[tuple[int, int], ...]


def parse(text: str) -> list[CudaFault]:
    """Every faulting address with the kernel last named before it, else the next one.

    compute-sanitizer names the kernel first, a debugger's backtrace comes after.
    """
    kernels = [(match.start(), match["kernel"].strip(" <")) for match in _KERNEL.finditer(text)]
    faults = []
    for match in _ADDRESS.finditer(text):
        before = [name for start, name in kernels if start < match.start()]
        nearest = before[-1:] or [name for _, name in kernels[:1]]
        address = int(match["address"].replace("_", ""), 16)
        faults.append(CudaFault(address, nearest[0][:200] if nearest else ""))
    return list(dict.fromkeys(faults))[:MAX_FAULTS]


def match(dump: Dump, fault: CudaFault) -> Match:
    """Which cache, page and table entries an address belongs to."""
    if dump.launch is None or dump.tables is None or dump.launch.num_pages == 0:
        return Match(fault.address, fault.kernel, "", None, 0, ())
    best: Match | None = None
    for tensor, start, size in caches(dump):
        page_bytes = size // dump.launch.num_pages
        if not page_bytes:
            continue
        page_id = (fault.address - start) // page_bytes
        # Inside the cache, or inside the band that the kernel's descriptor lets through.
        if not 0 <= page_id < 2 * dump.launch.num_pages:
            continue
        beyond = max(fault.address - (start + size), 0)
        table = dump.tables.page_table.padded(-1)
        entries = tuple(map(tuple, np.argwhere(table == page_id)[:16].tolist()))
        found = Match(fault.address, fault.kernel, tensor, page_id, beyond, entries)
        if best is None or _rank(found) > _rank(best):
            best = found
    return best or Match(fault.address, fault.kernel, "", None, 0, ())


def _rank(found: Match) -> tuple[bool, int]:
    """An address that the table can explain before one nearer to a cache."""
    return bool(found.entries), -found.beyond_bytes


def caches(dump: Dump) -> list[tuple[str, int, int]]:
    """(name, address, bytes) of the K and V caches the launch read, as far as they are recorded."""
    assert dump.launch is not None
    if dump.pools is not None:
        pool = dump.pools.by_name(dump.pools.read)
        if pool is not None and pool.extents:
            names = ("k_cache", "v_cache")
            return [(name, *extent) for name, extent in zip(names, pool.extents, strict=False)]
    found = []
    for name in ("k_cache", "v_cache"):
        facts = dump.launch.tensors.get(name)
        if facts is not None and facts.data_ptr:
            found.append((name, facts.data_ptr, facts.storage_bytes))
    return found


def add_to(dump: Dump, faults: list[CudaFault]) -> Dump:
    """`dump` with the faults among its fault's facts, each with the entries that led to it."""
    matches: list[dict[str, Any]] = [asdict(match(dump, fault)) for fault in faults]
    facts = {**dump.fault.facts, "cuda_faults": matches}
    return replace(dump, fault=replace(dump.fault, facts=facts))
