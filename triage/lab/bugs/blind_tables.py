"""Defects written without knowing the rules that must find them: tables and lengths.

Their author read SGLang, its issue tracker, the statements of the invariants and
this lab, and neither the traps' code nor the explain rules, so that they measure
what those make of a mistake they were not written for. What an entry expects
was put down before it was first played. `second_author_allocation` and
`second_author_tree` have the others.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from triage.lab.bugs.bug import SGLANG, Bug, Harmed, small
from triage.lab.bugs.released import own_pool_is_told_apart
from triage.lab.bugs.tables import has_write_snapshot, spoiled
from triage.lab.patching import replaced


def _translated_by_page(backend: Any, metadata: Any, batch: Any) -> bool:
    """The mapping, which is indexed by slot, is asked with page ids."""
    if metadata.swa_page_table is None or not batch.forward_mode.is_target_verify():
        return False
    mapping = backend._swa_kv_pool.full_to_swa_index_mapping
    # Columns past a row's length are uninitialised, and torch gathers them all the same.
    pages = metadata.page_table.to(torch.int64).clamp(0, len(mapping) - 1)
    metadata.swa_page_table = (mapping[pages] // backend.page_size).to(torch.int32)
    return False  # the lab's oracle sees it


def _positions_as_rows(harmed: Harmed) -> AbstractContextManager[None]:
    """A draft looks its requests up by their place in the batch; row 0 is reserved."""
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    def make(original: Any) -> Any:
        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            right = forward_batch.req_pool_indices
            if forward_batch.forward_mode.is_decode():  # here a draft's
                forward_batch.req_pool_indices = torch.arange(1, len(right) + 1)
            original(self, forward_batch)
            forward_batch.req_pool_indices = right

        return init_forward_metadata

    return replaced(TRTLLMHAAttnBackend, "init_forward_metadata", make)


def _a_token_too_long(backend: Any, metadata: Any, batch: Any) -> bool:
    if not batch.forward_mode.is_target_verify():
        return False
    metadata.cache_seqlens_int32 = metadata.cache_seqlens_int32 + 1
    return True


def _without_the_step(backend: Any, metadata: Any, batch: Any) -> bool:
    """Every step of a draft reads the length of the first one."""
    step = backend.speculative_step_id
    if not (batch.forward_mode.is_decode() and batch.spec_info is not None and step):
        return False
    metadata.cache_seqlens_int32 = metadata.cache_seqlens_int32 - step
    return True


def _int64_lengths(backend: Any, metadata: Any, batch: Any) -> bool:
    if not batch.forward_mode.is_draft_extend_v2():
        return False
    metadata.cache_seqlens_int32 = metadata.cache_seqlens_int32.to(torch.int64)
    return True


def _offsets_of_the_keys(backend: Any, metadata: Any, batch: Any) -> bool:
    """The branch for a prefix is gone: query offsets are the key offsets, always."""
    if not batch.forward_mode.is_extend_without_speculative():
        return False
    changed = not torch.equal(metadata.cu_seqlens_q, metadata.cu_seqlens_k)
    metadata.cu_seqlens_q = metadata.cu_seqlens_k
    return changed


def _write_slots_of_the_last_verify(harmed: Harmed) -> AbstractContextManager[None]:
    before: dict[int, torch.Tensor] = {}

    def change(backend: Any, metadata: Any, batch: Any) -> bool:
        fresh = getattr(metadata, "swa_out_cache_loc", None)
        if fresh is None or not batch.forward_mode.is_target_verify():
            return False
        stale, before[id(backend)] = before.get(id(backend)), fresh
        if stale is None or stale.shape != fresh.shape:
            return False
        metadata.swa_out_cache_loc = stale
        return not torch.equal(stale, fresh)

    return spoiled(change)(harmed)


def _one_slot_for_all_steps(harmed: Harmed) -> AbstractContextManager[None]:
    """`out_cache_loc` is not moved on between the steps of an EAGLE draft."""
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    def make(original: Any) -> Any:
        first: list[torch.Tensor] = []

        def forward_decode(
            self: Any, q: Any, k: Any, v: Any, layer: Any, forward_batch: Any, *rest: Any, **kw: Any
        ) -> Any:
            right = forward_batch.out_cache_loc
            if self.speculative_step_id == 0:
                first[:] = [right]
            else:
                forward_batch.out_cache_loc = first[0]
                harmed()
            try:
                return original(self, q, k, v, layer, forward_batch, *rest, **kw)
            finally:
                forward_batch.out_cache_loc = right

        return forward_decode

    return replaced(TRTLLMHAAttnBackend, "forward_decode", make)


SECOND_AUTHOR = (
    Bug(
        "translated-by-page-id",
        "a verify translates page ids as if they were slots",
        f"{SGLANG}/pull/16267",
        ("I22", "I2", "I1"),
        inject=spoiled(_translated_by_page),
        cause="divided-twice",
    ),
    Bug(
        "batch-position-as-row",
        "the draft's table is built for places in the batch, not for request rows",
        f"variant of {SGLANG}/pull/10892: the draft's table only",
        ("I2", "I1"),
        inject=_positions_as_rows,
        cause="other-requests-row",
    ),
    Bug(
        "verify-a-token-too-long",
        "a verify reads one token more than was written",
        f"variant of {SGLANG}/pull/12295",
        ("I12",),
        inject=spoiled(_a_token_too_long),
        cause="lengths-disagree",
    ),
    Bug(
        "draft-step-not-counted",
        "all steps of an EAGLE draft read the length of the first",
        f"variant of {SGLANG}/pull/26655",
        ("I12",),
        inject=spoiled(_without_the_step),
        scenario=small(draft="eagle"),
        applies=own_pool_is_told_apart,
        cause="lengths-disagree",
    ),
    Bug(
        "int64-lengths-in-draft-extend",
        "the draft's extend passes int64 lengths where int32 is read",
        f"{SGLANG}/pull/12687, there for trtllm_mla",
        ("I26",),
        inject=spoiled(_int64_lengths),
        scenario=small(draft="eagle"),
        applies=own_pool_is_told_apart,
        cause="misread-table",
    ),
    Bug(
        "chunk-offsets-of-the-keys",
        "a chunk behind a prefix is given the key offsets as its query offsets",
        "re-injected here: the branch for a prefix in init_forward_metadata is missing",
        ("I12",),
        inject=spoiled(_offsets_of_the_keys),
        scenario=small(draft="none", chunk=40),
        cause="lengths-disagree",
    ),
    Bug(
        "write-slots-of-the-last-verify",
        "SWA layers of a verify write at the slots of the verify before",
        "re-injected here: the snapshot that 0.5.18 guards by an assertion is not refreshed",
        ("I3",),
        inject=_write_slots_of_the_last_verify,
        applies=has_write_snapshot,
        cause="stale-translation",
        also=("foreign-write",),
    ),
    Bug(
        "draft-steps-share-a-slot",
        "every step of an EAGLE draft writes its keys at the slot of the first",
        f"variant of {SGLANG}/pull/8409",
        ("I3",),
        inject=_one_slot_for_all_steps,
        scenario=small(draft="eagle"),
        applies=own_pool_is_told_apart,
        cause="foreign-write",
    ),
)
