"""The draft's KV pool is sized by the token count before the SWA split; the target hands out larger slots."""

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "draft_pool_too_small"
REFERENCE = "https://github.com/sgl-project/sglang/pull/17630"
SUBSYSTEM = "pool sizing (hybrid SWA with a draft model)"
WHAT = (
    "The draft model (full attention only) shares the target's allocator, but its pool is sized with the token count from"
    " before the hybrid SWA adjustment, which is less than the target's full pool: KV writes run out of bounds."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The draft's KV pool has fewer slots than the allocator that serves it hands out.",
    "keywords": ["draft", "smaller", "size", "out of bounds", "out of range", "fewer", "pool"],
}
PAGE = 16


@contextmanager
def plant(harmed):
    import msgspec
    from sglang.srt.mem_cache.kv_cache_configurator import KVCacheConfigurator

    def make(original):
        def _derive_pool_sizes(self, *, config):
            sizes = original(self, config=config)
            if self.is_draft_worker and config.full_max_total_num_tokens:
                # before the adjustment: as many tokens in every layer
                full, swa = config.full_max_total_num_tokens, config.swa_max_total_num_tokens
                before = (full + 5 * swa) // 6 // PAGE * PAGE
                sizes = msgspec.structs.replace(sizes, max_total_num_tokens=before)
                if before < full:
                    harmed(f"draft pool of {before} slots under an allocator of {full}")
            return sizes

        return _derive_pool_sizes

    with replaced(KVCacheConfigurator, "_derive_pool_sizes", make):
        yield


def drive(lab):
    from sglang.srt.mem_cache.allocator.swa import SWATokenToKVPoolAllocator
    from sglang.srt.mem_cache.kv_cache_configurator import KVCacheConfigurator
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool, ReqToTokenPool
    from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
    from sglang.srt.model_executor.pool_configurator import MemoryPoolConfig

    with lab.server_args(page_size=PAGE) as server_args:
        lab.event("the pools are sized")
        config = MemoryPoolConfig(
            max_total_num_tokens=40 * PAGE, max_running_requests=4, full_max_total_num_tokens=40 * PAGE,
            swa_max_total_num_tokens=16 * PAGE,
        )
        model = SimpleNamespace(hf_config=SimpleNamespace(architectures=["LlamaForCausalLMEagle3"], model_type="llama"))
        kvc = SimpleNamespace(is_draft_worker=True, is_hybrid_swa=False, loc_space_scale=1, model_config=model)
        sizes = KVCacheConfigurator._derive_pool_sizes(kvc, config=config)
        shape = dict(dtype=torch.float16, head_num=1, head_dim=8, device="cpu", enable_memory_saver=False)
        target = SWAKVPool(
            size=40 * PAGE, size_swa=16 * PAGE, page_size=PAGE, dtype=torch.float16, head_num=1, head_dim=8,
            swa_attention_layer_ids=[0, 1, 2, 3, 4], full_attention_layer_ids=[5], device="cpu",
        )
        draft = MHATokenToKVPool(size=sizes.max_total_num_tokens, page_size=PAGE, layer_num=1, **shape)
        allocator = SWATokenToKVPoolAllocator(
            40 * PAGE, 16 * PAGE, PAGE, torch.float16, "cpu", target, False
        )
        rows = ReqToTokenPool(4, 1024, "cpu", False)
        scheduler = SimpleNamespace(
            tree_cache=None, token_to_kv_pool_allocator=allocator, req_to_token_pool=rows, server_args=server_args,
            waiting_queue=[], running_batch=None,
            draft_worker=SimpleNamespace(model_runner=SimpleNamespace(token_to_kv_pool=draft, is_draft_worker=True)),
        )
        lab.step(scheduler=scheduler)
        lab.event("a long request whose window has moved on")
        zero, length = torch.tensor([0]), torch.tensor([39 * PAGE])
        slots = allocator.alloc_extend_swa_tail(
            zero, zero, length, length, torch.tensor([-1]), 39 * PAGE, 4 * PAGE
        )
        lab.step(scheduler=scheduler)
        lab.event("the draft writes its KV for it")
        layer = SimpleNamespace(layer_id=0)
        key = torch.zeros(len(slots), 1, 8, dtype=torch.float16)
        draft.set_kv_buffer(layer, slots, key, key)
        lab.step(scheduler=scheduler)
        lab.event("it ends")
        allocator.free(slots)
        lab.step(scheduler=scheduler)
