"""What other tools saw, set beside the launch of a dump: does it lead there, or away from it?

The failure: a dump's table is wrong, a tool reports the fault of another kernel, and the
table is named as its cause. The rule: an observation leads to the table only if an attention
kernel read an address that lies on a page which the table names. A kernel that is not
attention, a write, or an address in none of the launch's caches leads away from it, and then
no table is named for that fault. What the text or the dump does not hold decides nothing:
it is "not recorded".

Long because each kind of observation is weighed by the same rule, against one launch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from triage.dump.expected_ids import page_ids
from triage.dump.kernel_names import Kernel, Role, kernel_of, short, trtllm_gen_name
from triage.dump.observation import (
    DEVICE_FAULTS,
    Access,
    Failure,
    Form,
    Observation,
    observations_of,
)
from triage.dump.sections import Dump


class Relation(StrEnum):
    """What an observation says of the launch that is recorded."""

    NAMED = "its address is on a page that the table names"
    NOT_NAMED = "its address is on a page that no entry of the table names"
    ELSEWHERE = "its address lies in no cache of this launch"
    OTHER_KERNEL = "its kernel is not the one of this launch"
    WRITE = "it is a write, which no page table leads to"
    NOT_GLOBAL = "it is not an access to the KV cache"
    CONTENT = "it is about what a slot holds, not about which page is read"
    CANNOT_TELL = "whether it belongs to this launch is not recorded"
    NO_LAUNCH = "the dump holds no launch to set it beside"
    NOT_A_FAULT = "it is no fault of a kernel"


SHOWN_ENTRIES = 8

HARMLESS = frozenset(
    {
        *(Failure.CALL, Failure.BALANCED, Failure.STOPPED, Failure.NOT_LOADED, Failure.UNKNOWN),
        *(Failure.ENDED, Failure.TRAPPED),
    }
)
"""What tells of no failure of its own."""

LEADS_AWAY = frozenset(
    {
        Relation.NOT_NAMED,
        Relation.ELSEWHERE,
        Relation.OTHER_KERNEL,
        Relation.WRITE,
        Relation.NOT_GLOBAL,
    }
)


@dataclass(frozen=True, slots=True)
class Related:
    """One observation beside the launch. `entries` are (row, column) of the table, `rows` of it."""

    observation: Observation
    relation: Relation
    sentences: tuple[str, ...]
    tensor: str = ""
    page_id: int | None = None
    beyond_bytes: int = 0
    entries: tuple[tuple[int, int], ...] = ()
    rows: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.observation.as_plain(),
            "relation": self.relation.name.lower(),
            "sentences": list(self.sentences),
            "tensor": self.tensor,
            "page_id": self.page_id,
            "beyond_bytes": self.beyond_bytes,
            "entries": [list(entry) for entry in self.entries],
            "rows": list(self.rows),
            "missing": list(self.missing),
        }


def related(dump: Dump, observations: tuple[Observation, ...] | None = None) -> tuple[Related, ...]:
    """The observations of a dump's fault (or those given) beside its launch."""
    seen = observations_of(dump.fault.facts) if observations is None else observations
    return tuple(relate(dump, each) for each in seen)


def relate(dump: Dump, seen: Observation) -> Related:
    """One observation beside the launch of `dump`."""
    if seen.form is Form.CANARY:
        return _canary(dump, seen)
    if seen.failure not in DEVICE_FAULTS:
        if seen.failure in HARMLESS:
            return Related(seen, Relation.NOT_A_FAULT, ())
        what = seen.values.get("type") or seen.failure.value
        text = f"{what}: the page table of this launch tells nothing of it"
        return Related(seen, Relation.NOT_A_FAULT, (text,))
    kernel = kernel_of(seen.kernel, seen.kernel_at)
    other = _other_kernel(dump, seen)
    if kernel is not None and kernel.role is Role.WRITES_KV and seen.access is not Access.READ:
        return _write(dump, seen)
    if other:
        return _by_another_backend(dump, seen, other)
    if dump.launch is None or dump.tables is None:
        return Related(seen, Relation.NO_LAUNCH, (), missing=("a launch with its page table",))
    if seen.space in ("shared", "local") or seen.failure in (
        Failure.OUT_OF_RANGE_SHARED,
        Failure.OUT_OF_RANGE_LOCAL,
    ):
        text = f"the access is to {seen.space or 'shared or local'} memory: no page id leads there"
        return Related(seen, Relation.NOT_GLOBAL, (text,))
    if seen.failure is Failure.ASSERT:
        text = "an assertion in a kernel failed: no address was read outside the caches"
        return Related(seen, Relation.NOT_GLOBAL, (text,))
    if seen.access is Access.WRITE:
        return _write(dump, seen)
    if seen.address is None:
        return _no_address(seen)
    return _by_address(dump, seen)


