"""Fix `state-swap`: a backend's SWA state moves together with the KV pool it belongs to.

The failure (sgl-project/sglang#26957): frozen-KV MTP swaps the draft backend's
KV pool for the target's SWAKVPool while the draft runs, but the backend goes on
with the SWA state it took from its own pool at construction. It then hands
full-pool page ids to sliding-window layers.

The rule: while one of SGLang's two views is active, `_swa_kv_pool`,
`_swa_full_to_swa_mapping` and, where it gates reads, `use_sliding_window_kv_pool`
(as far as the release has them) are those of the pool in the view; afterwards,
also after an exception, the very same objects are back. A backend whose state is right
already is not touched at all.

CUDA graphs bake in what the backend held at capture: the swap spans the whole
capture of a frozen-KV draft graph, and the buffer for its SWA table is allocated
whenever the model has a sliding window, since it is bound before any view is
entered. Replays refill that buffer inside a view.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import torch

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.construction import Draft, uninitialised
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed, not_applicable
from triage.sglang.launch.pools import is_hybrid, stale_state

VIEWS = "sglang.srt.speculative.frozen_kv_mtp_utils"
BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"

RUNNER = "sglang.srt.speculative.frozen_kv_mtp_cuda_graph_runner"
CAPTURES = ("capture_one_shape", "capture_one_batch_size")  # from 0.5.14; before

_ABSENT = object()


class StateSwap(Fix):
    """`uses` counts the views and captures in which the state was not right already."""

    name = "state-swap"
    what = "a frozen-KV draft's SWA state moves together with the KV pool that is swapped in"

    def __init__(self) -> None:
        super().__init__()
        self._frozen_drafts: WeakSet[Any] = WeakSet()

    @staticmethod
    def probe() -> Probe:
        """Enter the real view with a frozen-KV draft's backend and look at its state inside."""
        if importlib.util.find_spec(VIEWS) is None:
            return not_applicable("this SGLang has no frozen-KV MTP")
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend
        from sglang.srt.speculative import frozen_kv_mtp_utils as views

        draft = Draft("FROZEN_KV_MTP")
        resolved = draft.swa_pool()
        backend = uninitialised(
            TRTLLMHAAttnBackend, token_to_kv_pool=draft.own_pool, _swa_kv_pool=resolved
        )
        backend.use_sliding_window_kv_pool = resolved is not None
        if resolved is not None:
            backend._swa_full_to_swa_mapping = resolved.full_to_swa_index_mapping
        batch = SimpleNamespace(
            spec_info=None, token_to_kv_pool=draft.own_pool, attn_backend=backend
        )
        context = SimpleNamespace(target_token_to_kv_pool=draft.target_pool)
        view = views.frozen_kv_target_view
        takes_backend = "draft_attn_backend" in inspect.signature(view).parameters
        with view(batch, context, backend) if takes_backend else view(batch, context):
            stale = stale_state(backend, draft.target_pool)
        if stale is None:
            return already_fixed("inside the view the backend's SWA state is the target pool's")
        return needed("inside the view the backend keeps the SWA state of the draft's own pool")

    def hooks(self) -> list[Hook]:
        why = f"fix {self.name}"
        return [
            Hook(f"{VIEWS}.frozen_kv_target_view", self.beside_view, why, context=True),
            Hook(f"{VIEWS}.target_kv_pool_view", self.beside_view, why, context=True),
            Hook(f"{BACKEND}.__init__", self.around_init, why),
            Hook(f"{BACKEND}._alloc_swa_page_table", self.around_table, why),
            Hook(_capture_path(), self.around_capture, why),
            *(Hook(path, self.beside_worker_view, why, context=True) for path in _worker_views()),
        ]

    # -- the views ---------------------------------------------------------------------

    def beside_view(self, original: Any, *args: Any, **kwargs: Any) -> Generator[None, Any, None]:
        """What `Shell.around_context` takes, as all of these."""
        if not self.armed:
            return
        bound = inspect.signature(original).bind(*args, **kwargs).arguments
        backend = bound.get("draft_attn_backend")
        if backend is None:  # 0.5.12.post1 passes only the batch
            backend = getattr(bound["forward_batch"], "attn_backend", None)
        pool = getattr(bound["kv_context"], "target_token_to_kv_pool", None)
        yield
        with self.swapped(backend, pool):
            yield

    def beside_worker_view(
        self, original: Any, worker: Any, forward_batch: Any
    ) -> Generator[None, Any, None]:
        """The worker's own view method: it knows its backend where the view is not told."""
        if not self.armed:
            return
        pool = getattr(worker.kv_context, "target_token_to_kv_pool", None)
        yield
        with self.swapped(worker.draft_attn_backend, pool):
            yield

    @contextmanager
    def swapped(self, backend: Any, pool: Any) -> Iterator[None]:
        """Inside, the SWA state of `backend` is that of `pool`; afterwards it is as it was."""
        if backend is None or not is_hybrid(pool) or stale_state(backend, pool) is None:
            yield
            return
        wanted = {
            "_swa_kv_pool": pool,
            "_swa_full_to_swa_mapping": pool.full_to_swa_index_mapping,
        }
        if not hasattr(backend, "_resolve_swa_kv_pool"):
            # Gates reads and writes in 0.5.12.post1. Later it gates writes alone, which a
            # frozen-KV draft has none of: SGLang itself leaves it False there.
            wanted["use_sliding_window_kv_pool"] = True
        saved = {name: vars(backend).get(name, _ABSENT) for name in wanted}
        saved = {name: value for name, value in saved.items() if value is not _ABSENT}
        self.uses += 1
        try:
            for name in saved:
                setattr(backend, name, wanted[name])
            yield
        finally:
            for name, value in saved.items():
                setattr(backend, name, value)

    # -- graph capture -----------------------------------------------------------------

    def around_capture(self, original: Any, runner: Any, *args: Any, **kwargs: Any) -> Any:
        """Capture one shape with the backend's SWA state that of the target's pool."""
        if not self.armed:
            return original(runner, *args, **kwargs)
        pool = runner.frozen_kv_mtp_worker.kv_context.target_token_to_kv_pool
        with self.swapped(runner.draft_attn_backend, pool):
            return original(runner, *args, **kwargs)

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


def _capture_path() -> str:
    """Dotted path of the method in which a frozen-KV graph is captured, on this release."""
    from sglang.srt.speculative import frozen_kv_mtp_cuda_graph_runner as module

    runner = module.FrozenKVMTPCudaGraphRunner
    name = next((name for name in CAPTURES if name in vars(runner)), CAPTURES[0])
    return f"{RUNNER}.{runner.__name__}.{name}"


def _worker_views() -> list[str]:
    """View methods of the worker, where the views themselves are not told the backend.

    0.5.12.post1 builds metadata inside a view before the batch knows its backend.
    """
    from sglang.srt.speculative import frozen_kv_mtp_utils as views

    if "draft_attn_backend" in inspect.signature(views.frozen_kv_target_view).parameters:
        return []
    module = "sglang.srt.speculative.frozen_kv_mtp_worker"
    try:
        importlib.import_module(module)
    except ImportError:  # needs sgl_kernel; where it cannot be imported it cannot run either
        return []
    worker = f"{module}.FrozenKVMTPWorker"
    return [f"{worker}._frozen_kv_target_view", f"{worker}._target_kv_pool_view"]
