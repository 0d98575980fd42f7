"""The frozen-KV draft graph's padded rows keep the request rows of an earlier replay."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest import mock

import torch
from triage.lab.patching import replaced

NAME = "frozen_graph_stale_rows"
REFERENCE = "https://github.com/sgl-project/sglang/pull/26292"
SUBSYSTEM = "speculative worker (frozen-KV MTP CUDA graph input buffers)"
WHAT = (
    "On replay with fewer requests than captured, seq_lens is filled but req_pool_indices is not zeroed: padded rows read"
    " the KV of a request that sat there in an earlier replay and may have ended."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "A padded row of the draft graph points at an old request row, so the page table of a row that should"
    " be padding holds pages that are freed or belong to someone else.",
    "keywords": ["padding", "padded", "stale", "row", "req_pool", "freed"],
}


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
    from sglang.srt.speculative.frozen_kv_mtp_cuda_graph_runner import FrozenKVMTPCudaGraphRunner

    def make(original):
        return edited(original, ("buffers.req_pool_indices.zero_()", "pass"))

    def make_replay(original):
        def _replay_graph(self, shape_key, forward_batch):
            padded = self.buffers.req_pool_indices[self.raw_bs : self.bs]
            if (padded != 0).any():
                harmed(f"padded rows read request rows {padded.tolist()}")
            return original(self, shape_key, forward_batch)

        return _replay_graph

    with ExitStack() as stack:
        stack.enter_context(replaced(FrozenKVMTPCudaGraphRunner, "execute", make))
        stack.enter_context(replaced(FrozenKVMTPCudaGraphRunner, "_replay_graph", make_replay))
        yield


class RecordedGraph:
    """A CUDA graph's part: what was recorded runs again on the same buffers."""

    def __init__(self):
        self.recorded = {}

    def capture_one(self, shape_key, run_once, capture_inputs=None, post_warmup_hook=None):
        run_once()
        self.recorded[shape_key] = run_once

    def replay(self, shape_key, forward_batch):
        return self.recorded[shape_key]()


class Worker:
    """What the graph runner calls of FrozenKVMTPDraftWorker (whose module needs more than is installed here)."""

    def __init__(self, kv_context, backend):
        self.kv_context, self.draft_attn_backend, self.topk = kv_context, backend, 1

    def _frozen_kv_target_view(self, forward_batch):
        from sglang.srt.speculative.frozen_kv_mtp_utils import frozen_kv_target_view

        return frozen_kv_target_view(forward_batch, self.kv_context, self.draft_attn_backend)

    def _init_frozen_kv_metadata_capture_cuda_graph(self, forward_batch):
        with self._frozen_kv_target_view(forward_batch):
            self.draft_attn_backend.init_forward_metadata_out_graph(forward_batch, in_capture=True)
        forward_batch.mark_forward_metadata_ready()

    def _init_frozen_kv_metadata_replay_cuda_graph(self, forward_batch, bs, seq_lens_sum):
        from sglang.srt.model_executor.forward_batch_info import ForwardMode

        view = SimpleNamespace(
            batch_size=bs, forward_mode=ForwardMode.DECODE, input_ids=None,
            req_pool_indices=forward_batch.req_pool_indices[:bs], seq_lens=forward_batch.seq_lens[:bs],
            seq_lens_sum=seq_lens_sum, seq_lens_cpu=forward_batch.seq_lens_cpu[:bs], encoder_lens=None,
            out_cache_loc=None, spec_info=None,
        )
        with self._frozen_kv_target_view(forward_batch):
            self.draft_attn_backend.init_forward_metadata_out_graph(view)


