"""I12: the lengths and query offsets a launch reads are those of the forward it belongs to.

The failure: metadata of an earlier forward is used again, or built with the
wrong convention (prefix, with the queries, with the draft tokens). Every id is
still right for some moment, so neither range nor identity notices. The rule: a
row's length is the scheduler's length plus what the mode adds, the same for
every row of a decode or verify; and the offsets cut the query tensor that is
passed into rows, from its first token to its last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


def check_lengths(
    cache_seqlens: Tensor,
    seq_lens: Tensor,
    added: tuple[int, ...],
    *,
    req_pool_indices: Tensor | None = None,
) -> Findings:
    """I12: `cache_seqlens` is `seq_lens` plus one and the same of `added` on every real row.

    Args:
        cache_seqlens: `(rows,)`, as the launch gets them; tokens.
        seq_lens: `(rows,)`, of the forward batch.
        added: what the mode may add, not empty; where several are possible the first
            row decides which holds for all.
        req_pool_indices: `(rows,)`; rows of the reserved request 0 are padding.
    Returns: one I12 fault, `expected` is the right length.
    Cost: about 12 small launches; no sync until `read()`.
    """
    length, known = cache_seqlens.to(torch.int64), seq_lens.to(torch.int64)
    real = torch.ones_like(length, dtype=torch.bool)
    if req_pool_indices is not None:
        real = req_pool_indices.to(torch.int64) != 0
    options = torch.tensor(added, dtype=torch.int64, device=length.device)
    wanted = known[None, :] + options[:, None]
    agreeing = ((wanted == length) | ~real).sum(dim=1)
    # Indexing with a tensor of no dimensions would read it back to the host.
    expected = wanted.index_select(0, agreeing.argmax()[None])[0]
    return Findings(
        [
            Fault(
                "I12",
                "cache_seqlens",
                real & (length != expected),
                length,
                0,
                2**31,
                expected=expected,
                request=req_pool_indices,
                kind=Found.LENGTH_NOT_THE_BATCHES,
            )
        ]
    )


def check_decode_window(
    gathered: int, lengths: Sequence[int], *, before: int, where: str
) -> Evidence | bool | None:
    """I12: of a sliding layer a decode reads the query's own token and `before` in front of it.

    Args:
        gathered: slots that are packed for all rows together, or that there is room for.
        lengths: of the rows, in tokens, the query's own included.
    Returns: evidence where each row that the window cuts has `before` slots, its own included;
        True where none lacks any; None for every other number, which the lengths do not explain,
        and where no row is longer than `before`.
    Cost: host integers; legal under capture.
    """
    whole = sum(min(length, before + 1) for length in lengths)
    short = sum(min(length, before) for length in lengths)
    if gathered != short or whole == short:
        return True if gathered == whole != short else None
    return Evidence(
        "I12",
        f"a decode reads {before} keys of a sliding window that reaches {before} tokens back from "
        f"the query, {before + 1} with its own: the oldest one is left out of each row past it",
        where,
        pool="swa",
        total=whole - short,
        rows_affected=whole - short,
        facts={"window_left": before, "slots": gathered, "slots of the whole window": whole},
        kind=Found.WINDOW_ONE_SHORT,
    )


def check_query_offsets(
    cum_seq_lens_q: Tensor, *, query_rows: int, padded: bool, max_q_len: int | None = None
) -> Findings:
    """I12: the offsets start at 0, never fall and end where the query tensor does.

    Offsets of the keys in their place pass every other check: a row then has as many
    queries as tokens, and the kernel reads past the query tensor and writes past the output.

    Args:
        cum_seq_lens_q: `(rows + 1,)`, integer, rows >= 1. Values may be anything.
        query_rows: tokens of the query tensor.
        padded: tokens behind the last row may be padding: the last offset is then at most
            `query_rows`, else exactly that.
        max_q_len: what the kernel is told the longest row has; None if it is not told.
    Returns: I12 faults over the offsets, row = position, and over the queries of each row.
    Cost: about 20 small launches; no sync until `read()`.
    """
    offsets = cum_seq_lens_q.to(torch.int64)
    low = torch.cat([offsets.new_zeros(1), offsets[:-1]]).clamp(min=0, max=query_rows)
    high = torch.full_like(offsets, query_rows + 1)
    high[:1] = 1
    if not padded:
        low[-1:] = query_rows
    faults = [
        Fault(
            "I12",
            "cum_seq_lens_q",
            (offsets < low) | (offsets >= high),
            offsets,
            low,
            high,
            kind=Found.ILLEGAL_OFFSETS,
        )
    ]
    if max_q_len is not None:
        queries = offsets.diff()
        too_many = queries > max_q_len
        kind = Found.ILLEGAL_QUERIES
        faults.append(
            Fault("I12", "queries of a row", too_many, queries, 0, max_q_len + 1, kind=kind)
        )
    return Findings(faults)
