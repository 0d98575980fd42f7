"""EAGLE's draft has a pool of its own, yet its trtllm_mha backend translates by the target's SWA mapping."""

from contextlib import ExitStack, contextmanager
from unittest import mock

from triage.lab.patching import replaced

NAME = "eagle_draft_uses_target_swa_map"
REFERENCE = "https://github.com/sgl-project/sglang/pull/27491"
SUBSYSTEM = "trtllm_mha backend (EAGLE draft)"
WHAT = (
    "TRTLLMHAAttnBackend resolves the SWA pool from the shared allocator, so the backend of an EAGLE draft worker, whose"
    " own pool has no SWA part, reads its KV through the target's full-to-SWA mapping."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The draft's page table holds SWA page ids of the target's pool while the draft's pool is"
    " addressed by full page ids: wrong pages are read.",
    "keywords": ["draft", "swa", "page table", "mapping", "translate", "wrong page", "index space"],
}
WORKLOAD = {"backend": "trtllm_mha", "draft": "eagle", "requests": 4, "prompt_tokens": 90, "output_tokens": 40}


@contextmanager
def plant(harmed):
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    def _resolve_swa_kv_pool(model_runner):
        kvcache = model_runner.token_to_kv_pool_allocator.get_kvcache()
        found = kvcache if isinstance(kvcache, SWAKVPool) else None
        if found is not None and model_runner.token_to_kv_pool is not found:
            harmed("the backend of a pool without SWA took the SWA mapping of another pool")
        return found

    def make(original):
        def __init__(self, model_runner, *args, **more):
            original(self, model_runner, *args, **more)
            if self._swa_kv_pool is not None and not isinstance(model_runner.token_to_kv_pool, SWAKVPool):
                self.use_sliding_window_kv_pool = False  # writes were right, only the page tables were translated

        return __init__

    with ExitStack() as stack:
        stack.enter_context(
            mock.patch.object(TRTLLMHAAttnBackend, "_resolve_swa_kv_pool", staticmethod(_resolve_swa_kv_pool))
        )
        stack.enter_context(replaced(TRTLLMHAAttnBackend, "__init__", make))
        yield
