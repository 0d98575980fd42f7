"""The padded tail of the captured SWA write slots keeps the slots of an earlier replay."""

from contextlib import contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "triton_graph_swa_tail"
REFERENCE = "https://github.com/sgl-project/sglang/pull/24743"
SUBSYSTEM = "triton backend (CUDA graph write slots)"
WHAT = (
    "The graph's SWA write-slot buffer is not zeroed past the live tokens, so the padded tokens of a smaller batch write"
    " their junk KV into SWA slots that an earlier replay had used and that belong to live requests."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Padding rows write KV into SWA slots of other, live requests: the tail of the SWA write slots is stale.",
    "keywords": ["padding", "padded", "stale", "swa_out_cache_loc", "write", "tail", "slot"],
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
    from sglang.srt.layers.attention.triton_backend import TritonAttnBackend

    def make(original):
        earlier = edited(original, ("    self.cuda_graph_swa_out_cache_loc[n:].zero_()\n", ""))

        def _fill_cuda_graph_swa_out_cache_loc(self, forward_batch):
            out = earlier(self, forward_batch)
            if out is not None:
                tail = self.cuda_graph_swa_out_cache_loc[out.shape[0] :]
                if (tail > 0).any():
                    harmed(f"behind {out.shape[0]} live tokens stand the SWA slots {tail[tail > 0].tolist()}")
            return out

        return _fill_cuda_graph_swa_out_cache_loc

    with replaced(TritonAttnBackend, "_fill_cuda_graph_swa_out_cache_loc", make):
        yield


def drive(lab):
    from sglang.srt.mem_cache.memory_pool import KVWriteLoc
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    bench = lab.bench(backend="triton", draft="none", requests=0, max_requests=4)
    runtime = bench.runtime
    allocator, backend, pool = runtime.token_to_kv_pool_allocator, runtime.target_backend, runtime.token_to_kv_pool
    rows = runtime.req_to_token_pool.req_to_token
    sliding = next(layer for layer in runtime.layers if pool.layers_mapping[layer.layer_id][1])
    backend.init_cuda_graph_state(4, 4)
    length = torch.tensor([PAGE])
    zero = torch.tensor([0])
    own = [allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), PAGE) for _ in range(4)]
    for row, slots in enumerate(own, start=1):
        rows[row, :PAGE] = slots.to(torch.int32)

    def batch(live):
        seq_lens = torch.tensor([PAGE] * live + [1] * (4 - live))
        return SimpleNamespace(
            batch_size=4,
            req_pool_indices=torch.tensor([1, 2, 3, 4][:live] + [0] * (4 - live)),
            seq_lens=seq_lens,
            seq_lens_cpu=seq_lens,
            seq_lens_sum=int(seq_lens.sum()),
            forward_mode=ForwardMode.DECODE,
            spec_info=None,
            encoder_lens=None,
            out_cache_loc=torch.stack([slots[PAGE - 1] for slots in own[:live]]),
        )

    def graph(live):
        loc = torch.zeros(4, dtype=torch.int64)
        loc[:live] = batch(live).out_cache_loc
        key = torch.zeros(4, sliding.tp_k_head_num, sliding.qk_head_dim, dtype=pool.dtype)
        value = torch.zeros(4, sliding.tp_v_head_num, sliding.v_head_dim, dtype=pool.dtype)
        pool.set_kv_buffer(sliding, KVWriteLoc(loc, backend.cuda_graph_swa_out_cache_loc[:4]), key, value)

    lab.event("capture for four")
    backend.init_forward_metadata_out_graph(batch(4), in_capture=True)
    lab.step()
    lab.event("replay with four requests")
    backend.init_forward_metadata_out_graph(batch(4))
    graph(4)
    lab.step()
    lab.event("replay with two of them, padded to four")
    backend.init_forward_metadata_out_graph(batch(2))
    graph(2)
    lab.step()
    lab.event("all end")
    for slots in own:
        allocator.free(slots)
    lab.step()