def _by_another_backend(dump: Dump, seen: Observation, other: str) -> Related:
    """Another kernel's fault; an attention kernel may have read the same wrong ids."""
    kernel = kernel_of(seen.kernel, seen.kernel_at)
    away = Related(seen, Relation.OTHER_KERNEL, (other,))
    if kernel is None or not kernel.attention or kernel.covered:
        return away
    if seen.address is None or seen.access is Access.WRITE or dump.tables is None:
        return away
    found = _by_address(dump, seen)
    if found.relation is not Relation.NAMED:
        return replace(away, sentences=(other, *found.sentences))
    no_table = "that its list of pages is the table of this launch is not recorded"
    return replace(
        found, relation=Relation.CANNOT_TELL, sentences=(*found.sentences, other, no_table)
    )


def _other_kernel(dump: Dump, seen: Observation) -> str:
    """Why the kernel cannot be the one of this launch; empty where it can, or is not known."""
    kernel = kernel_of(seen.kernel, seen.kernel_at)
    if kernel is not None:
        if kernel.attention is False:
            return f"{kernel.sentence()}: its fault is not this launch's"
        if kernel.attention and not kernel.covered and dump.launch is not None:
            return _other_backend(dump, kernel)
        return _unlike(dump, seen)
    return ""


def _other_backend(dump: Dump, kernel: Kernel) -> str:
    assert dump.launch is not None
    return (
        f"{short(kernel.name)} is {kernel.family}: the recorded launch is a call of "
        f"{dump.launch.api}, which does not run it"
    )


def _unlike(dump: Dump, seen: Observation) -> str:
    """What the name of a trtllm-gen kernel says that this launch is not."""
    kernel = trtllm_gen_name(seen.kernel)
    launch = dump.launch
    if kernel is None or launch is None:
        return ""
    differ = []
    if kernel.page_size is not None and kernel.page_size != launch.page_size:
        differ.append(f"pages of {kernel.page_size} tokens, the launch {launch.page_size}")
    if kernel.head_dim is not None and kernel.head_dim != launch.head_dim and launch.head_dim > 16:
        differ.append(f"head_dim {kernel.head_dim}, the launch {launch.head_dim}")
    if kernel.windowed is not None and kernel.windowed != (launch.window_left >= 0):
        kind = "a window" if kernel.windowed else "no window"
        other = "none" if kernel.windowed else "one"
        differ.append(f"{kind}, the launch {other}")
    if not differ:
        return ""
    return f"{short(seen.kernel)} is of another layer: it has {'; '.join(differ)}"


def _no_address(seen: Observation) -> Related:
    if seen.form is Form.DRIVER:
        text = f"Xid {seen.values.get('xid')} names no address"
    elif seen.form in (Form.CUDA_ERROR, Form.EXCEPTION, Form.TMA):
        text = "the host's message says that some earlier kernel faulted, not which one"
    else:
        text = "the text holds no address"
    library = seen.values.get("library")
    noticed = (f"it was noticed in {library}, which need not be what faulted",) if library else ()
    missing = ("the faulting address",)
    return Related(seen, Relation.CANNOT_TELL, (text, *noticed), missing=missing)


# -- addresses --------------------------------------------------------------------------------


