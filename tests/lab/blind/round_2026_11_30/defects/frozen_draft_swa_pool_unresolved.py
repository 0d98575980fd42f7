"""The frozen-KV draft reads the target's KV, but its trtllm_mha backend believes there is no SWA pool."""

from contextlib import contextmanager
from unittest import mock

NAME = "frozen_draft_swa_pool_unresolved"
REFERENCE = "https://github.com/sgl-project/sglang/pull/26966"
SUBSYSTEM = "trtllm_mha backend (frozen-KV MTP)"
WHAT = (
    "TRTLLMHAAttnBackend looks at the draft worker's own pool when it is built; that is no SWA pool, so the draft's"
    " sliding layers get full-pool page ids and read past the smaller SWA buffer (illegal memory access)."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "A sliding layer of the draft was given page ids of the full pool instead of SWA page ids (the SWA page"
    " table is missing).",
    "keywords": ["swa", "full", "page table", "out of range", "translate", "page id"],
}
WORKLOAD = {"backend": "trtllm_mha", "draft": "frozen", "requests": 4, "prompt_tokens": 90, "output_tokens": 40}


@contextmanager
def plant(harmed):
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

    def _resolve_swa_kv_pool(model_runner):
        pool = model_runner.token_to_kv_pool
        if isinstance(pool, SWAKVPool):
            return pool
        if isinstance(model_runner.token_to_kv_pool_allocator.get_kvcache(), SWAKVPool):
            harmed("the draft that reads an SWA pool was built without it")
        return None

    with mock.patch.object(TRTLLMHAAttnBackend, "_resolve_swa_kv_pool", staticmethod(_resolve_swa_kv_pool)):
        yield
