"""A transferred request with a cached prefix gets the prefix's slots as its write slots."""

from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import torch
from triage.lab.patching import replaced

NAME = "pd_prebuilt_prefix_slots"
REFERENCE = "https://github.com/sgl-project/sglang/pull/24230"
SUBSYSTEM = "PD disaggregation (decode, prebuilt batch)"
WHAT = (
    "prepare_for_prebuilt takes out_cache_loc from the start of the request's row; with a prefix hit on the decode side"
    " these are the cached prefix's (shared) slots, not those of the transferred part."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "out_cache_loc of the prebuilt batch names slots of the shared prefix instead of the request's own ones.",
    "keywords": ["out_cache_loc", "prefix", "shared", "wrong slot", "row"],
}
PAGE = 16


def edited(function, *pairs):
    """The released function with a few of its lines put back to their earlier form."""
    import __future__
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(function))
    for released, earlier in pairs:
        assert source.count(released) == 1, (source.count(released), released)
        source = source.replace(released, earlier)
    scope = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__} before the fix>", "exec", flags, True), function.__globals__, scope)
    return scope[function.__name__]


@contextmanager
def plant(harmed):
    from sglang.srt.managers.schedule_batch import ScheduleBatch

    def make(original):
        earlier = edited(
            original, ("pre_len : pre_len + req.extend_range.length", ": req.extend_range.length")
        )

        def prepare_for_prebuilt(self):
            earlier(self)
            at = 0
            for req in self.reqs:
                start, count = len(req.prefix_indices), req.extend_range.length
                right = self.req_to_token_pool.req_to_token[req.req_pool_idx, start : start + count].to(torch.int64)
                if not torch.equal(self.out_cache_loc[at : at + count], right):
                    harmed(f"request {req.rid}: write slots {self.out_cache_loc[at : at + 3].tolist()}..., right {right[:3].tolist()}...")
                at += count

        return prepare_for_prebuilt

    with replaced(ScheduleBatch, "prepare_for_prebuilt", make):
        yield


def drive(lab):
    from array import array

    from sglang.srt.disaggregation import decode_schedule_batch_mixin as module
    from sglang.srt.managers.schedule_batch import ReqKvInfo, ScheduleBatch

    bench = lab.bench(cache="chunk", requests=0)
    allocator, rows = bench.runtime.token_to_kv_pool_allocator, bench.runtime.req_to_token_pool
    zero, total = torch.tensor([0]), 5 * PAGE
    lab.event("a prefix is held by the decode server")
    two = torch.tensor([2 * PAGE])
    prefix = allocator.alloc_extend(zero, zero, two, two, torch.tensor([-1]), 2 * PAGE)
    lab.step()
    lab.event("a request with that prefix arrives from the prefill server")
    req = SimpleNamespace(
        rid="pd", req_pool_idx=None, inflight_middle_chunks=0, kv_committed_len=total, prefix_indices=prefix,
        origin_input_ids=array("q", range(total)), output_ids=array("q", [7]), retracted_stain=False, already_computed=0,
        cached_tokens=0, cached_tokens_device=0, is_retracted=False, multimodal_inputs=None,
        extend_range=SimpleNamespace(length=total - 2 * PAGE, start=2 * PAGE, end=total),
        kv=ReqKvInfo(kv_allocated_len=total, swa_evicted_seqlen=0),
    )
    rows.alloc([req])
    length = torch.tensor([total])
    own = allocator.alloc_extend(two, two, length, length, prefix[-1:], total - 2 * PAGE)
    rows.write((req.req_pool_idx, slice(0, total)), torch.cat([prefix, own]).to(torch.int32))
    lab.step()
    lab.event("its batch is built")
    batch = ScheduleBatch(
        reqs=[req], req_to_token_pool=rows, token_to_kv_pool_allocator=allocator, tree_cache=bench.driver.tree_cache,
        device="cpu", model_config=SimpleNamespace(vocab_size=1000, is_encoder_decoder=False),
    )
    with mock.patch.object(module.SamplingBatchInfo, "from_schedule_batch", lambda *a, **m: None):
        batch.prepare_for_prebuilt()
    lab.step()
    lab.event("it ends")
    allocator.free(own)
    rows.free(req)
    req.kv = None
    allocator.free(prefix)
    lab.step()
