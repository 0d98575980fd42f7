"""Paged attention in plain torch: the value reference that replay compares against.

For query token i of a row with S keys and Sq queries (absolute position
t = S - Sq + i) the visible keys are max(0, t - window_left) .. t: causal,
aligned bottom-right, the window inclusive of the query's own token. With
sinks, each head has one more logit that enters the softmax denominator and
carries no value. All arithmetic is float32, whatever the cache's type.

Rows of different lengths run together: each is cut down to the pages it can
see, so a long context with a short window costs the window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

GATHER_BYTES = 128 << 20  # keys plus logits of one batch of rows, in float32
MAX_QUERY_BLOCK = 128

KVReader = Callable[[Tensor], tuple[Tensor, Tensor]]
"""`(rows, columns)` page ids -> K and V, each `(rows, columns, Hkv, page_size, D)` in float32.

Both are the caller's own: it may write to them.
"""


class Blocks(NamedTuple):
    """Pieces of rows: `queries[i]` query tokens that end at key position `ends[i]` of `rows[i]`.

    A long prefill is cut into blocks, each of them a row of its own with a
    shorter length, which is exact because attention is causal.
    """

    rows: Tensor
    ends: Tensor
    queries: Tensor
    first_token: Tensor


def paged_attention_eager(
    query: Tensor,
    read_kv: KVReader,
    page_table: Tensor,
    cache_seqlens: Tensor,
    q_lens: Tensor,
    *,
    page_size: int,
    num_kv_heads: int,
    window_left: int,
    bmm1_scale: float,
    bmm2_scale: float = 1.0,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of `query` over the pages that `page_table` names.

    Args:
        query: `(tokens, Hq, D)`, the rows' queries one after another.
        page_table: `(rows, width)`; entries past a row's length are not read.
        cache_seqlens: `(rows,)` keys of each row, its queries included.
        q_lens: `(rows,)` query tokens of each row.
        window_left: keys visible besides the query's own, -1 for all.
        bmm1_scale: what the logits are multiplied by; bmm2_scale: what the output is.
        sinks: `(Hq,)` float32.
    Returns:
        `(tokens, Hq, D)` in float32. A query that sees no key gives zeros.
    """
    tokens, num_q_heads, head_dim = query.shape
    out = torch.zeros(tokens, num_q_heads, head_dim, dtype=torch.float32, device=query.device)
    for batch in _batches(
        query_blocks(cache_seqlens.long(), q_lens.long()),
        bytes_per_key=4 * (2 * num_kv_heads * head_dim + num_q_heads),
        page_size=page_size,
        window_left=window_left,
    ):
        table = page_table[batch.rows]
        oldest = torch.zeros_like(batch.ends)
        if window_left >= 0:
            oldest = (batch.ends - batch.queries - window_left).clamp(min=0)
        first_column = oldest // page_size
        columns = int((-(-batch.ends // page_size) - first_column).max())
        reach = first_column[:, None] + torch.arange(columns, device=query.device)
        used = reach * page_size < batch.ends[:, None]
        inside = used & (reach < table.shape[1])
        width = table.shape[1]
        pages = table.gather(1, reach.clamp(max=width - 1)) if width else torch.zeros_like(reach)
        keys, values = read_kv(torch.where(inside, pages, 0))
        position = first_column[:, None] * page_size + torch.arange(
            columns * page_size, device=query.device
        )
        block = int(batch.queries.max())
        offset = torch.arange(block, device=query.device)
        real = offset < batch.queries[:, None]
        token = (batch.first_token[:, None] + offset).clamp(max=max(tokens - 1, 0))
        at = batch.ends[:, None] - batch.queries[:, None] + offset
        mask = position[:, None, :] <= at[:, :, None]
        if window_left >= 0:
            mask &= position[:, None, :] >= at[:, :, None] - window_left
        mask &= (position >= 0)[:, None, :] & (position < batch.ends[:, None])[:, None, :]
        result = _attend(query[token], keys, values, mask, bmm1_scale, sinks)
        out[token[real]] = result[real] * bmm2_scale
    return out


def _attend(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float, sinks: Tensor | None
) -> Tensor:
    """`(B, Sq, Hq, D)` queries over `(B, C, Hkv, P, D)` pages under a `(B, Sq, C*P)` mask."""
    batch, block, num_q_heads, head_dim = query.shape
    num_kv_heads = keys.shape[2]
    group = num_q_heads // num_kv_heads
    keys = keys.transpose(1, 2).reshape(batch, num_kv_heads, -1, head_dim)
    values = values.transpose(1, 2).reshape(batch, num_kv_heads, -1, head_dim)
    grouped = query.float().reshape(batch, block, num_kv_heads, group, head_dim)
    grouped = grouped.permute(0, 2, 3, 1, 4).reshape(batch, num_kv_heads, group * block, head_dim)
    logits = (grouped @ keys.transpose(2, 3)).mul_(scale)
    logits = logits.reshape(batch, num_kv_heads, group, block, -1)
    logits.masked_fill_(~mask[:, None, None], -torch.inf)
    top = logits.amax(dim=-1, keepdim=True)
    if sinks is not None:
        sink = sinks.float().reshape(1, num_kv_heads, group, 1, 1)
        top = torch.maximum(top, sink)
    top = top.masked_fill(top == -torch.inf, 0.0)
    weights = logits.sub_(top).exp_()
    total = weights.sum(dim=-1, keepdim=True)
    if sinks is not None:
        total = total + torch.exp(sink - top)
    weights /= total.masked_fill(total == 0, 1.0)
    # A masked key has weight 0, and 0 * NaN is NaN: what nobody sees must not count.
    values.masked_fill_(~mask.any(dim=1)[:, None, :, None], 0.0)
    attended = weights.reshape(batch, num_kv_heads, group * block, -1) @ values
    attended = attended.reshape(batch, num_kv_heads, group, block, head_dim)
    return attended.permute(0, 3, 1, 2, 4).reshape(batch, block, num_q_heads, head_dim)


def query_blocks(cache_seqlens: Tensor, q_lens: Tensor, limit: int = MAX_QUERY_BLOCK) -> Blocks:
    """Cut rows into blocks of at most `limit` query tokens.

    Args:
        cache_seqlens: `(rows,)`, int64, tokens, the row's queries included.
        q_lens: `(rows,)`, int64, query tokens of each row; they lie one row after the
            other in the query tensor. A row of none has no block.
    Returns: blocks in the order of the rows, each field `(blocks,)`, int64, on the same
        device; `first_token` counts from the start of the query tensor.
    Cost: a dozen small launches; the number of blocks is a host read.
    """
    counts = -(-q_lens // limit)
    rows = torch.repeat_interleave(torch.arange(len(q_lens), device=q_lens.device), counts)
    index = torch.arange(len(rows), device=q_lens.device)
    index = index - (torch.cumsum(counts, 0) - counts)[rows]
    first = index * limit
    queries = torch.minimum(q_lens[rows] - first, torch.full_like(first, limit))
    starts = torch.cumsum(q_lens, 0) - q_lens
    return Blocks(
        rows=rows,
        ends=cache_seqlens[rows] - q_lens[rows] + first + queries,
        queries=queries,
        first_token=starts[rows] + first,
    )


def _batches(
    blocks: Blocks, *, bytes_per_key: int, page_size: int, window_left: int
) -> list[Blocks]:
    """Blocks of similar reach together, each batch within GATHER_BYTES where one block is."""
    keys = blocks.ends
    if window_left >= 0:
        keys = torch.minimum(keys, blocks.queries + window_left)
    keys = (keys.clamp(min=1) + 2 * page_size) * (1 + blocks.queries // 8)
    live = torch.nonzero(blocks.ends > 0).flatten()
    order = live[torch.argsort(keys[live], stable=True)]
    batches, start = [], 0
    sizes = keys[order].tolist()
    for stop in range(1, len(sizes) + 1):
        if stop == len(sizes) or sizes[stop] * (stop + 1 - start) * bytes_per_key > GATHER_BYTES:
            chosen = order[start:stop]
            batches.append(Blocks(*(part[chosen] for part in blocks)))
            start = stop
    return batches


def paged_cache_reader(
    k_cache: Tensor, v_cache: Tensor, k_scale: float = 1.0, v_scale: float = 1.0
) -> KVReader:
    """Read HND caches `(pages, Hkv, page_size, D)` of any float type, fp8 included.

    Args:
        k_scale, v_scale: what a stored value is multiplied with, in float32.
    Returns: a reader of page ids `(rows, columns)`, int64, each in [0, pages), which is not
        checked: torch counts a negative one from the end. The caches are only read.
    Cost: a gather into two float32 copies of `rows * columns` pages.
    """

    def read(pages: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = k_cache[pages].float(), v_cache[pages].float()
        for part, scale in ((keys, k_scale), (values, v_scale)):
            if scale != 1.0:
                part *= scale
        return keys, values

    return read
