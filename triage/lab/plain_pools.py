"""Pools of one kind under SGLang's ScheduleBatch and RadixCache: no window, no mapping.

What most models are served from: an MHA or MLA pool, pages of any size or of one token, the
plain radix tree. With an attention backend every layer is full and reads an MHA pool; without
one no layer runs, and a step is what it does to pages, rows and locks.

Stubs are those of `drivers/schedule_batch.py`, and the forward where no layer runs.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from triage.lab.drivers.schedule_batch import Scheduler
from triage.lab.geometry import Geometry
from triage.lab.runtime import Runtime
from triage.lab.scenarios import Scenario
from triage.lab.steps import StepGuard

KINDS = ("mha", "mla")


class PlainRuntime(Runtime):
    """A request table, a pool of `kind` and its allocator.

    backend: of attention, over layers that are all full; "" for none, and no layers.
    """

    def __init__(
        self,
        geometry: Geometry,
        kind: str,
        backend: str = "",
        chunk: int | None = None,
        dtype: Any = None,
    ) -> None:
        self.kind = kind
        full = replace(geometry, full_every=1)
        super().__init__(
            full,
            draft_tokens=1,
            draft_steps=1,
            draft="none",
            backend=backend,
            chunk=chunk,
            dtype=dtype,
        )

    def _construct(self) -> None:
        self._pools()
        if self.backend:
            self.layers = [self._layer(index) for index in range(self.geometry.num_layers)]
            self.target_backend = self._attention(self._runner(self.token_to_kv_pool, None))

    def _pools(self) -> None:
        from sglang.srt.mem_cache.memory_pool import MLATokenToKVPool, ReqToTokenPool

        g = self.geometry
        size, page = g.full_pages * g.page_size, g.page_size
        self.req_to_token_pool = ReqToTokenPool(
            size=g.max_requests,
            max_context_len=g.context_len + 4 + self.draft_tokens,
            device="cpu",
            enable_memory_saver=False,
        )
        if self.kind == "mla":
            self.token_to_kv_pool: Any = MLATokenToKVPool(
                size=size,
                page_size=page,
                dtype=self.dtype,
                kv_lora_rank=8,
                qk_rope_head_dim=4,
                layer_num=1,
                device="cpu",
                enable_memory_saver=False,
            )
        else:
            self.token_to_kv_pool = self._own_pool(size, g.own_kv_layers)
        self.token_to_kv_pool_allocator = _allocator(page)(
            size,
            **({} if page == 1 else {"page_size": page}),
            dtype=self.dtype,
            device="cpu",
            kvcache=self.token_to_kv_pool,
            need_sort=False,
        )


class PlainScheduler(Scheduler):
    """The ScheduleBatch driver without layers."""

    def __init__(self, scenario: Scenario, runtime: PlainRuntime, guard: StepGuard) -> None:
        super().__init__(scenario, runtime, SimpleNamespace(step=0), 0, guard)

    def _forward(self, batch: Any, starts: Any, counts: Any) -> None:
        self.cur_batch = batch
        self.guard.release(self.guard.begin())


def _allocator(page_size: int) -> Any:
    """SGLang's, by the token or by the page; one module up to 0.5.12.post1."""
    from sglang.srt.mem_cache import allocator

    name = "TokenToKVPoolAllocator" if page_size == 1 else "PagedTokenToKVPoolAllocator"
    found = getattr(allocator, name, None)
    if found is not None:
        return found
    from importlib import import_module

    module = "token" if page_size == 1 else "paged"
    return getattr(import_module(f"sglang.srt.mem_cache.allocator.{module}"), name)
