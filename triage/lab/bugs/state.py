"""Defects of speculative state, sizes and the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

from triage.lab.bugs.bug import SGLANG, Bug, Harmed, small
from triage.lab.bugs.released import own_pool_is_told_apart
from triage.lab.patching import replaced


def _view_not_left(harmed: Harmed) -> AbstractContextManager[None]:
    """The view puts the target's pool in and does not take it out."""
    from sglang.srt.speculative import frozen_kv_mtp_utils

    def make(original: Any) -> Any:
        def target_kv_pool_view(forward_batch: Any, kv_context: Any, *backend: Any) -> Any:
            holder = backend[0] if backend else forward_batch
            holder.token_to_kv_pool = kv_context.target_token_to_kv_pool
            yield
            harmed()

        return target_kv_pool_view

    return replaced(frozen_kv_mtp_utils, "target_kv_pool_view", make)


def _small_draft_pool(harmed: Harmed) -> AbstractContextManager[Any]:
    """The draft's pool is sized like the SWA pool, its slots come from the full one."""
    from triage.lab.runtime import Runtime

    own_pool = Runtime._own_pool

    def sized(self: Runtime, size: int, layers: int) -> Any:
        harmed()
        return own_pool(self, self.geometry.swa_pages * self.geometry.page_size, layers)

    return mock.patch.object(Runtime, "_own_pool", sized)


@contextmanager
def _dirty_workspace(harmed: Harmed) -> Iterator[None]:
    """A launch leaves a split-K counter behind; SGLang's buffer outlives the run."""
    from triage.lab.emulated_gpu import EmulatedGpu

    launch = EmulatedGpu.launch

    def dirty(self: EmulatedGpu, call: Any) -> Any:
        result = launch(self, call)
        if self.launches == 20:
            counters = call.arguments.get("multi_ctas_kv_counter_buffer")
            if counters is None:
                counters = call.arguments["workspace_buffer"]
            counters[4] = 1
            touched.append(counters)
            harmed()
        return result

    touched: list[Any] = []
    with mock.patch.object(EmulatedGpu, "launch", dirty):
        try:
            yield
        finally:
            for counters in touched:
                counters[4] = 0


STATE = (
    Bug(
        "view-not-left",
        "a frozen-KV view leaves the target's pool in the draft backend",
        f"{SGLANG}/issues/26957",
        ("I23",),
        inject=_view_not_left,
        cause="state-not-restored",
    ),
    Bug(
        "draft-pool-too-small",
        "a draft that owns its pool has fewer rows than the shared allocator hands out",
        f"{SGLANG}/issues/25103",
        ("I19",),
        inject=_small_draft_pool,
        scenario=small(draft="eagle"),
        applies=own_pool_is_told_apart,
        cause="draft-pool-too-small",
    ),
    Bug(
        "dirty-workspace",
        "a split-K counter is not zero between launches",
        "https://github.com/flashinfer-ai/flashinfer/issues/3864",
        ("I27",),
        inject=_dirty_workspace,
        cause="dirty-workspace",
    ),
)
