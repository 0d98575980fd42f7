"""I3: the KV slots that a forward writes.

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
    if num_real_tokens is not None:
        real = token < num_real_tokens
    elif req_pool_indices is not None:
        real = req_pool_indices[token // tokens_per_row] != 0
    else:
        real = ~((loc >= 0) & (loc < space.page_size))
    outside, low, high = _outside(loc, real, space)
    faults = [Fault("I3", "out_cache_loc", outside, loc, low, high)]
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
    faults.append(Fault("I3", "swa_loc", outside, written, low, high, expected, known))
    return Findings(faults)


def _outside(slots: Tensor, real: Tensor, space: IndexSpace) -> tuple[Tensor, Tensor, Tensor]:
    low = torch.where(real, space.page_size, 0)
    high = torch.where(real, space.page_size * space.num_pages, space.page_size)
    return (slots < low) | (slots >= high), low, high