def caches(dump: Dump, seen: Observation | None = None) -> list[tuple[str, int, int]]:
    """(name, address, bytes) of the K and V caches that the launch read, as far as known.

    seen: a report whose nearest allocation has the size of a cache tells where it lies, for
        a dump that holds no addresses.
    """
    assert dump.launch is not None
    found: list[tuple[str, int, int]] = []
    if dump.pools is not None:
        pool = dump.pools.by_name(dump.pools.read)
        if pool is not None and pool.extents:
            names = ("k_cache", "v_cache")
            found = [(name, *extent) for name, extent in zip(names, pool.extents, strict=False)]
    for name in ("k_cache", "v_cache"):
        facts = dump.launch.tensors.get(name)
        if facts is not None and facts.data_ptr and all(name != each[0] for each in found):
            found.append((name, facts.data_ptr, facts.storage_bytes))
    found = [each for each in found if each[1] > 0 and each[2] > 0]
    if found or seen is None or not seen.nearest or not seen.nearest.get("address"):
        return found
    sizes = {
        facts.storage_bytes
        for name in ("k_cache", "v_cache")
        if (facts := dump.launch.tensors.get(name)) is not None and facts.storage_bytes
    }
    size = seen.nearest.get("bytes")
    if isinstance(size, int) and size in sizes:
        return [("K or V cache", int(seen.nearest["address"]), size)]
    return []


@dataclass(frozen=True, slots=True)
class Place:
    """Where an address lies: `page_id` may be behind the cache, in the band that the kernel's
    descriptor lets through (up to twice its pages)."""

    tensor: str
    start: int
    size: int
    page_bytes: int
    page_id: int
    beyond_bytes: int
    entries: tuple[tuple[int, int], ...]


def place_of(dump: Dump, seen: Observation) -> Place | None:
    """The cache and page of the observation's address; None where it is in none."""
    assert dump.launch is not None and dump.tables is not None and seen.address is not None
    best: Place | None = None
    pages = dump.launch.num_pages
    table = dump.tables.page_table.padded(-1)
    for tensor, start, size in caches(dump, seen):
        page_bytes = size // pages if pages else 0
        if not page_bytes:
            continue
        page_id = (seen.address - start) // page_bytes
        if page_id < 0:
            continue
        beyond = max(seen.address - (start + size), 0)
        entries = tuple((int(row), int(column)) for row, column in np.argwhere(table == page_id))
        if not entries and page_id >= 2 * pages:
            continue
        found = Place(tensor, start, size, page_bytes, page_id, beyond, entries)
        if best is None or _rank(found) > _rank(best):
            best = found
    return best


def _rank(found: Place) -> tuple[bool, int]:
    """An address that the table can explain before one nearer to a cache."""
    return bool(found.entries), -found.beyond_bytes


def _by_address(dump: Dump, seen: Observation) -> Related:
    assert seen.address is not None
    if not caches(dump, seen):
        text = "the dump holds no cache addresses, so the address cannot be matched to a page"
        return Related(seen, Relation.CANNOT_TELL, (text,), missing=("the caches' addresses",))
    place = place_of(dump, seen)
    address = f"{seen.address:#x}"
    if place is None:
        return Related(seen, Relation.ELSEWHERE, (f"{address} lies in no cache of this launch",))
    where = f"{address} is page {place.page_id} of {place.tensor}"
    entries = [f"block_tables[{row}, {column}]" for row, column in place.entries[:SHOWN_ENTRIES]]
    if len(place.entries) > SHOWN_ENTRIES:
        entries.append(f"{len(place.entries) - SHOWN_ENTRIES} more entries")
    behind = (f"{place.beyond_bytes:,} bytes behind its end",) if place.beyond_bytes else ()
    relation = Relation.NAMED if entries else Relation.NOT_NAMED
    named = f", named by {', '.join(entries)}" if entries else ", which no entry names"
    if entries and not seen.kernel and seen.access is Access.UNKNOWN:
        relation = Relation.CANNOT_TELL
        behind = (*behind, "neither the kernel nor whether it read or wrote is in the text")
    return Related(
        seen,
        relation,
        (where + named, *behind),
        tensor=place.tensor,
        page_id=place.page_id,
        beyond_bytes=place.beyond_bytes,
        entries=place.entries,
    )


