"""Put a historical defect back into a fixed SGLang, so that traps and fixes can be shown.

`stale-swa-state` (sgl-project/sglang#26957): a backend takes its SWA state from
its model runner's own KV pool. For a frozen-KV draft that pool is not hybrid,
so the backend never translates, whatever pool it reads later. No released wheel
has this form; the patch below is the pool resolution as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triage.errors import LabError


def stale_swa_state() -> None:
    """Resolve the SWA pool from the runner's own pool only, at construction."""
    from sglang.srt.layers.attention.flashinfer_backend import FlashInferAttnBackend
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    from triage.sglang.pools import is_hybrid

    def own_pool_only(model_runner: Any) -> Any:
        pool = model_runner.token_to_kv_pool
        return pool if is_hybrid(pool) else None

    resolvers = [
        owner
        for owner in (FlashInferAttnBackend, TRTLLMHAAttnBackend)
        if "_resolve_swa_kv_pool" in vars(owner)
    ]
    if resolvers:
        for owner in resolvers:
            owner._resolve_swa_kv_pool = staticmethod(own_pool_only)
        return

    original = TRTLLMHAAttnBackend.__init__

    def init(self: Any, model_runner: Any, *args: Any, **kwargs: Any) -> None:
        original(self, model_runner, *args, **kwargs)
        self._swa_kv_pool = own_pool_only(model_runner)
        self.use_sliding_window_kv_pool = self._swa_kv_pool is not None

    TRTLLMHAAttnBackend.__init__ = init


REINJECTIONS: dict[str, Callable[[], None]] = {"stale-swa-state": stale_swa_state}


def reinject(name: str) -> None:
    """Apply the defect called `name`, or raise LabError with the known ones."""
    if name not in REINJECTIONS:
        raise LabError(f"no defect {name!r}; known: {', '.join(REINJECTIONS)}")
    REINJECTIONS[name]()
