"""I13, I19, I21, I24, I25, I27: sizes that must fit each other, and a workspace that must be clean.

The failure: a buffer sized for one mode is used by another, a draft's pool is
smaller than the indices it is handed, an offset wraps in 32 bits. Each is a
comparison of a few integers the host has anyway.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found

SPLIT_K_COUNTER_BYTES = 8 * 2**20
"""FlashInfer up to 0.6.14 keeps its split-K counters in the first 8 MiB of the workspace."""


def check_capacity(
    name: str,
    *,
    needed: int,
    capacity: int,
    where: str = "metadata",
    kind: Found = Found.BUFFER_TOO_SMALL,
) -> Evidence | None:
    """I13: the entries written fit the buffer, both counted in the buffer's own unit.

    Args:
        kind: TABLE_TOO_NARROW where the buffer is a row of a page table.
    Cost: host integers only.
    """
    if needed <= capacity:
        return None
    summary = f"{name} needs {needed} entries and has {capacity}"
    facts: dict[str, object] = {"needed": needed, "capacity": capacity}
    return Evidence("I13", summary, where, total=needed - capacity, facts=facts, kind=kind)


def check_shared_index_range(
    pool: str, *, pool_rows: int, allocator_size: int, page_size: int, where: str = "init"
) -> Evidence | None:
    """I19: a pool addressed by an allocator has a row for every slot it can hand out.

    Args:
        pool_rows: rows of the pool's buffers, dummy page included.
        allocator_size: slots of the allocator, without the dummy page.
    Cost: host integers only.
    """
    needed = allocator_size + page_size
    if pool_rows >= needed:
        return None
    summary = f"the {pool} pool has {pool_rows} rows, its allocator hands out slots below {needed}"
    facts: dict[str, object] = {"rows": pool_rows, "needed": needed}
    return Evidence(
        "I19",
        summary,
        where,
        pool=pool,
        total=needed - pool_rows,
        facts=facts,
        kind=Found.POOL_TOO_SMALL,
    )


def check_swa_floor(
    *, swa_slots: int, full_slots: int, window: int, page_size: int, longest: int, where: str
) -> Evidence | None:
    """I19: the SWA side of a hybrid pool holds one request: its window and a page.

    A request is as long as the context and the full side let it; where the SWA side has a slot
    for each of the full side it is never the one that is short.

    Args:
        swa_slots, full_slots: what the allocator hands out of each side.
        window: tokens, as admission reserves them. longest: tokens of the longest request.
    Cost: host integers only.
    Source: `PrefillAdder._swa_budget_for_req`, which admits what needs fewer than are free, and
        `HybridSWAPoolConfigurator`, which from 0.5.18 on refuses such a pool.
    """
    needed = min(window, longest, full_slots) + page_size
    if swa_slots > needed or swa_slots >= full_slots:
        return None
    summary = (
        f"the SWA pool has {swa_slots} slots, one request needs more than {needed}: "
        "none that is as long as the window can be admitted"
    )
    facts: dict[str, object] = {
        "slots": swa_slots,
        "full_slots": full_slots,
        "needed": needed + 1,
        "window": window,
        "page_size": page_size,
    }
    return Evidence(
        "I19",
        summary,
        where,
        pool="swa",
        total=needed + 1 - swa_slots,
        facts=facts,
        kind=Found.SWA_POOL_BELOW_FLOOR,
    )


def check_offset(
    name: str, *, max_index: int, stride: int, bits: int = 32, where: str = "metadata"
) -> Evidence | None:
    """I21: the largest index times its stride fits a signed integer of `bits` bits.

    Args:
        stride: in the unit the kernel computes in (elements, or bytes).
    Cost: host integers only.
    """
    largest = max_index * stride
    if 0 <= largest < 2 ** (bits - 1):
        return None
    summary = f"{name}: index {max_index} times stride {stride} is {largest}, past int{bits}"
    facts: dict[str, object] = {"max_index": max_index, "stride": stride, "bits": bits}
    return Evidence("I21", summary, where, total=1, facts=facts, kind=Found.OFFSET_OVERFLOW)


def check_transfer(source: int, destination: int, *, where: str = "kv transfer") -> Evidence | None:
    """I24, as far as a plugin sees it: both index lists of a transfer have one length.

    Cost: host integers only.
    """
    if source == destination:
        return None
    summary = f"a transfer reads {source} indices and writes {destination}"
    facts: dict[str, object] = {"read": source, "written": destination}
    return Evidence(
        "I24",
        summary,
        where,
        total=abs(source - destination),
        facts=facts,
        kind=Found.TRANSFER_UNEQUAL,
    )


def check_budget(
    *, tokens: int, page_size: int, reserved: int, loaded_back: int = 0, where: str = "admission"
) -> Evidence | None:
    """I25: admission reserves whole pages, and what the host cache loads back.

    Args:
        tokens: tokens that will be allocated; loaded_back: tokens that host load-back
            allocates besides; reserved: tokens set aside.
    Cost: host integers only.
    """
    needed = sum(-(-part // page_size) * page_size for part in (tokens, loaded_back))
    if reserved >= needed:
        return None
    summary = f"{tokens} + {loaded_back} tokens take {needed} in pages, {reserved} are reserved"
    facts: dict[str, object] = {"needed": needed, "reserved": reserved, "page_size": page_size}
    return Evidence(
        "I25",
        summary,
        where,
        total=needed - reserved,
        facts=facts,
        kind=Found.BUDGET_TOO_SMALL,
    )


def check_workspace(workspace: Tensor, *, counter_bytes: int = SPLIT_K_COUNTER_BYTES) -> Findings:
    """I27: the split-K counters at the head of the workspace are zero between launches.

    Args:
        workspace: contiguous, any dtype whose size divides 4; read, never written.
    Returns: one I27 fault over 32-bit words, row = word.
    Cost: one pass over `counter_bytes` and 2 small launches; no sync until `read()`. Opt-in.
    """
    raw = workspace.view(-1).view(torch.uint8)[: counter_bytes // 4 * 4]
    words = raw[: len(raw) // 4 * 4].view(torch.int32)
    return Findings([Fault("I27", "workspace", words, words, 0, 1, kind=Found.WORKSPACE_DIRTY)])
