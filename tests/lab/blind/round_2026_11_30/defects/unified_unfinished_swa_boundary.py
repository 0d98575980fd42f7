"""The unified cache inserts an unfinished request's evicted SWA prefix as live SWA KV."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "unified_unfinished_swa_boundary"
REFERENCE = "https://github.com/sgl-project/sglang/pull/29350"
SUBSYSTEM = "unified radix cache (SWA component)"
WHAT = (
    "SWAComponent.prepare_for_caching_req forwards swa_evicted_seqlen for finished requests only; an unfinished one whose"
    " prefix has no SWA slots (PD decode allocates the window's tail only) is cached as if it had."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "A cached node counts as holding SWA KV, but its SWA slots are the padding slot 0: it has none (the"
    " evictable size is too large, a match would read slot 0).",
    "keywords": ["swa", "slot 0", "tombstone", "evicted", "evictable", "unmapped", "mapping"],
}
PAGE = 16


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.unified_cache.cache_action import SWARebuild
    from sglang.srt.mem_cache.unified_cache.components.swa_component import SWAComponent

    def make_prepare(original):
        def prepare_for_caching_req(self, req, insert_params, token_ids_len, is_finished):
            if is_finished:
                insert_params.swa_evicted_seqlen = req.kv.swa_evicted_seqlen
            return None

        return prepare_for_caching_req

    def make_apply(original):
        def apply_component_action(self, action):
            if isinstance(action, SWARebuild):
                swa = self._translate_full_to_swa(action.source_value)
                if (swa <= 0).any():
                    harmed(f"a node takes SWA slot 0 for the full slots {action.source_value[swa <= 0].tolist()}")
            return original(self, action)

        return apply_component_action

    with ExitStack() as stack:
        stack.enter_context(replaced(SWAComponent, "prepare_for_caching_req", make_prepare))
        stack.enter_context(replaced(SWAComponent, "apply_component_action", make_apply))
        yield


def drive(lab):
    from array import array

    from sglang.srt.environ import envs
    from sglang.srt.managers.schedule_batch import ReqKvInfo

    fill, tail = 8 * PAGE, 4 * PAGE
    bench = lab.bench(cache="unified", requests=0, window=3 * PAGE, kv_shared_layers=0)
    allocator, tree, rows = (
        bench.runtime.token_to_kv_pool_allocator,
        bench.driver.tree_cache,
        bench.runtime.req_to_token_pool,
    )
    tokens = array("q", range(2000, 2000 + fill))
    req = SimpleNamespace(
        rid="pd", origin_input_ids=tokens, output_ids=array("q"), req_pool_idx=None, extra_key=None, cache_salt=None,
        priority=0, cache_protected_len=0, last_node=tree.root_node_handle(), prefix_indices=None, session=None,
        inflight_middle_chunks=0, kv_committed_len=fill, get_fill_ids=lambda: tokens, swa_uuid_for_lock=None,
        skip_lock_node_ids={}, swa_prefix_lock_released=False, kv=None, mamba_pool_idx=None, session_id=None,
    )
    with envs.SGLANG_OPT_UNIFIED_CACHE_FREE_OUT_OF_WINDOW_SLOTS.override(False):
        lab.event("decode allocates for a transferred request: full KV for all, SWA KV for the tail")
        rows.alloc([req])
        zero, length = torch.tensor([0]), torch.tensor([fill])
        slots = allocator.alloc_extend_swa_tail(zero, zero, length, length, torch.tensor([-1]), fill, tail)
        rows.write((req.req_pool_idx, slice(0, fill)), slots.to(torch.int32))
        req.kv = ReqKvInfo(kv_allocated_len=fill, swa_evicted_seqlen=fill - tail)
        lab.step()
        lab.event("it is cached while it goes on")
        tree.cache_unfinished_req(req)
        lab.step()
        lab.event("it ends")
        tree.cache_finished_req(req, kv_len_to_handle=fill)
        rows.free(req)
        req.kv = None
        lab.step()
