"""Fixes that a single call of SGLang can show. Each case is run with and without the fix.

A case returns what happened in words and as a state that can be compared: with that of the
same case on a release that never had the defect, or with what SGLang does when the user
asks for the same thing by flag.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triage.verify import stand_ins


@dataclass(frozen=True, slots=True)
class CaseResult:
    """ok: the failure did not show. state: plain values, equal where SGLang did the same."""

    ok: bool
    said: str
    state: Any

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, "said": self.said, "state": self.state}


def free_swa_pages(chosen: bool = False) -> CaseResult:
    """A request frees one slot of its page, later the rest; then every page is taken."""
    import torch
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    from triage.sglang.binding.names import swa_allocator_class
    from triage.sglang.fixes.construction import uninitialised

    page, size = 4, 24
    allocator = swa_allocator_class()(
        size, size, page, torch.float16, "cpu", uninitialised(SWAKVPool), need_sort=False
    )
    full = allocator.full_attn_allocator.alloc(page)
    swa = allocator.swa_attn_allocator.alloc(page)
    mapping = allocator.full_to_swa_index_mapping
    mapping[full] = swa.to(mapping.dtype)
    allocator.free_swa(full[:1])
    allocator.free_swa(full[1:])
    free = allocator.swa_attn_allocator
    taken = sorted((free.alloc(free.available_size())[::page] // page).tolist())
    twice = len(taken) - len(set(taken))
    if twice:
        return CaseResult(False, f"{twice} SWA page is handed to two requests", taken)
    return CaseResult(True, "every SWA page is handed out once", taken)


def keep_locked_prefix(chosen: bool = False) -> CaseResult:
    """A prefix that a request reads is computed anew by another, whole and in part."""
    from triage.sglang.fixes.revived_prefix import SWA_TREE, RevivedPrefix

    freed, state = 0, []
    for evicted in (0, RevivedPrefix.PAGE):
        tree = RevivedPrefix(SWA_TREE)
        tree.insert_again(evicted)
        freed += len(tree.freed_while_read())
        state.append(tree.books())
    if freed:
        return CaseResult(False, f"{freed} pages that a request reads are free", state)
    return CaseResult(True, "no page that a request reads is free", state)


def optional_kv(chosen: bool = False) -> CaseResult:
    """Every layer of E4B goes through the piecewise attention op once."""
    import torch

    from triage.sglang.fixes.optional_kv import OP, OURS

    for op in (OP, OURS):
        if hasattr(torch.ops.sglang, op):
            stand_ins.op_on_a_cpu(op)
    layers, shared = stand_ins.KV_SHARED["E4B"]
    with stand_ins.piecewise_context() as context:
        try:
            stand_ins.forward_kv_shared("E4B", context)
        except (RuntimeError, TypeError) as error:
            what = str(error).splitlines()[0][:120]
            at = len(context.calls.seen)
            return CaseResult(False, f"layer {at} of {layers} fails: {what}", context.calls.seen)
    said = f"all {layers} layers run, {shared} of them without keys"
    return CaseResult(True, said, context.calls.seen)


def packed_query(chosen: bool = False) -> CaseResult:
    """Three rows of queries, sliced of a fused QKV, through a kernel that reads packed rows."""
    from triage.sglang.fixes.packed_query import decode, sliced_query

    rows = sliced_query()
    read = decode(rows, stand_ins.queries_as_xqa_reads_them)
    wrong = (read != rows).any(dim=1).nonzero().flatten().tolist()
    state = read.tolist()
    if wrong:
        where = ", ".join(map(str, wrong))
        return CaseResult(False, f"rows {where} of {len(rows)} attend with other queries", state)
    return CaseResult(True, f"all {len(rows)} rows attend with their own queries", state)


def slotless_draft(chosen: bool = False) -> CaseResult:
    """The slots that a frozen-KV draft's graph runner is handed behind a prompt of three tokens."""
    from triage.sglang.fixes.slotless_draft import slots_of_the_draft

    handed = slots_of_the_draft()
    if handed is not None:
        state = handed.tolist()
        return CaseResult(False, f"a draft of 1 request is handed {len(state)} slots", state)
    return CaseResult(True, "a draft is handed no slots", None)


def swa_ratio(chosen: bool = False) -> CaseResult:
    """Pools of the MoE variant on the memory of the 26B server, and of the dense one."""
    from triage.sglang.fixes.swa_ratio import RATIO

    moe = stand_ins.pool_owner("Gemma4ForConditionalGeneration", 128, RATIO if chosen else None)
    dense = stand_ins.pool_owner("Gemma4ForConditionalGeneration", None)
    sizes = stand_ins.pool_sizes(moe)
    ok = sizes[0] > 2_000_000
    said = f"26B-A4B: {sizes[0]:,} full and {sizes[1]:,} SWA tokens"
    return CaseResult(ok, said, [*sizes, *stand_ins.pool_sizes(dense)])


def mm_graphs(chosen: bool = False) -> CaseResult:
    """SGLang's decision for 26B-A4B; E4B, whose last layers share keys, must stay refused."""
    plain = stand_ins.has_piecewise_graphs(stand_ins.graph_model(), chosen=chosen)
    shared = stand_ins.has_piecewise_graphs(stand_ins.graph_model(shared=18))
    said = f"piecewise graphs: 26B-A4B {'on' if plain else 'off'}, E4B {'on' if shared else 'off'}"
    return CaseResult(plain and not shared, said, [plain, shared])


CASES: dict[str, Callable[..., CaseResult]] = {
    "free-swa-pages": free_swa_pages,
    "keep-locked-prefix": keep_locked_prefix,
    "optional-kv": optional_kv,
    "packed-query": packed_query,
    "slotless-draft": slotless_draft,
    "swa-ratio": swa_ratio,
    "mm-piecewise-graphs": mm_graphs,
}
