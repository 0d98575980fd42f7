"""I14, I15: what a request owns while it lives.

The failure: the SWA side of a token is evicted while a query can still see it,
or a request grows past its row. The rule: the eviction frontier stays behind
every window in flight, and lengths stay inside what was allocated for them.

I17, release once and never under a forward, needs history: `triage/invariants/ledger.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


def check_request_rows(
    req_pool_indices: Tensor, allocated_lens: Tensor, *, num_rows: int, row_width: int
) -> Findings:
    """I14: a request's row exists, is not the reserved row 0, and is as wide as its tokens.

    Args:
        req_pool_indices, allocated_lens: `(requests,)`, integer; lengths in tokens.
        num_rows, row_width: the shape of `req_to_token`; further tables indexed by
            request (mamba, draft) are checked with their own `num_rows`.
    Returns: two I14 faults, row = position of the request.
    Cost: about 8 small launches; no sync until `read()`.
    """
    request = req_pool_indices.to(torch.int64)
    length = allocated_lens.to(torch.int64)
    stranger = (request < 1) | (request >= num_rows)
    too_long = (length < 0) | (length > row_width)
    return Findings(
        [
            Fault(
                "I14", "req_pool_indices", stranger, request, 1, num_rows, kind=Found.NO_SUCH_ROW
            ),
            Fault(
                "I14",
                "allocated_lens",
                too_long,
                length,
                0,
                row_width + 1,
                request=request,
                kind=Found.ROW_TOO_SHORT,
            ),
        ]
    )


def check_frontier(
    evicted: Tensor,
    committed: Tensor,
    allocated: Tensor,
    oldest_query: Tensor,
    *,
    window_left: int,
    page_size: int,
    protected: Tensor | None = None,
) -> Findings:
    """I15: the SWA eviction frontier is page aligned and behind every window in flight.

    Args:
        evicted: `(requests,)`, tokens whose SWA side is gone (`swa_evicted_seqlen`).
        committed, allocated: `(requests,)`, tokens known to be right, and held.
        oldest_query: `(requests,)`, position of the oldest query of any forward that
            runs or comes next.
        protected: `(requests,)`, tokens that the radix tree holds; the frontier starts
            there, so it may lie past the window's start up to that point.
    Returns: I15 faults over `swa_evicted_seqlen` (alignment, window) and over
        `kv_committed_len`; row = position of the request.
    Cost: 27 small launches; no sync until `read()`.
    Source: `free_swa_out_of_window_slots` in mem_cache/common.py.
    """
    frontier, known, held = (t.to(torch.int64) for t in (evicted, committed, allocated))
    unaligned = frontier % page_size != 0
    limit = (oldest_query.to(torch.int64) - window_left).clamp(min=0)
    if protected is not None:
        limit = torch.maximum(limit, protected.to(torch.int64))
    limit = torch.minimum(limit, known)
    past = (frontier < 0) | (frontier > limit)
    return Findings(
        [
            Fault(
                "I15",
                "swa_evicted_seqlen (page aligned)",
                unaligned,
                frontier,
                0,
                page_size,
                kind=Found.FRONTIER_NOT_ALIGNED,
            ),
            Fault(
                "I15",
                "swa_evicted_seqlen",
                past,
                frontier,
                0,
                limit + 1,
                kind=Found.FRONTIER_IN_WINDOW,
            ),
            Fault(
                "I15",
                "kv_committed_len",
                known > held,
                known,
                0,
                held + 1,
                kind=Found.COMMITTED_NOT_ALLOCATED,
            ),
        ]
    )


def check_window_mapped(
    req_pool_indices: Tensor,
    seq_lens: Tensor,
    req_to_token: Tensor,
    full_to_swa: Tensor,
    *,
    window_left: int,
    q_len: int = 1,
) -> Findings:
    """I15: every token that a query of this forward can see has an SWA slot.

    Finer than I2, which looks at page starts only. A row that holds no slot there was not
    evicted: I2, I3 and I20 judge it.

    Args:
        req_pool_indices, seq_lens: `(rows,)`, integer; lengths with the queries. Rows
            of request 0 are padding and passed over.
        req_to_token: `(requests, context)`; full_to_swa: `(slots,)`; not empty.
        window_left: tokens a query sees before itself; at least 0.
    Returns: one I15 fault, `(rows, window)`: column counts back from the newest token.
    Cost: 28 launches over rows * window; no sync until `read()`.
    """
    request = req_pool_indices.to(torch.int64)
    length = seq_lens.to(torch.int64)
    back = torch.arange(min(window_left + q_len, req_to_token.shape[1]), device=length.device)
    position = length[:, None] - 1 - back
    seen = (position >= 0) & (position < req_to_token.shape[1]) & (request != 0)[:, None]
    row = request.clamp(0, len(req_to_token) - 1)[:, None]
    slot = req_to_token[row, position.clamp(0, req_to_token.shape[1] - 1)].to(torch.int64)
    entry = full_to_swa[slot.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    wrong = seen & (slot >= 1) & (slot < len(full_to_swa)) & (entry <= 0)
    return Findings(
        [
            Fault(
                "I15",
                "full_to_swa[req_to_token]",
                wrong,
                entry,
                1,
                2**31,
                request=request,
                kind=Found.WINDOW_NOT_MAPPED,
            )
        ]
    )
