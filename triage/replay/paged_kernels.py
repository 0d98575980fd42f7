"""Triton kernels of the `triton` replay kernel: paged attention, and the footprint counted.

Both take a page id as any integer. The attention kernel reads nothing for an
id outside the cache and takes zeros instead; the counting kernel says how many
such ids a trtllm-gen launch would dereference, by set and band
(`triage.dump.footprint`). Neither can fault on a bad id, and neither needs a
GPU: Triton's interpreter runs them if it was chosen before this import.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def paged_attention(
    query,  # (tokens, Hq, D)
    k_cache,  # (pages, Hkv, page_size, D), contiguous
    v_cache,
    page_table,  # (rows, width) int64, contiguous
    block_rows,  # per block: row, end, queries, first token
    block_ends,
    block_queries,
    block_tokens,
    sinks,  # (Hq,) float32
    out,  # (tokens, Hq, D) float32
    width,
    num_pages,
    window_left,
    scale,
    num_q_heads: tl.constexpr,
    num_kv_heads: tl.constexpr,
    head_dim: tl.constexpr,
    page_size: tl.constexpr,
    HAS_SINKS: tl.constexpr,
    BLOCK_M: tl.constexpr,  # at least queries * group of every block
    BLOCK_N: tl.constexpr,  # keys a step
    BLOCK_D: tl.constexpr,
):
    """One program per block of query tokens and KV head; online softmax over the visible tiles."""
    block = tl.program_id(0)
    kv_head = tl.program_id(1)
    group: tl.constexpr = num_q_heads // num_kv_heads
    row = tl.load(block_rows + block)
    end = tl.load(block_ends + block)
    queries = tl.load(block_queries + block)
    first_token = tl.load(block_tokens + block)

    lane = tl.arange(0, BLOCK_M)
    dim = tl.arange(0, BLOCK_D)
    index = lane // group
    head = kv_head * group + lane % group
    real = index < queries
    in_dim = dim < head_dim
    q_at = ((first_token + index) * num_q_heads + head) * head_dim
    q = tl.load(query + q_at[:, None] + dim[None, :], real[:, None] & in_dim[None, :], other=0.0)
    q = q.to(tl.float32)
    position = end - queries + index  # of each query, in its row

    oldest = end * 0  # of the lengths' type
    if window_left >= 0:
        oldest = tl.maximum(end - queries - window_left, 0)
    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    if HAS_SINKS:
        top = tl.load(sinks + head, real, other=0.0)
        total = tl.where(real, 1.0, 0.0)

    start = oldest // BLOCK_N * BLOCK_N
    while start < end:
        key = start + tl.arange(0, BLOCK_N)
        column = key // page_size
        held = (key < end) & (column < width)
        page = tl.load(page_table + row * width + column, held, other=-1)
        inside = held & (page >= 0) & (page < num_pages)
        slot = (page * num_kv_heads + kv_head) * page_size + key % page_size
        at = slot[:, None] * head_dim + dim[None, :]
        readable = inside[:, None] & in_dim[None, :]
        k = tl.load(k_cache + at, readable, other=0.0).to(tl.float32)
        v = tl.load(v_cache + at, readable, other=0.0).to(tl.float32)
        visible = held[None, :] & (key[None, :] <= position[:, None]) & real[:, None]
        if window_left >= 0:
            visible = visible & (key[None, :] >= position[:, None] - window_left)
        # What no query of the block sees may hold NaN, and 0 * NaN is NaN.
        seen = tl.max(visible.to(tl.int32), axis=0) > 0
        v = tl.where(seen[:, None], v, 0.0)
        logits = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        logits = tl.where(visible, logits, float("-inf"))
        new_top = tl.maximum(top, tl.max(logits, axis=1))
        shift = tl.where(new_top == float("-inf"), 0.0, new_top)
        weights = tl.exp(logits - shift[:, None])
        kept = tl.exp(top - shift)
        total = total * kept + tl.sum(weights, axis=1)
        acc = acc * kept[:, None] + tl.dot(weights, v, input_precision="ieee")
        top = new_top
        start += BLOCK_N

    acc = acc / tl.where(total == 0.0, 1.0, total)[:, None]
    tl.store(out + q_at[:, None] + dim[None, :], acc, real[:, None] & in_dim[None, :])


@triton.jit
def count_footprint(
    page_table,  # (rows, width), contiguous, any integer type
    cache_seqlens,
    q_lens,
    counts,  # (3, 3) int32: set (must, likely, may) by band (fault, zeros, negative)
    width,
    num_pages,
    extent,
    window_left,
    page_size: tl.constexpr,
    LIKELY_TILE: tl.constexpr,
    MAY_TILE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program per row walks the row's may-columns; each bad id counts in its innermost set."""
    row = tl.program_id(0)
    length = tl.maximum(tl.load(cache_seqlens + row), 0)
    oldest = length * 0
    if window_left >= 0:
        oldest = tl.maximum(length - tl.load(q_lens + row) - window_left, 0)
    must_low = oldest // page_size
    likely_low = oldest // LIKELY_TILE * LIKELY_TILE // page_size
    may_low = oldest // MAY_TILE * MAY_TILE // page_size
    high = (length + page_size - 1) // page_size
    may_end = (length + MAY_TILE - 1) // MAY_TILE * MAY_TILE
    may_high = tl.minimum((may_end + page_size - 1) // page_size, width)
    start = may_low
    while start < may_high:
        column = start + tl.arange(0, BLOCK)
        read = column < may_high
        page = tl.load(page_table + row * width + column, read, other=0).to(tl.int64)
        bad = read & ((page < 0) | (page >= num_pages))
        in_likely = (column >= likely_low) & (column < high)
        in_must = in_likely & (column >= must_low)
        inner = tl.where(in_must, 0, tl.where(in_likely, 1, 2))
        band = tl.where(page < 0, 2, tl.where(page >= extent, 1, 0))
        tl.atomic_add(counts + inner * 3 + band, bad.to(tl.int32), mask=bad)
        start += BLOCK
