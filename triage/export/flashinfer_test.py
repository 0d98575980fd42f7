"""A pytest file in FlashInfer's own layout: the recorded call beside a reference in torch.

The kernel is given the table rebuilt from request table and mapping, or the recorded one
where all its visible ids lie in the cache, and its output compared with plain attention over
the same pages. It runs where a trtllm-gen kernel does, and says so where it is skipped.
"""

from __future__ import annotations

from triage.errors import ReplayError
from triage.export.checks import CHECKS
from triage.export.literals import Literals
from triage.export.pytest_file import about, digest

FLASHINFER_FOLDER = "tests/attention"
"""Where FlashInfer keeps the tests of its attention kernels."""

_HEAD = '''\
"""trtllm_batch_decode_with_kv_cache over a recorded page table agrees with plain attention.

Ids, lengths, window and sizes are the recorded ones; queries, keys and values are drawn.
The recorded table is launched only where each visible id is a page of the cache: what a
kernel does with others is not specified. DEVICE=cpu runs it on a stand-in of the kernel.
Written by sglang-triage.
"""

import os

import pytest
import torch

flashinfer_decode = pytest.importorskip("flashinfer.decode")
'''

_TESTS = '''\
DEVICE = os.environ.get("DEVICE", "cuda")


def launchable():
    if DEVICE == "cpu":
        return
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    major = torch.cuda.get_device_capability()[0]
    if major != 10:
        pytest.skip(f"trtllm-gen needs sm_100 or sm_103, this is sm_{major}x")


def dense(table):
    width = max(TABLE_WIDTH, -(-max(CACHE_SEQLENS) // PAGE_SIZE))
    return torch.tensor([(row + [0] * width)[:width] for row in table], dtype=torch.int32)


def reference(query, keys, values, table, scale):
    """Plain attention, one row after the other, in float32."""
    out = torch.zeros_like(query)
    group, start = NUM_Q_HEADS // NUM_KV_HEADS, 0
    for row, (length, count) in enumerate(zip(CACHE_SEQLENS, Q_LENS)):
        for index in range(count):
            position = length - count + index
            first = max(position - WINDOW_LEFT, 0) if WINDOW_LEFT >= 0 else 0
            at = torch.arange(first, position + 1)
            ids = table[row][at // PAGE_SIZE].long()
            k = keys[ids, :, at % PAGE_SIZE].float().repeat_interleave(group, dim=1)
            v = values[ids, :, at % PAGE_SIZE].float().repeat_interleave(group, dim=1)
            logits = torch.einsum("hd,thd->ht", query[start + index].float(), k) * scale
            seen = torch.einsum("ht,thd->hd", logits.softmax(-1), v)
            out[start + index] = seen.to(out.dtype)
        start += count
    return out


def recorded_or_rebuilt(which):
    table = rebuilt_table() if which == "rebuilt" else PAGE_TABLE
    if outside_entries(table):
        pytest.skip(f"the {which} table names pages outside the cache: no kernel may be given it")
    return dense(table)


@pytest.mark.parametrize("which", ["recorded", "rebuilt"])
def test_decode_over_the_recorded_pages_agrees_with_plain_attention(which):
    launchable()
    if len(set(Q_LENS)) != 1:
        pytest.skip("ragged queries are a context call")
    table = recorded_or_rebuilt(which)
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_PAGES, NUM_KV_HEADS, PAGE_SIZE, HEAD_DIM)
    query, keys, values = (
        torch.randn(size, generator=generator).to(torch.bfloat16)
        for size in ((sum(Q_LENS), NUM_Q_HEADS, HEAD_DIM), shape, shape)
    )
    scale = HEAD_DIM**-0.5
    out = flashinfer_decode.trtllm_batch_decode_with_kv_cache(
        query=query.to(DEVICE),
        kv_cache=(keys.to(DEVICE), values.to(DEVICE)),
        workspace_buffer=torch.zeros(128 << 20, dtype=torch.uint8, device=DEVICE),
        block_tables=table.to(DEVICE),
        seq_lens=torch.tensor(CACHE_SEQLENS, dtype=torch.int32, device=DEVICE),
        max_seq_len=max(MAX_SEQ_LEN, max(CACHE_SEQLENS)),
        bmm1_scale=scale,
        bmm2_scale=1.0,
        window_left=WINDOW_LEFT,
        q_len_per_req=Q_LENS[0],
        kv_layout="HND",
    )
    wanted = reference(query, keys, values, table, scale)
    torch.testing.assert_close(out.cpu().float(), wanted.float(), atol=1e-2, rtol=1e-2)


def test_the_rebuilt_table_names_the_page_of_each_visible_token():
    assert outside_entries(rebuilt_table()) == []
    assert foreign_entries(rebuilt_table()) == []
'''


def flashinfer_tree(case: Literals) -> dict[str, bytes]:
    """The file in FlashInfer's layout. ReplayError where the right pages are not recorded."""
    if case.values["PAGE_STARTS"] is None:
        raise ReplayError("a FlashInfer test needs the request table: the right pages come from it")
    source = "\n".join([_HEAD, about(case), case.assignments(), "\n", CHECKS, "", _TESTS])
    return {f"{FLASHINFER_FOLDER}/test_recorded_page_table_{digest(case)}.py": source.encode()}
