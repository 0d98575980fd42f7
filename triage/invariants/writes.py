"""I3, I20: the KV slots that a forward writes, and that they are those it reads them from.

The failure: a token written into the dummy page, past the pool, or into an SWA
slot other than its own; nothing fails until some later read. The rule: a real
token has a legal slot, its SWA slot is the one the mapping names, and padded
tokens write the dummy page only.

Not covered: two tokens writing one slot (I20 judges the allocator's answer).
"""

from __future__ import annotations

import torch
from torch import Tensor

from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found
from triage.invariants.reads import IndexSpace


def check_writes(
    out_cache_loc: Tensor,
    space: IndexSpace,
    *,
    swa_loc: Tensor | None = None,
    swa_space: IndexSpace | None = None,
    full_to_swa: Tensor | None = None,
    req_pool_indices: Tensor | None = None,
    tokens_per_row: int = 1,
    num_real_tokens: int | Tensor | None = None,
) -> Findings:
    """I3 for every token of one forward.

    A token is real if its number is below `num_real_tokens`; without that, if
    the request index of its row, token // tokens_per_row, is not the reserved 0.
    Without either nothing is known of padding: the dummy page is then legal for
    every token, and a slot in it counts as padding.

    Real: PS <= loc < P * PS (1 <= loc for PS == 1), and its SWA slot lies in the
    SWA pool's range and equals full_to_swa[loc]. Padded: both in page 0.

    Args:
        out_cache_loc: `(tokens,)`, integer, full-pool slots. Values may be anything.
        swa_loc: `(tokens,)`, SWA slots as written; needs `swa_space`.
        full_to_swa: `(slots,)`, not empty; without it only the range of `swa_loc` is judged.
        req_pool_indices: `(rows,)`, rows * tokens_per_row >= tokens.
    Returns: I3 faults over `out_cache_loc` and `swa_loc`, row = token.
    Cost: 43 small launches, no sync until `read()`.
    """
    loc = out_cache_loc.to(torch.int64)
    token = torch.arange(len(loc), device=loc.device)
    request = None
    if req_pool_indices is not None:
        request = req_pool_indices[token // tokens_per_row]
    if num_real_tokens is not None:
        real = token < num_real_tokens
    elif request is not None:
        real = request != 0
    else:
        real = ~((loc >= 0) & (loc < space.page_size))
    outside, low, high = _outside(loc, real, space)
    kind = Found.WRITE_OUTSIDE_POOL
    faults = [Fault("I3", "out_cache_loc", outside, loc, low, high, request=request, kind=kind)]
    if swa_loc is None or swa_space is None:
        return Findings(faults)

    written = swa_loc.to(torch.int64)
    outside, low, high = _outside(written, real, swa_space)
    expected = known = None
    if full_to_swa is not None:
        known = real & (loc >= 0) & (loc < len(full_to_swa))
        expected = full_to_swa[loc.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
        known = known & (expected >= 0)
        outside = outside | (known & (written != expected))
    faults.append(
        Fault(
            "I3",
            "swa_loc",
            outside,
            written,
            low,
            high,
            expected,
            known,
            request=request,
            kind=Found.WRITE_NOT_MAPPED_SLOT,
        )
    )
    return Findings(faults)


def check_own_slots(
    out_cache_loc: Tensor,
    req_pool_indices: Tensor,
    cache_seqlens: Tensor,
    req_to_token: Tensor,
    *,
    page_size: int,
    q_len: int = 1,
    cum_seq_lens_q: Tensor | None = None,
) -> Findings:
    """I3: a query token's key is written where its request's row says the token is.

    Query j of a row with q queries and length L is the token at position L - q + j, in
    every mode whose attention reads what it has just written; the kernel finds it through
    the row. Not for a draft that writes nothing (frozen KV).

    I3   loc differs from R[req, position].
    I20  R[req, position] is not in the page that R names for it: the row is at fault.

    Args:
        out_cache_loc: `(tokens,)`; tokens behind the last row's are padding.
        req_pool_indices, cache_seqlens: `(rows,)`; request 0 is padding.
        q_len: queries of every row; `cum_seq_lens_q` `(rows + 1,)` replaces it.
    Cost: about 45 small launches; no sync until `read()`.
    """
    loc, request = out_cache_loc.to(torch.int64), req_pool_indices.to(torch.int64)
    length = cache_seqlens.to(torch.int64)
    token = torch.arange(len(loc), device=loc.device)
    if cum_seq_lens_q is None:
        row = token // q_len
        query, queries = token - row * q_len, torch.full_like(length, q_len)
        judged = row < len(length)
        row = row.clamp(max=len(length) - 1)
    else:
        offsets = cum_seq_lens_q.to(torch.int64).contiguous()
        judged = token < offsets[-1]
        row = torch.searchsorted(offsets[1:].contiguous(), token, right=True)
        row = row.clamp(max=len(length) - 1)
        query, queries = token - offsets[row], offsets.diff()
    mine, position = request[row], length[row] - queries[row] + query
    requests, context = req_to_token.shape
    judged = judged & (mine > 0) & (mine < requests) & (position >= 0) & (position < context)
    mine, position = mine.clamp(0, requests - 1), position.clamp(0, context - 1)
    place = position.remainder(page_size)
    own = req_to_token[mine, position].to(torch.int64)
    first = req_to_token[mine, position - place].to(torch.int64)
    sound = (own == first + place) & (own >= page_size)
    wrong = judged & sound & (loc != own)
    return Findings(
        [
            Fault(
                "I20",
                "req_to_token",
                judged & ~sound,
                own,
                0,
                2**31,
                first + place,
                kind=Found.ROW_LEAVES_ITS_PAGE,
            ),
            Fault("I3", "out_cache_loc", wrong, loc, 0, 2**31, own, kind=Found.WRITE_NOT_OWN_SLOT),
        ]
    )


def _outside(slots: Tensor, real: Tensor, space: IndexSpace) -> tuple[Tensor, Tensor, Tensor]:
    low = torch.where(real, space.page_size, 0)
    high = torch.where(real, space.page_size * space.num_pages, space.page_size)
    return (slots < low) | (slots >= high), low, high
