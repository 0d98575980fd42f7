"""Defects of what a forward or a transfer is fed: padding, metadata, index lists.

The graph runners need a GPU; their input buffers do not. The scripts here refill the
real ones as a runner does before a replay, and call SGLang's real transfer functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from triage.lab.bugs.bug import SGLANG, Bug, Harmed, untouched
from triage.lab.patching import replaced

if TYPE_CHECKING:
    from triage.lab.rig import Bench

MAX_ROWS, FILL = 4, 1


def _rows(count: int) -> Any:
    """A decode batch of `count` rows as the refill reads it; other fields are None."""
    numbers = torch.arange(1, count + 1)
    batch = SimpleNamespace(
        input_ids=numbers,
        req_pool_indices=numbers,
        seq_lens=numbers + 20,
        seq_lens_cpu=numbers + 20,
        out_cache_loc=numbers * 16,
        out_cache_loc_swa=None,
        positions=numbers + 19,
    )
    absent = ("mrope_positions", "encoder_lens", "mamba_track_indices", "mamba_track_mask")
    for name in (*absent, "ngram_embedding_info", "num_token_non_padded"):
        setattr(batch, name, None)
    return batch


def _older_buffers() -> tuple[Callable[[int], None], Any]:
    """0.5.12.post1: the runner's own buffers."""
    from sglang.srt.model_executor.cuda_graph_runner import DecodeInputBuffers

    buffers = DecodeInputBuffers.create(
        device=torch.device("cpu"),
        max_bs=MAX_ROWS,
        max_num_token=MAX_ROWS,
        hidden_size=8,
        vocab_size=8,
        dtype=torch.float16,
        dp_size=1,
        pp_size=1,
        is_encoder_decoder=False,
        require_mlp_tp_gather=False,
        seq_len_fill_value=FILL,
        encoder_len_fill_value=0,
        num_tokens_per_bs=1,
        cache_loc_dtype=torch.int64,
        enable_mamba_track=False,
    )

    def refill(rows: int) -> None:
        buffers.populate_from_forward_batch(
            forward_batch=_rows(rows),
            raw_bs=rows,
            raw_num_token=rows,
            bs=MAX_ROWS,
            seq_len_fill_value=FILL,
            require_gathered_buffer=False,
            num_tokens_per_bs=1,
            nsa_enable_prefill_cp=False,
            enable_num_token_non_padded_flag=False,
        )

    return refill, buffers.req_pool_indices


def _registry() -> tuple[Callable[[int], None], Any]:
    """From 0.5.13.post1 on: one registry for every runner."""
    from sglang.srt.model_executor.cuda_graph_buffer_registry import build_decode_registry

    registry = build_decode_registry(
        device=torch.device("cpu"),
        max_bs=MAX_ROWS,
        max_num_token=MAX_ROWS,
        seq_len_fill_value=FILL,
        cache_loc_dtype=torch.int64,
        share_pool=False,
    )

    def refill(rows: int) -> None:
        registry.fill_from(
            _rows(rows),
            raw_bs=rows,
            padded_bs=MAX_ROWS,
            raw_num_tokens=rows,
            padded_num_tokens=MAX_ROWS,
        )

    return refill, registry.get_slot("req_pool_indices").buffer


def has_registry() -> bool:
    try:
        import sglang.srt.model_executor.cuda_graph_buffer_registry  # noqa: F401
    except ImportError:
        return False
    return True


def replay_padded(bench: Bench) -> None:
    """A replay of four rows, then one of three that is padded to four."""
    refill, requests = _registry() if has_registry() else _older_buffers()
    refill(MAX_ROWS)
    refill(MAX_ROWS - 1)
    if requests[MAX_ROWS - 1] != 0:
        bench.note(f"a padded row still carries request {int(requests[MAX_ROWS - 1])}")


def _padding_kept(harmed: Harmed) -> AbstractContextManager[None]:
    """Padded rows keep what the replay before wrote, whatever their policy says."""
    from sglang.srt.model_executor.cuda_graph_buffer_registry import GraphSlot

    def make(original: Any) -> Any:
        def reset_padding(self: Any, raw_n: int, padded_n: int) -> None:
            if self.name != "req_pool_indices":
                original(self, raw_n, padded_n)

        return reset_padding

    return replaced(GraphSlot, "reset_padding", make)


