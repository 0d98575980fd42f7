"""Defects of room: tables, types and budgets too small, and a tree that outlives its pages."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

import torch

from triage.lab.bugs.bug import SGLANG, Bug, Harmed, small
from triage.lab.bugs.released import AT_THE_WALL
from triage.lab.patching import replaced
from triage.lab.runtime import Runtime

_LONGEST = 144
"""Tokens; a request of 112 and 30 ends below it, its last step does not."""


def _request_table(change: Any) -> AbstractContextManager[Any]:
    """Runtimes whose request table is what `change(runtime, table)` returns."""
    pools = Runtime._pools

    def changed(self: Runtime) -> None:
        pools(self)
        pool = self.req_to_token_pool
        pool.req_to_token = change(self, pool.req_to_token)

    return mock.patch.object(Runtime, "_pools", changed)


def _without_headroom(harmed: Harmed) -> AbstractContextManager[Any]:
    """A request table as wide as its longest request, without room for a last step's tokens."""
    from triage.sglang.binding.names import swa_allocator_class

    kind, width = swa_allocator_class(), _LONGEST
    extend = kind.alloc_extend

    def alloc_extend(self: Any, prefix: Any, prefix_cpu: Any, seq: Any, *rest: Any) -> Any:
        if int(seq.max()) > width:
            harmed()
        return extend(self, prefix, prefix_cpu, seq, *rest)

    stack = ExitStack()
    stack.enter_context(_request_table(lambda _, table: table[:, :width].contiguous()))
    stack.enter_context(mock.patch.object(kind, "alloc_extend", alloc_extend))
    return stack


def _narrow_type(harmed: Harmed) -> AbstractContextManager[Any]:
    def change(runtime: Runtime, table: torch.Tensor) -> torch.Tensor:
        harmed()
        return table.to(torch.int8)

    return _request_table(change)


def _bare_tokens(harmed: Harmed) -> AbstractContextManager[None]:
    """Admission sets aside the tokens of a prefill, neither rounded nor with a page to spare."""
    from sglang.srt.managers.schedule_policy import PrefillAdder

    def make(original: Any) -> Any:
        def _update_prefill_budget(
            self: Any, prefix_len: int, extend_input_len: int, *args: Any, **kwargs: Any
        ) -> None:
            original(self, prefix_len, extend_input_len, *args, **kwargs)
            rounded = -(-extend_input_len // self.page_size) * self.page_size
            spared = rounded + self.page_size - extend_input_len
            budget = getattr(self, "memory_budget", None)
            if budget is None:
                self.cur_rem_token_offset -= spared
            else:
                budget.current_offset -= spared
            if rounded > extend_input_len:
                harmed()

        return _update_prefill_budget

    return replaced(PrefillAdder, "_update_prefill_budget", make)


def _swa_freed_under_a_node(harmed: Harmed) -> AbstractContextManager[None]:
    """The SWA page of a live node is freed and the node is not marked."""
    from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

    from triage.sglang.allocator.tree import flatten

    def make(original: Any) -> Any:
        done: list[bool] = []

        def cache_unfinished_req(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, req, *args, **kwargs)
            flat = flatten(self)
            if flat is not None and not done:
                live = flat.slots[~flat.tombstone[flat.node_of_slot]]
                if len(live):
                    done.append(True)
                    harmed()
                    self.token_to_kv_pool_allocator.free_swa(live[: self.page_size])
            return result

        return cache_unfinished_req

    return replaced(UnifiedRadixCache, "cache_unfinished_req", make)


def _has_a_readable_tree() -> str:
    from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

    readable = hasattr(UnifiedRadixCache, "cache_unfinished_req")
    return "" if readable else "the tree lives in a compiled core: I16 is not checked"


ROOM = (
    Bug(
        "request-table-without-headroom",
        "the request table is as wide as a request gets, a last step needs more",
        f"{SGLANG}/pull/26972",
        ("I14",),
        inject=_without_headroom,
        scenario=small(
            geometry=replace(AT_THE_WALL.geometry, context_len=2 * _LONGEST),
            prompt_tokens=112,
            output_tokens=30,
            requests=3,
        ),
        cause="request-table-too-small",
    ),
    Bug(
        "slots-in-a-narrow-type",
        "the request table's integers are too small for the pool's slots",
        "re-injected here: slots of a large pool past their integer type",
        ("I21",),
        inject=_narrow_type,
        cause="offset-overflow",
    ),
    Bug(
        "budget-in-bare-tokens",
        "admission reserves tokens where whole pages are taken",
        "re-injected here: the rounding and the page to spare of _update_prefill_budget",
        ("I25",),
        inject=_bare_tokens,
        scenario=small(draft="none", cache="unified", prompt_tokens=77),
        cause="budget-too-small",
    ),
    Bug(
        "swa-freed-under-a-live-node",
        "the SWA page of a live tree node is freed, the node is not marked",
        f"{SGLANG}/pull/12224",
        ("I16",),
        inject=_swa_freed_under_a_node,
        scenario=small(draft="none", cache="unified"),
        applies=_has_a_readable_tree,
        cause="tree-and-mapping-disagree",
    ),
)
