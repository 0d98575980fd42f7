"""Fix `state-swap`: a backend's SWA state moves together with the KV pool it belongs to.

The failure (sgl-project/sglang#26957): frozen-KV MTP swaps the draft backend's
KV pool for the target's SWAKVPool while the draft runs, but the backend goes on
with the SWA state it took from its own pool at construction. It then hands
full-pool page ids to sliding-window layers.

The rule: while one of SGLang's two views is active, `_swa_kv_pool`,
`use_sliding_window_kv_pool` and `_swa_full_to_swa_mapping` (as far as the
release has them) are those of the pool in the view; afterwards, also after an
exception, the very same objects are back. A backend whose state is right
already is not touched at all. The graph buffers a draft backend allocates for
its SWA table are allocated whenever the model has a sliding window, since the
capture binds them before any view is entered.

Not covered yet: the swap around the frozen-KV CUDA-graph capture itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

import torch

from triage.sglang.hooks import Hook
from triage.sglang.pools import is_hybrid, stale_state

VIEWS = "sglang.srt.speculative.frozen_kv_mtp_utils"
BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"

_ABSENT = object()


class StateSwap:
    """The fix, armed from construction on. `swaps` counts the views in which it was needed."""

    def __init__(self) -> None:
        self.armed = True
        self.swaps = 0
        self._frozen_drafts: WeakSet[Any] = WeakSet()

    def hooks(self) -> list[Hook]:
        why = "fix state-swap"
        return [
            Hook(f"{VIEWS}.frozen_kv_target_view", self.around_view, why),
            Hook(f"{VIEWS}.target_kv_pool_view", self.around_view, why),
            Hook(f"{BACKEND}.__init__", self.around_init, why),
            Hook(f"{BACKEND}._alloc_swa_page_table", self.around_table, why),
        ]

    # -- the views ---------------------------------------------------------------------

    def around_view(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.armed:
            return original(*args, **kwargs)
        return self._view(original, args, kwargs)

    @contextmanager
    def _view(self, original: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        bound = inspect.signature(original).bind(*args, **kwargs).arguments
        backend = bound.get("draft_attn_backend")
        if backend is None:  # 0.5.12.post1 passes only the batch
            backend = getattr(bound["forward_batch"], "attn_backend", None)
        pool = getattr(bound["kv_context"], "target_token_to_kv_pool", None)
        with original(*args, **kwargs) as value, self.swapped(backend, pool):
            yield value

    @contextmanager
    def swapped(self, backend: Any, pool: Any) -> Iterator[None]:
        """Inside, the SWA state of `backend` is that of `pool`; afterwards it is as it was."""
        if backend is None or not is_hybrid(pool) or stale_state(backend, pool) is None:
            yield
            return
        wanted = {
            "_swa_kv_pool": pool,
            "use_sliding_window_kv_pool": True,
            "_swa_full_to_swa_mapping": pool.full_to_swa_index_mapping,
        }
        saved = {name: vars(backend).get(name, _ABSENT) for name in wanted}
        saved = {name: value for name, value in saved.items() if value is not _ABSENT}
        self.swaps += 1
        try:
            for name in saved:
                setattr(backend, name, wanted[name])
            yield
        finally:
            for name, value in saved.items():
                setattr(backend, name, value)

    # -- the graph buffer --------------------------------------------------------------

    def around_init(
        self, original: Any, backend: Any, model_runner: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Remember which backends read a frozen target pool of a model with a window."""
        algorithm = getattr(model_runner, "spec_algorithm", None)
        if (
            self.armed
            and getattr(model_runner, "is_draft_worker", False)
            and getattr(model_runner, "sliding_window_size", None) is not None
            and algorithm is not None
            and algorithm.is_frozen_kv_mtp()
        ):
            self._frozen_drafts.add(backend)
        return original(backend, model_runner, *args, **kwargs)

    def around_table(self, original: Any, backend: Any, max_bs: int, max_num_pages: int) -> Any:
        """Allocate the buffer that a capture inside the view will bind, if SGLang did not."""
        table = original(backend, max_bs, max_num_pages)
        if table is None and self.armed and backend in self._frozen_drafts:
            table = torch.zeros(max_bs, max_num_pages, dtype=torch.int32, device=backend.device)
        return table
