"""Who holds rows, pages and speculative rows, read from SGLang's own host objects.

What `step_books.py` compares: rows that are given out, the slots that they name, pages as a
mask, and whether anybody besides requests and the tree may hold some.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.sglang.holders import kept_by, row_of

_SPECULATIVE = ("topk_p", "topk_index", "hidden_states", "bonus_tokens", "verified_id")


def spec_rows(spec_info: Any) -> dict[str, int]:
    """SGLang's name of each tensor of a draft's input -> its rows; none for other algorithms.

    Under overlap the tensors come later: what is there is where each request's will be.
    """
    if not any(each.__name__ == "EagleDraftInput" for each in type(spec_info).__mro__):
        return {}
    future = getattr(spec_info, "future_indices", None)
    if future is not None:
        indices = getattr(future, "indices", future)  # an object of its own up to 0.5.15.post1
        return {"future_indices": len(indices)} if isinstance(indices, Tensor) else {}
    tensors = {name: getattr(spec_info, name, None) for name in _SPECULATIVE}
    return {name: len(each) for name, each in tensors.items() if isinstance(each, Tensor)}


def live_rows(table: Any) -> set[int]:
    """Rows of a request table that are given out; row 0 is nobody's."""
    return set(range(1, len(table.req_to_token))) - {int(row) for row in table.free_slots}


def named_slots(table: Any, requests: list[Any], empty: set[int]) -> np.ndarray:
    """What the live rows name: of a known request what it has allocated, else the whole row.

    empty: rows that were given out just now and hold only what their last request left.
    """
    rows = sorted(live_rows(table) - empty)
    named = to_host(table.req_to_token[rows])
    known = {row_of(request): request for request in requests}
    for row, slots in zip(rows, named, strict=True):
        if row in known:
            held = max(
                kept_by(known[row], name) for name in ("kv_allocated_len", "kv_committed_len")
            )
            slots[held:] = 0
    return named


def nobody_else_holds(scheduler: Any, cache: Any) -> bool:
    """Are requests and the tree the only ones that hold pages and locks here?"""
    mode = getattr(scheduler, "disaggregation_mode", None)
    if getattr(mode, "name", "NULL") not in ("NULL", "null"):
        return False
    if getattr(cache, "cache_controller", None) is not None:
        return False
    # Streaming sessions: a unified tree has them as a part, others are wrapped by them.
    return not any(
        getattr(each, "slots", None) for each in (cache, getattr(cache, "session", None))
    )


def pages_of(slots: np.ndarray | None, page_size: int, pages: int) -> np.ndarray:
    mask = np.zeros(pages, dtype=bool)
    if slots is not None:
        named = slots.reshape(-1) // page_size
        mask[named[(named > 0) & (named < pages)]] = True
    return mask


def to_host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(torch.int64).cpu().numpy()
