"""Which rank this process is, as far as SGLang can say: tensor, pipeline, data, and its draft's.

The failure: eight dumps of one crash, and nothing in them tells whose is whose. Host
attributes only; nothing is kept and no device or peer is asked. What SGLang does not know is
left out, never guessed: a reader says "not recorded".

Source: `Scheduler.ps` (0.5.13.post1 and later), the same names on `Scheduler` itself
(0.5.12.post1); where there is no scheduler, `distributed.parallel_state`'s groups.
"""

from __future__ import annotations

import sys
from typing import Any

KINDS = ("tp", "pp", "dp", "attn_tp", "attn_dp", "moe_ep")
GROUPS = {"tp": "_TP", "pp": "_PP"}


def ranks(scheduler: Any = None) -> dict[str, int]:
    """Rank and `_size` by kind, and `draft`: the TP rank of the draft worker. May be empty."""
    found: dict[str, int] = {}
    for owner in (getattr(scheduler, "ps", None), scheduler):
        for kind in KINDS:
            _note(found, kind, getattr(owner, f"{kind}_rank", None))
            _note(found, f"{kind}_size", getattr(owner, f"{kind}_size", None))
    module = sys.modules.get("sglang.srt.distributed.parallel_state")
    for kind, name in GROUPS.items():
        group = getattr(module, name, None)
        _note(found, kind, getattr(group, "rank_in_group", None))
        _note(found, f"{kind}_size", getattr(group, "world_size", None))
    _note(found, "draft", getattr(getattr(scheduler, "draft_worker", None), "tp_rank", None))
    return found


def several(known: dict[str, int]) -> bool:
    """Do other processes hold the tables that this one holds?"""
    return known.get("tp_size", 1) * known.get("pp_size", 1) > 1


def _note(found: dict[str, int], name: str, value: Any) -> None:
    if type(value) is int:
        found.setdefault(name, value)
