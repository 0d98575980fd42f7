"""I25 and I24: what admission sets aside, and the two ends of a transfer.

The failure of I25: a request is admitted on its bare tokens, and the pages its extend
takes are not there when they are asked for. Seen at `PrefillAdder._update_prefill_budget`,
which every way of admission passes; what the host cache loads back is allocated by then,
so it needs no reserve. The failure of I24: a transfer pairs two index lists of unequal
length, or writes a page of the other server twice. Seen where KV transfers of every backend
pair them, and at HiCache's load and write (what goes over there: `host_transfers.py`). Not
seen: writes after an abort, which happen on the other machine.

Host integers only.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Any

import numpy as np

from triage.evidence import Evidence
from triage.invariants.geometry import check_budget, check_transfer
from triage.invariants.transfers import check_destinations
from triage.sglang.reporter import Reporter

BUDGET = "sglang.srt.managers.schedule_policy.PrefillAdder._update_prefill_budget"
PAIRING = "group_concurrent_contiguous"
TRANSFERS = "sglang.srt.disaggregation.common.utils"
HOST_CACHE = "sglang.srt.managers.cache_controller.HiCacheController"


class Admission:
    """Stands around the budget of a prefill and around transfers."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def around_budget(self, original: Any, adder: Any, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(original).bind(adder, *args, **kwargs).arguments
        before = reserved(adder)
        result = original(adder, *args, **kwargs)
        self._fire(
            check_budget(
                tokens=int(given["extend_input_len"]),
                page_size=int(adder.page_size),
                reserved=reserved(adder) - before,
            )
        )
        return result

    def around_pairing(self, original: Any, source: Any, destination: Any) -> Any:
        """An empty side means that there is nothing to transfer, in every release."""
        if len(source) and len(destination):
            self._fire(check_transfer(len(source), len(destination)))
            if isinstance(destination, np.ndarray):
                self._fire(check_destinations(destination, "kv transfer"))
        return original(source, destination)

    def around_host_cache(self, original: Any, cache: Any, *args: Any, **kwargs: Any) -> Any:
        indices = args[0] if args else next(iter(kwargs.values()))
        result = original(cache, *args, **kwargs)
        if result is not None:
            where = f"HiCacheController.{original.__name__}"
            self._fire(check_transfer(len(indices), len(result), where=where))
        return result

    def _fire(self, found: Evidence | None) -> None:
        if found is not None:
            self.reporter.fire_event(found)


def reserved(adder: Any) -> int:
    """Tokens set aside for what is admitted and not allocated yet."""
    budget = getattr(adder, "memory_budget", None)  # from 0.5.23 an object of its own
    return int(adder.cur_rem_token_offset if budget is None else budget.current_offset)


def pairing_targets() -> tuple[str, ...]:
    """Every loaded name of the pairing function: the modules that took it before us too."""
    try:
        function = getattr(importlib.import_module(TRANSFERS), PAIRING, None)
    except ModuleNotFoundError:
        return (f"{TRANSFERS}.{PAIRING}",)  # the caller lists it as absent
    holders = [
        name
        for name, module in list(sys.modules.items())
        if name.startswith("sglang.srt.disaggregation.") and name != TRANSFERS
        if function is not None and getattr(module, PAIRING, None) is function
    ]
    return tuple(f"{name}.{PAIRING}" for name in (TRANSFERS, *holders))
