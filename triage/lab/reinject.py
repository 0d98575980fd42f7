"""Put a historical defect back into a fixed SGLang, so that traps and fixes can be shown.



`stale-swa-state` (sgl-project/sglang#26957): a backend takes its SWA state from
its model runner's own KV pool. For a frozen-KV draft that pool is not hybrid,
so the backend never translates, whatever pool it reads later. No released wheel
has this form; the patch below is the pool resolution as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from triage.errors import LabError, did_you_mean
from triage.lab.patching import replaced


@contextmanager
def stale_swa_state() -> Iterator[None]:
    """Resolve the SWA pool from the runner's own pool only, at construction."""
    from sglang.srt.layers.attention.flashinfer_backend import FlashInferAttnBackend
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    from triage.sglang.launch.pools import is_hybrid

    def own_pool_only(model_runner: Any) -> Any:
        pool = model_runner.token_to_kv_pool
        return pool if is_hybrid(pool) else None

    def init(original: Any) -> Any:
        def __init__(self: Any, model_runner: Any, *args: Any, **kwargs: Any) -> None:
            original(self, model_runner, *args, **kwargs)
            self._swa_kv_pool = own_pool_only(model_runner)
            self.use_sliding_window_kv_pool = self._swa_kv_pool is not None

        return __init__

    resolvers = [
        owner
        for owner in (FlashInferAttnBackend, TRTLLMHAAttnBackend)
        if "_resolve_swa_kv_pool" in vars(owner)
    ]
    with ExitStack() as stack:
        for owner in resolvers:
            stack.enter_context(
                replaced(owner, "_resolve_swa_kv_pool", lambda original: own_pool_only)
            )
        if not resolvers:
            stack.enter_context(replaced(TRTLLMHAAttnBackend, "__init__", init))
        yield


@contextmanager
def full_ids_in_window() -> Iterator[None]:
    """Triton, FA3, FlashInfer: the window's indices keep full-pool ids, untranslated.

    The original defect of FA3 and of the Triton backend before hybrid pools; no listed
    wheel has it. What is put in is the builder's own full stream or table.
    """
    from triage.lab.backends import released_names
    from triage.lab.builders import stand_in_sgl_kernel

    stand_in_sgl_kernel()
    from sglang.srt.layers.attention.flashattention_backend import FlashAttentionBackend
    from sglang.srt.layers.attention.triton_backend import TritonAttnBackend

    def untranslated(original: Any) -> Any:
        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            original(self, forward_batch)
            metadata = self.forward_metadata
            if getattr(metadata, "swa_page_table", None) is not None:
                metadata.swa_page_table = metadata.page_table
            if getattr(metadata, "window_kv_indices", None) is not None:
                _full_slots(metadata)

        return init_forward_metadata

    def planned(original: Any) -> Any:
        def call_begin_forward(*args: Any, **kwargs: Any) -> Any:
            return original(*args, **{**kwargs, "use_sliding_window_kv_pool": False})

        return call_begin_forward

    with ExitStack() as stack:
        for owner in (FlashAttentionBackend, TritonAttnBackend):
            stack.enter_context(replaced(owner, "init_forward_metadata", untranslated))
        for updater in released_names().values():
            stack.enter_context(replaced(updater, "call_begin_forward", planned))
        yield


def _full_slots(metadata: Any) -> None:
    """The newest of each row's full slots, as many as its window holds."""
    window, full = metadata.window_kv_indptr.tolist(), metadata.kv_indptr.tolist()
    for row in range(len(full) - 1):
        start, stop = window[row], window[row + 1]
        newest = metadata.kv_indices[full[row + 1] - (stop - start) : full[row + 1]]
        metadata.window_kv_indices[start:stop] = newest


REINJECTIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "stale-swa-state": stale_swa_state,
    "full-ids-in-window": full_ids_in_window,
}


def check_name(name: str) -> None:
    """Raises LabError with the known ones if no defect is called `name`."""
    if name not in REINJECTIONS:
        meant = did_you_mean(name, REINJECTIONS)
        raise LabError(f"no defect {name!r}{meant}; known: {', '.join(REINJECTIONS)}")


def reinject(name: str) -> AbstractContextManager[None]:
    """A context in which the defect called `name` is back, or LabError with the known ones."""
    check_name(name)
    return REINJECTIONS[name]()
