"""I12: the lengths a launch reads are those of the forward it belongs to.

The failure: metadata of an earlier forward is used again, or built with the
wrong convention (prefix, with the queries, with the draft tokens). Every id is
still right for some moment, so neither range nor identity notices. The rule: a
row's length is the scheduler's length plus what the mode adds, the same for
every row of a decode or verify.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings


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
            )
        ]
    )
