"""What SGLang's ngram worker hands to a verification: its own NgramVerifyInput, a chain of drafts.

The worker has no draft model; the forward is one of the target, over `draft_tokens` slots a row.
By hand, because the worker's corpus is a compiled package: tokens, and a mask in which each draft
sees the prefix and the drafts before it.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor


def verify_input(lengths: Tensor, width: int) -> Any:
    """For rows whose prefixes have `lengths` tokens, `(rows,)`; `width` drafts each."""
    from sglang.srt.speculative.ngram_info import NgramVerifyInput

    rows = len(lengths)
    drafts = torch.arange(width)
    order = drafts.repeat(rows, 1)
    mask = torch.cat(
        [
            torch.cat([torch.ones(width, int(n), dtype=torch.bool), _chain(width)], dim=1).flatten()
            for n in lengths.tolist()
        ]
    )
    following = torch.where(drafts + 1 < width, drafts + 1, -1).repeat(rows, 1)
    fields = {
        "draft_token": torch.zeros(rows * width, dtype=torch.int64),
        "tree_mask": mask,  # up to 0.5.13.post1
        "custom_mask": mask,
        "positions": (lengths[:, None] + drafts).flatten(),
        "retrieve_index": order + width * torch.arange(rows)[:, None],
        "retrieve_next_token": following,
        "retrieve_next_sibling": torch.full_like(following, -1),
        "draft_token_num": width,
    }
    names = inspect.signature(NgramVerifyInput).parameters
    return NgramVerifyInput(**{name: each for name, each in fields.items() if name in names})


def _chain(width: int) -> Tensor:
    return torch.ones(width, width, dtype=torch.bool).tril()