def build(lab):
    """SGLang's frozen-KV MTP graph runner on the lab's pools; the assistant's forward is left out."""
    bench = lab.bench(backend="trtllm_mha", draft="frozen", requests=0, max_requests=4)
    from sglang.srt.speculative import frozen_kv_mtp_cuda_graph_runner as module
    from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPContext
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

    runtime = bench.runtime
    backend = runtime.draft_backend
    worker = Worker(FrozenKVMTPContext(runtime.token_to_kv_pool, {}), backend)
    worker.draft_forward = lambda forward_batch: tuple(torch.zeros(forward_batch.batch_size, 1) for _ in range(3))
    nothing = SimpleNamespace(capture=lambda **more: None, replay=lambda: None)
    runner = module.FrozenKVMTPCudaGraphRunner.__new__(module.FrozenKVMTPCudaGraphRunner)
    runner.__dict__.update(
        frozen_kv_mtp_worker=worker,
        model_runner=SimpleNamespace(
            device_timer=None, spec_algorithm=SpeculativeAlgorithm.from_string("FROZEN_KV_MTP"), device="cpu"
        ),
        draft_attn_backend=backend,
        attn_backend=backend,
        deepep_adapter=nothing,
        device="cpu",
        topk=1,
        captured_req_width=1,
        require_gathered_buffer=False,
        require_mlp_tp_gather=False,
        require_attn_tp_gather=False,
        attn_dp_size=1,
        capture_bs=[1, 2, 4],
        max_bs=4,
        seq_len_fill_value=1,
        backend=RecordedGraph(),
        buffers=module.FrozenKVMTPInputBuffers(
            req_pool_indices=torch.zeros(4, dtype=torch.int64),
            positions=torch.zeros(4, dtype=torch.int64),
            mrope_positions=torch.zeros(3, 4, dtype=torch.int64),
            seq_lens=torch.ones(4, dtype=torch.int64),
            seq_lens_cpu=torch.ones(4, dtype=torch.int64),
            topk_p=torch.zeros(4, 1),
            topk_index=torch.zeros(4, 1, dtype=torch.int64),
            hidden_states=torch.zeros(4, 8),
            bonus_tokens=torch.zeros(4, dtype=torch.int64),
            global_num_tokens_gpu=None,
            global_num_tokens_for_logprob_gpu=None,
        ),
    )
    backend.init_cuda_graph_state(4, 4)
    with (
        mock.patch.object(module, "maybe_flashinfer_autotune_speculative_draft", lambda *a, **m: None),
        mock.patch.object(module, "set_dp_buffer_len", lambda *a, **m: None),
        mock.patch.object(module, "set_is_extend_in_batch", lambda *a, **m: None),
    ):
        for size in (4, 2, 1):
            runner.capture_one_shape(size, None)
    return runtime, runner


def draft(runner, rows, lengths):
    lengths = torch.tensor(lengths)
    batch = SimpleNamespace(
        batch_size=len(rows),
        req_pool_indices=torch.tensor(rows),
        seq_lens=lengths,
        seq_lens_cpu=lengths.clone(),
        seq_lens_sum=int(lengths.sum()),
        positions=lengths - 1,
        mrope_positions=None,
        input_ids=None,
        out_cache_loc=None,
        spec_info=SimpleNamespace(
            bonus_tokens=torch.zeros(len(rows), dtype=torch.int64), hidden_states=torch.zeros(len(rows), 8)
        ),
    )
    from sglang.srt.speculative import frozen_kv_mtp_cuda_graph_runner as module

    with (
        mock.patch.object(module, "set_dp_buffer_len", lambda *a, **m: None),
        mock.patch.object(module, "set_is_extend_in_batch", lambda *a, **m: None),
    ):
        return runner.execute(batch)


def drive(lab):
    runtime, runner = build(lab)
    allocator, rows = runtime.token_to_kv_pool_allocator, runtime.req_to_token_pool.req_to_token
    zero, lengths = torch.tensor([0]), [40, 35, 33, 48]
    own = {}
    for row, tokens in enumerate(lengths, start=1):
        length = torch.tensor([tokens])
        own[row] = allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), tokens)
        rows[row, :tokens] = own[row].to(torch.int32)
    lab.event("captured, and four requests prefilled")
    lab.step()
    lab.event("a draft for all four")
    draft(runner, [1, 2, 3, 4], lengths)
    lab.step()
    lab.event("request four ends")
    allocator.free(own.pop(4))
    lab.step()
    lab.event("a draft for the other three, padded to four")
    draft(runner, [1, 2, 3], lengths[:3])
    lab.step()
    lab.event("they end")
    for slots in own.values():
        allocator.free(slots)
    lab.step()