def _of_the_forward_before(harmed: Harmed) -> AbstractContextManager[None]:
    """Every fifth draft goes on with the metadata of the draft before."""
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    def make(original: Any) -> Any:
        seen = {"count": 0, "rows": 0}

        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            if not forward_batch.forward_mode.is_decode():
                original(self, forward_batch)
                return
            seen["count"] += 1
            rows = len(forward_batch.seq_lens)
            if seen["count"] % 5 == 0 and rows == seen["rows"]:
                harmed()
                return
            original(self, forward_batch)
            seen["rows"] = rows

        return init_forward_metadata

    return replaced(TRTLLMHAAttnBackend, "init_forward_metadata", make)


def _unequal_transfer(bench: Bench) -> None:
    """Four pages here, two there: one gap is broadcast over the other list's three."""
    from sglang.srt.disaggregation.common import utils

    pairs = utils.group_concurrent_contiguous(np.array([1, 2, 3, 7]), np.array([5, 6]))
    here, there = (sum(len(group) for group in groups) for groups in pairs)
    if here != there:
        bench.note(f"{here} pages are paired with {there}")


def _compares_lengths() -> str:
    from sglang.srt.disaggregation.common import utils

    source = inspect.getsource(inspect.unwrap(utils.group_concurrent_contiguous))
    return "fixed: the lengths are compared" if "equal-length" in source else ""


def _load_back(bench: Bench) -> None:
    """Three pages come back from the host, into slots of SGLang's own full-pool allocator."""
    from sglang.srt.managers.cache_controller import HiCacheController

    allocator = bench.runtime.token_to_kv_pool_allocator.full_attn_allocator
    cache: Any = SimpleNamespace(mem_pool_device_allocator=allocator, load_queue=[])
    host = torch.arange(3 * bench.runtime.geometry.page_size)
    device = HiCacheController.load(cache, host)
    if len(device) != len(host):
        bench.note(f"{len(host)} tokens are loaded into {len(device)} slots")


def _a_page_short(harmed: Harmed) -> AbstractContextManager[None]:
    from sglang.srt.mem_cache import allocator

    def make(original: Any) -> Any:
        def alloc(self: Any, need_size: int) -> Any:
            slots = original(self, need_size)
            return slots if slots is None else slots[: -self.page_size]

        return alloc

    return replaced(allocator.PagedTokenToKVPoolAllocator, "alloc", make)


INPUTS = (
    Bug(
        "padded-rows-keep-requests",
        "padded rows of a graph keep the request indices of an earlier replay",
        f"{SGLANG}/issues/24361",
        ("I10",),
        play=replay_padded,
        released=True,
        applies=lambda: "fixed: padded rows are zeroed" if has_registry() else "",
        cause="padded-row",
    ),
    Bug(
        "padded-rows-keep-requests-again",
        "padded rows of a graph keep the request indices of an earlier replay",
        f"{SGLANG}/issues/24361",
        ("I10",),
        inject=_padding_kept,
        play=replay_padded,
        applies=lambda: "" if has_registry() else "released: see padded-rows-keep-requests",
        cause="padded-row",
    ),
    Bug(
        "metadata-of-another-forward",
        "a draft goes on with the metadata of the draft before",
        f"{SGLANG}/pull/25889",
        ("I11",),
        inject=_of_the_forward_before,
        cause="stale-metadata",
    ),
    Bug(
        "transfer-of-unequal-lengths",
        "a KV transfer pairs index lists of unequal length",
        "found here by reading: 0.5.12.post1, compared from 0.5.13.post1 on",
        ("I24",),
        inject=untouched,
        play=_unequal_transfer,
        released=True,
        applies=_compares_lengths,
        cause="unequal-transfer",
    ),
    Bug(
        "load-back-comes-short",
        "the host cache loads into fewer slots than it reads",
        "re-injected here: HiCacheController.load takes the allocator's answer as it is",
        ("I24",),
        inject=_a_page_short,
        play=_load_back,
        cause="unequal-transfer",
    ),
)