def _write(dump: Dump, seen: Observation) -> Related:
    """A write goes to `out_cache_loc`: name the slot where the address tells it."""
    text = "a write goes to the slots of out_cache_loc; the page table does not lead to it"
    missing: tuple[str, ...] = ("out_cache_loc of that forward",)
    sentences = [text]
    page_id, tensor, beyond = None, "", 0
    if seen.address is None or dump.launch is None or dump.tables is None:
        missing = ("the faulting address", *missing) if seen.address is None else missing
    elif not caches(dump, seen):
        sentences.append("the dump holds no cache addresses, so the slot cannot be named")
        missing = ("the caches' addresses", *missing)
    else:
        place = place_of(dump, seen)
        if place is None:
            sentences.append(f"{seen.address:#x} lies in no cache of this launch")
        else:
            page_id, tensor, beyond = place.page_id, place.tensor, place.beyond_bytes
            slot = _slot(dump, seen.address, place)
            ends = dump.launch.num_pages * dump.launch.page_size
            legal = f"legal are [{dump.launch.page_size}, {ends})"
            named = f"slot {slot}" if slot is not None else f"a slot of page {page_id}"
            sentences.append(f"{seen.address:#x} is {named} of {tensor}; {legal}")
    return Related(
        seen,
        Relation.WRITE,
        tuple(sentences),
        tensor=tensor,
        page_id=page_id,
        beyond_bytes=beyond,
        missing=missing,
    )


def _slot(dump: Dump, address: int, place: Place) -> int | None:
    """The slot that an address belongs to; None where tokens of a page are not contiguous."""
    assert dump.launch is not None
    facts = dump.launch.tensors.get(place.tensor)
    page = dump.launch.page_size
    if page == 1:
        return place.page_id
    if facts is None or len(facts.shape) < 4:
        return None
    token_axis = -2 if facts.shape[-2] == page else -3
    heads_axis = -3 if token_axis == -2 else -2
    if facts.shape[token_axis] != page or facts.stride[token_axis] < facts.stride[heads_axis]:
        return None if facts.shape[heads_axis] != 1 else _by_token(address, place, page)
    return _by_token(address, place, page)


def _by_token(address: int, place: Place, page: int) -> int:
    return (address - place.start) // (place.page_bytes // page)


# -- kv_canary --------------------------------------------------------------------------------


def _canary(dump: Dump, seen: Observation) -> Related:
    slot, pool = seen.values.get("slot"), str(seen.values.get("pool", "full"))
    if not isinstance(slot, int):
        return Related(seen, Relation.NOT_A_FAULT, ())
    rows = _rows_of(dump, slot, pool)
    what = f"{'SWA' if pool == 'swa' else 'full-pool'} slot {slot}"
    position = seen.values.get("position")
    at = f" (position {position})" if isinstance(position, int) else ""
    if rows is None:
        need = "the mapping" if pool == "swa" else "the request table"
        text = f"{what}{at}: which row holds it is not recorded ({need} is not in the dump)"
        return Related(seen, Relation.CONTENT, (text,), missing=(need,))
    if rows:
        named = ", ".join(map(str, rows))
        held = f"rows {named} hold its page" if len(rows) > 1 else f"row {named} holds its page"
    else:
        held = "no row of this launch holds its page"
    return Related(seen, Relation.CONTENT, (f"{what}{at}: {held}",), rows=tuple(rows))


def _rows_of(dump: Dump, slot: int, pool: str) -> list[int] | None:
    """The launch's rows that hold the page of `slot`; None where the dump cannot tell."""
    launch, tables = dump.launch, dump.tables
    if launch is None or tables is None or tables.req_to_token is None or not launch.page_size:
        return None
    ids = page_ids(dump)
    if ids is None:
        return None
    pages = ids.swa if pool == "swa" else ids.full
    if pages is None:
        return None
    found: list[int] = np.flatnonzero((pages == slot // launch.page_size).any(axis=1)).tolist()
    return found
