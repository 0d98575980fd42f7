"""The `triton` kernel: our own paged attention on any GPU, or interpreted on a CPU.

It counts where trtllm-gen would fault, and its values come from another
algorithm than the eager reference's (tiles and a running softmax), so that the
two check each other. Only the pages a launch names are materialised.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.dump.expected_ids import tables_of
from triage.dump.footprint import (
    BANDS,
    LIKELY_TILE_TOKENS,
    MAY_TILE_TOKENS,
    SETS,
)
from triage.dump.sections import Dump
from triage.dump.table_form import table_as_read
from triage.replay.attention import query_blocks
from triage.replay.kv_source import Inputs
from triage.replay.values import compare_with_right_table, q_lens_of
from triage.replay.verdict import Basis, Outcome, Verdict, records_fault

KERNEL = "triton"
MAX_LANES = 128  # query tokens times group of one program
MAX_INTERPRETED_TILES = 4000  # tiles of one launch; about five milliseconds each in Python


def run_triton(dump: Dump, fix: str = "") -> Verdict:
    """The verdict of our paged kernel on `dump`, with `fix` applied where one is named."""
    choose_interpreter()
    tiles = 0 if torch.cuda.is_available() else interpreted_tiles(dump)
    if tiles > MAX_INTERPRETED_TILES:
        reason = (
            f"{tiles} tiles are too many for Triton's interpreter; needs a GPU, or a minimised dump"
        )
        return Verdict(
            KERNEL,
            Outcome.CANNOT_RUN,
            Basis.EXECUTED,
            (reason,),
            records_fault(dump) and not fix,
            fix,
        )
    return compare_with_right_table(KERNEL, dump, fix, run_table, extra=_count)


def interpreted_tiles(dump: Dump) -> int:
    """Tiles of keys that the launch's programs walk, over all rows and KV heads."""
    if dump.launch is None or dump.tables is None:
        return 0
    launch, q_lens = dump.launch, q_lens_of(dump)
    lengths = np.maximum(dump.tables.cache_seqlens.astype(np.int64), 0)
    reach = lengths if launch.window_left < 0 else np.minimum(lengths, q_lens + launch.window_left)
    group = max(launch.num_q_heads // launch.num_kv_heads, 1)
    blocks = -(-q_lens // max(MAX_LANES // group, 1))
    return int((blocks * (-(-reach // _keys_per_tile(launch.head_dim)) + 1)).sum()) * (
        launch.num_kv_heads
    )


def choose_interpreter() -> None:
    """Without a GPU Triton must be told to interpret before it is first imported."""
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


def run_table(dump: Dump, inputs: Inputs, ids: np.ndarray) -> Tensor:
    """Attention of the launch over the table `ids`, `(tokens, Hq, D)` float32 on the CPU."""
    assert dump.launch is not None
    launch = dump.launch
    table, pages = _compact(ids, launch.num_pages)
    keys, values = inputs.read_kv(pages[None, :])
    return paged_attention_triton(
        inputs.query,
        keys[0],
        values[0],
        table,
        torch.from_numpy(tables_of(dump).cache_seqlens.astype(np.int64)),
        torch.from_numpy(q_lens_of(dump)),
        window_left=launch.window_left,
        bmm1_scale=inputs.bmm1_scale,
        bmm2_scale=inputs.bmm2_scale,
        sinks=inputs.sinks,
    )


def paged_attention_triton(
    query: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    page_table: Tensor,
    cache_seqlens: Tensor,
    q_lens: Tensor,
    *,
    window_left: int,
    bmm1_scale: float,
    bmm2_scale: float = 1.0,
    sinks: Tensor | None = None,
) -> Tensor:
    """Same result as `paged_attention_eager` over HND caches of any float type.

    An id outside the cache reads as zeros. Returns float32 on the CPU.
    """
    from triage.replay import paged_kernels

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens, num_q_heads, head_dim = query.shape
    num_pages, num_kv_heads, page_size, _ = k_cache.shape
    group = num_q_heads // num_kv_heads
    blocks = query_blocks(cache_seqlens.long(), q_lens.long(), max(MAX_LANES // group, 1))
    out = torch.zeros(tokens, num_q_heads, head_dim, device=device)
    if not len(blocks.rows):
        return out.cpu()
    on_device = [part.contiguous().to(device) for part in blocks]
    lanes = group * int(blocks.queries.max())
    paged_kernels.paged_attention[(len(blocks.rows), num_kv_heads)](
        query.contiguous().to(device),
        k_cache.contiguous().to(device),
        v_cache.contiguous().to(device),
        page_table.long().contiguous().to(device),
        *on_device,
        (torch.zeros(1) if sinks is None else sinks.float()).to(device),
        out,
        page_table.shape[1],
        num_pages,
        window_left,
        bmm1_scale,
        num_q_heads=num_q_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        page_size=page_size,
        HAS_SINKS=sinks is not None,
        BLOCK_M=max(16, _power_of_two(lanes)),
        BLOCK_N=_keys_per_tile(head_dim),
        BLOCK_D=max(16, _power_of_two(head_dim)),
    )
    return out.cpu() * bmm2_scale


def count_footprint_triton(
    page_table: Tensor,
    cache_seqlens: Tensor,
    q_lens: Tensor,
    *,
    page_size: int,
    window_left: int,
    num_pages: int,
    separate_kv: bool = True,
) -> dict[str, dict[str, int]]:
    """Set -> band -> bad entries a trtllm-gen launch would dereference, counted on the device."""
    from triage.replay import paged_kernels

    device = "cuda" if torch.cuda.is_available() else "cpu"
    counts = torch.zeros(len(SETS), len(BANDS), dtype=torch.int32, device=device)
    if page_table.numel():
        paged_kernels.count_footprint[(len(page_table),)](
            page_table.contiguous().to(device),
            cache_seqlens.long().to(device),
            q_lens.long().to(device),
            counts,
            page_table.shape[1],
            num_pages,
            2 * num_pages if separate_kv else num_pages,
            window_left,
            page_size=page_size,
            LIKELY_TILE=LIKELY_TILE_TOKENS,
            MAY_TILE=MAY_TILE_TOKENS,
            BLOCK=128,
        )
    rows = counts.tolist()
    return {name: dict(zip(BANDS, row, strict=True)) for name, row in zip(SETS, rows, strict=True)}


def _count(dump: Dump) -> tuple[dict[str, Any], list[str]]:
    """Figures and a sentence about what the counting kernel saw."""
    assert dump.launch is not None
    launch = dump.launch
    bad = count_footprint_triton(
        torch.from_numpy(np.ascontiguousarray(table_as_read(dump).ids)),
        torch.from_numpy(tables_of(dump).cache_seqlens.astype(np.int64)),
        torch.from_numpy(q_lens_of(dump)),
        page_size=launch.page_size,
        window_left=launch.window_left,
        num_pages=launch.num_pages,
        separate_kv=launch.separate_kv,
    )
    counted = [f"{sum(bands.values())} in {name}" for name, bands in bad.items()]
    where = "on the GPU" if torch.cuda.is_available() else "interpreted on the CPU"
    return {"counted": bad}, [f"bad ids counted {where}: {', '.join(counted)}"]


def _compact(ids: np.ndarray, num_pages: int) -> tuple[Tensor, Tensor]:
    """The table over only the pages it names, and those pages; -1 for ids outside the cache."""
    inside = (ids >= 0) & (ids < num_pages)
    pages, place = np.unique(ids[inside], return_inverse=True)
    table = np.full(ids.shape, -1, dtype=np.int64)
    table[inside] = place
    if not len(pages):
        pages = np.zeros(1, dtype=np.int64)
    return torch.from_numpy(table), torch.from_numpy(pages.astype(np.int64))


def _keys_per_tile(head_dim: int) -> int:
    return 64 if head_dim <= 128 else 32


def _power_of_two(count: int) -> int:
    return 1 << max(count - 1, 0).bit_length()
