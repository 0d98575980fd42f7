"""Two oracles for paged attention, written from the mathematics and unlike each other.

`dense_loop` looks up each visible key's page and slot, and loops over rows,
queries and heads in float64 numpy. `sdpa` hands torch's own
scaled_dot_product_attention a dense row with an explicit mask; a sink is one
more key there, of zeros, with its logit as the mask's bias and zeros for value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Problem:
    """One paged attention call with its own small cache."""

    query: torch.Tensor  # (tokens, Hq, D)
    k_cache: torch.Tensor  # (pages, Hkv, page, D)
    v_cache: torch.Tensor
    table: torch.Tensor  # (rows, width)
    lengths: torch.Tensor
    q_lens: torch.Tensor
    window_left: int
    scale: float
    sinks: torch.Tensor | None = None
    k_scale: float = 1.0
    v_scale: float = 1.0

    @property
    def page_size(self) -> int:
        return self.k_cache.shape[2]


def make_problem(
    lengths: list[int],
    *,
    q_lens: list[int] | int = 1,
    window: int | None = None,
    page_size: int = 16,
    head_dim: int = 16,
    group: int = 2,
    num_kv_heads: int = 2,
    sinks: bool = False,
    kv_dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Problem:
    """Random values, shuffled page ids, NaN in every slot that no query may see.

    Those are the slots that no token owns, and those before the window of the row's
    oldest query.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(q_lens, int):
        q_lens = [q_lens] * len(lengths)
    columns = [-(-length // page_size) for length in lengths]
    pages = sum(columns) + 3
    order = torch.randperm(pages - 1, generator=generator) + 1
    width = max(columns) + 1
    table = torch.full((len(lengths), width), pages + 7, dtype=torch.int64)
    shape = (pages, num_kv_heads, page_size, head_dim)
    poison = float("nan")
    k_cache, v_cache = torch.full(shape, poison), torch.full(shape, poison)
    start = 0
    for row, count in enumerate(columns):
        table[row, :count] = order[start : start + count]
        start += count
        oldest = 0 if window is None else max(lengths[row] - q_lens[row] - window + 1, 0)
        position = torch.arange(oldest, lengths[row])
        where = (table[row, position // page_size], slice(None), position % page_size)
        for cache in (k_cache, v_cache):
            values = torch.randn(len(position), num_kv_heads, head_dim, generator=generator)
            cache[where] = values
    num_q_heads = group * num_kv_heads
    query = torch.randn(sum(q_lens), num_q_heads, head_dim, generator=generator)
    return Problem(
        query=query,
        k_cache=k_cache.to(kv_dtype),
        v_cache=v_cache.to(kv_dtype),
        table=table,
        lengths=torch.tensor(lengths),
        q_lens=torch.tensor(q_lens),
        window_left=-1 if window is None else window - 1,
        scale=head_dim**-0.5,
        sinks=torch.randn(num_q_heads, generator=generator) if sinks else None,
        k_scale=0.5 if kv_dtype == torch.float8_e4m3fn else 1.0,
        v_scale=2.0 if kv_dtype == torch.float8_e4m3fn else 1.0,
    )


def dense_loop(problem: Problem) -> np.ndarray:
    """Softmax attention in float64, one query of one head at a time."""
    query = problem.query.double().numpy()
    keys = problem.k_cache.double().numpy() * problem.k_scale
    values = problem.v_cache.double().numpy() * problem.v_scale
    kv_heads = keys.shape[1]
    group = query.shape[1] // kv_heads
    out = np.zeros(query.shape)
    token = 0
    for row, length in enumerate(problem.lengths.tolist()):
        q_len = int(problem.q_lens[row])
        for index in range(q_len):
            last = length - q_len + index
            first = 0 if problem.window_left < 0 else max(0, last - problem.window_left)
            positions = range(first, last + 1)
            pages = [int(problem.table[row, at // problem.page_size]) for at in positions]
            offsets = [at % problem.page_size for at in positions]
            for kv_head in range(kv_heads):
                visible_keys = keys[pages, kv_head, offsets]
                visible_values = values[pages, kv_head, offsets]
                for head in range(kv_head * group, (kv_head + 1) * group):
                    logits = problem.scale * (visible_keys @ query[token, head])
                    sink = [] if problem.sinks is None else [float(problem.sinks[head])]
                    top = max([float(logits.max()), *sink])
                    weights = np.exp(logits - top)
                    total = weights.sum() + sum(np.exp(each - top) for each in sink)
                    out[token, head] = weights @ visible_values / total
            token += 1
    return out


def sdpa(problem: Problem) -> torch.Tensor:
    """torch's own attention over each row made dense, under an explicit mask, in float64."""
    num_q_heads = problem.query.shape[1]
    group = num_q_heads // problem.k_cache.shape[1]
    outputs, token = [], 0
    for row, length in enumerate(problem.lengths.tolist()):
        q_len = int(problem.q_lens[row])
        pages = problem.table[row, : -(-length // problem.page_size)]
        dense = [
            (cache[pages].double() * scale)
            .transpose(1, 2)
            .reshape(-1, cache.shape[1], cache.shape[3])[:length]
            .transpose(0, 1)
            .repeat_interleave(group, dim=0)
            # Masked keys have weight 0, and 0 * NaN is NaN here.
            .nan_to_num(0.0)
            for cache, scale in (
                (problem.k_cache, problem.k_scale),
                (problem.v_cache, problem.v_scale),
            )
        ]
        query = problem.query[token : token + q_len].double().transpose(0, 1)
        at = torch.arange(length - q_len, length)[:, None]
        key = torch.arange(length)[None, :]
        mask = key <= at
        if problem.window_left >= 0:
            mask &= key >= at - problem.window_left
        bias = torch.zeros(num_q_heads, q_len, length, dtype=torch.float64)
        bias.masked_fill_(~mask, -torch.inf)
        if problem.sinks is not None:
            sink = problem.sinks.double()[:, None, None].expand(-1, q_len, 1)
            bias = torch.cat([bias, sink], dim=2)
            dense = [torch.nn.functional.pad(each, (0, 0, 0, 1)) for each in dense]
        outputs.append(
            torch.nn.functional.scaled_dot_product_attention(
                query, *dense, attn_mask=bias, scale=problem.scale
            ).transpose(0, 1)
        )
        token += q_len
    return torch.cat(outputs)
