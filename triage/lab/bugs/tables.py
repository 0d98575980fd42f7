"""Defects of the page tables and lengths: what `init_forward_metadata` leaves behind.

Each is one change to the metadata that SGLang's backend just built, at the place
where the upstream defect made it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from triage.lab.bugs.bug import SGLANG, Bug, Harmed, small
from triage.lab.patching import replaced
from triage.lab.reinject import stale_swa_state

Change = Callable[[Any, Any, Any], bool]
"""(backend, metadata, forward_batch) -> did it harm this forward?"""


def spoiled(change: Change) -> Callable[[Harmed], AbstractContextManager[None]]:
    """Put `change` at the end of SGLang's `init_forward_metadata`."""

    def inject(harmed: Harmed) -> AbstractContextManager[None]:
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

        def make(original: Any) -> Any:
            def init_forward_metadata(self: Any, forward_batch: Any) -> None:
                original(self, forward_batch)
                if change(self, self.forward_metadata, forward_batch):
                    harmed()

            return init_forward_metadata

        return replaced(TRTLLMHAAttnBackend, "init_forward_metadata", make)

    return inject


def _both(metadata: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    metadata.page_table = change(metadata.page_table)
    if metadata.swa_page_table is not None:
        metadata.swa_page_table = change(metadata.swa_page_table)
    return True


def _slots(backend: Any, metadata: Any, batch: Any) -> bool:
    return _both(metadata, lambda table: table * backend.page_size)


def _twice(backend: Any, metadata: Any, batch: Any) -> bool:
    return _both(metadata, lambda table: table // backend.page_size)


def _int64(backend: Any, metadata: Any, batch: Any) -> bool:
    return _both(metadata, lambda table: table.to(torch.int64))


def _strided(backend: Any, metadata: Any, batch: Any) -> bool:
    if metadata.page_table.shape[0] < 2:
        return False
    return _both(metadata, lambda table: torch.cat([table, table], dim=1)[:, : table.shape[1]])


def _narrow(backend: Any, metadata: Any, batch: Any) -> bool:
    """Width from the lengths without this step's queries, as if a token fewer were read."""
    pages = -(-(int(metadata.cache_seqlens_int32.max()) - 1) // backend.page_size)
    short = bool((metadata.cache_seqlens_int32 > pages * backend.page_size).any())
    _both(metadata, lambda table: table[:, : max(pages, 1)].contiguous())
    return short


def _rolled(backend: Any, metadata: Any, batch: Any) -> bool:
    if metadata.page_table.shape[0] < 2:
        return False
    return _both(metadata, lambda table: table.roll(1, dims=0))


def _prefix_only(backend: Any, metadata: Any, batch: Any) -> bool:
    if not batch.forward_mode.is_target_verify():
        return False
    metadata.cache_seqlens_int32 = batch.seq_lens.to(torch.int32)
    return True


def _untranslated_writes(backend: Any, metadata: Any, batch: Any) -> bool:
    if getattr(metadata, "swa_out_cache_loc", None) is None:
        return False
    right, metadata.swa_out_cache_loc = metadata.swa_out_cache_loc, batch.out_cache_loc.clone()
    return not torch.equal(right, metadata.swa_out_cache_loc)


def _zero_length(backend: Any, metadata: Any, batch: Any) -> bool:
    metadata.cache_seqlens_int32 = metadata.cache_seqlens_int32.clone()
    metadata.cache_seqlens_int32[0] = 0
    return True


def _full_table_for_all(harmed: Harmed) -> AbstractContextManager[None]:
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    def make(original: Any) -> Any:
        return lambda self, layer, forward_batch: self.forward_metadata.page_table

    return replaced(TRTLLMHAAttnBackend, "_get_layer_page_table", make)


def _stale_metadata(harmed: Harmed) -> AbstractContextManager[None]:
    """Every fifth decode or verify goes on with the tables of the one before."""
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    def make(original: Any) -> Any:
        seen: dict[int, tuple[int, int]] = {}

        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            count, rows = seen.get(id(self), (0, 0))
            mode, size = forward_batch.forward_mode, len(forward_batch.seq_lens)
            stepping = mode.is_target_verify()
            if stepping and count % 5 == 4 and rows == size:
                harmed()
            else:
                original(self, forward_batch)
            if stepping:
                seen[id(self)] = (count + 1, size)

        return init_forward_metadata

    return replaced(TRTLLMHAAttnBackend, "init_forward_metadata", make)


def has_write_snapshot() -> str:
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMMHAMetadata

    known = "swa_out_cache_loc" in TRTLLMMHAMetadata.__dataclass_fields__
    return "" if known else "this release translates the write slot at the pool, not in metadata"


TABLES = (
    Bug(
        "stale-swa-state",
        "a draft swapped to the target's pool keeps the SWA state of its own",
        f"{SGLANG}/issues/26957",
        ("I2", "I1"),
        inject=lambda harmed: stale_swa_state(),
        cause="stale-swa-state",
        fix="state-swap",
    ),
    Bug(
        "full-table-for-swa-layers",
        "sliding-window layers are given the full-attention table",
        f"{SGLANG}/issues/24617",
        ("I2", "I1"),
        inject=_full_table_for_all,
        cause="full-ids-in-swa-layer",
    ),
    Bug(
        "slots-as-pages",
        "token slots are passed where page ids belong",
        f"{SGLANG}/pull/38187",
        ("I22", "I1", "I2"),
        inject=spoiled(_slots),
        cause="slots-as-pages",
    ),
    Bug(
        "divided-twice",
        "page ids are divided by the page size once more",
        f"{SGLANG}/pull/38187",
        ("I22", "I2", "I1"),
        inject=spoiled(_twice),
        cause="divided-twice",
    ),
    Bug(
        "int64-table",
        "the table is int64 and read as int32",
        "re-injected here: trtllm-gen checks no type",
        ("I26",),
        inject=spoiled(_int64),
        cause="misread-table",
    ),
    Bug(
        "strided-table",
        "the table is a slice of a wider one and read as packed rows",
        "re-injected here: trtllm-gen takes no row stride",
        ("I26",),
        inject=spoiled(_strided),
        cause="misread-table",
    ),
    Bug(
        "narrow-table",
        "the table's width comes from lengths that lack this step's tokens",
        f"{SGLANG}/pull/35985",
        ("I26",),
        inject=spoiled(_narrow),
        cause="narrow-table",
    ),
    Bug(
        "another-requests-row",
        "rows are built for the wrong request indices",
        f"{SGLANG}/pull/10892",
        ("I2",),
        inject=spoiled(_rolled),
        cause="other-requests-row",
    ),
    Bug(
        "length-without-drafts",
        "a verify reads the lengths of the committed prefix",
        f"{SGLANG}/pull/19016",
        ("I12",),
        inject=spoiled(_prefix_only),
        cause="lengths-disagree",
    ),
    Bug(
        "empty-row",
        "a real row has length 0",
        f"{SGLANG}/pull/1469",
        ("I12",),
        inject=spoiled(_zero_length),
        cause="lengths-disagree",
    ),
    Bug(
        "stale-metadata",
        "a verify goes on with the metadata of the one before",
        f"{SGLANG}/pull/25889",
        ("I12", "I2", "I3", "I11"),
        inject=_stale_metadata,
        cause="foreign-write",
        also=("lengths-disagree", "stale-metadata"),  # which comes first differs by release
    ),
    Bug(
        "untranslated-writes",
        "SWA layers write at full-pool slots",
        f"{SGLANG}/issues/23375",
        ("I3",),
        inject=spoiled(_untranslated_writes),
        scenario=small(draft="none"),
        applies=has_write_snapshot,
        cause="foreign-write",
    ),
)
