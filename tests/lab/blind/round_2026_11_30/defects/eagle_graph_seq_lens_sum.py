"""EAGLE's draft graph pads the batch but not seq_lens_sum, by which kv_indices is sliced."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "eagle_graph_seq_lens_sum"
REFERENCE = "https://github.com/sgl-project/sglang/pull/26880"
SUBSYSTEM = "speculative worker (EAGLE draft CUDA graph) and flashinfer draft backend"
WHAT = (
    "EAGLEDraftCudaGraphRunner pads seq_lens and req_pool_indices to the captured batch, but leaves seq_lens_sum at the raw"
    " batch; the multi-step backend sizes and slices each step's kv_indices by a sum that does not belong to the batch."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "seq_lens_sum of the draft's replay does not count the padded rows, so it disagrees with seq_lens (the"
    " kv_indices slices made from it are too short for the padded batch).",
    "keywords": ["kv_indices", "short", "seq_lens_sum", "padded", "sum", "length"],
}
STEPS, ROWS, CONTEXT = 3, 4, 64


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
    from sglang.srt.speculative.eagle_draft_cuda_graph_runner import EAGLEDraftCudaGraphRunner

    def make(original):
        return edited(
            original,
            (
                "        if raw_seq_lens_sum is not None:\n"
                "            forward_batch.seq_lens_sum = (\n"
                "                raw_seq_lens_sum + (bs - raw_bs) * self.seq_len_fill_value\n"
                "            )\n",
                "",
            ),
        )

    def make_replay(original):
        def _replay_graph(self, shape_key, forward_batch):
            for step, (told, lengths) in enumerate(self.draft_attn_backend.planned):
                if told != int(lengths.sum()):
                    harmed(f"step {step}: seq_lens_sum {told} for the lengths {lengths.tolist()}")
            return original(self, shape_key, forward_batch)

        return _replay_graph

    with ExitStack() as stack:
        stack.enter_context(replaced(EAGLEDraftCudaGraphRunner, "execute", make))
        stack.enter_context(replaced(EAGLEDraftCudaGraphRunner, "_replay_graph", make_replay))
        yield


def drive(lab):
    bench = lab.bench(draft="none", requests=0, max_requests=ROWS)
    from sglang.srt.layers.attention import flashinfer_backend
    from sglang.srt.speculative.eagle_draft_cuda_graph_runner import EAGLEDraftCudaGraphRunner, EagleDraftInputBuffers

    runtime = bench.runtime
    allocator, pool = runtime.token_to_kv_pool_allocator, runtime.req_to_token_pool
    backend = flashinfer_backend.FlashInferMultiStepDraftBackend.__new__(
        flashinfer_backend.FlashInferMultiStepDraftBackend
    )
    planned = []

    def plan(inner, in_capture=False):
        planned.append((inner.seq_lens_sum, inner.seq_lens.clone()))

    backend.__dict__.update(
        topk=1, speculative_num_steps=STEPS, generate_draft_decode_kv_indices=flashinfer_backend.generate_draft_decode_kv_indices,
        page_size=16, kv_indptr=torch.zeros(STEPS, ROWS + 1, dtype=torch.int32), max_context_len=CONTEXT,
        pool_len=pool.req_to_token.shape[1], req_to_token_pool=pool, planned=planned,
        attn_backends=[SimpleNamespace(init_forward_metadata_out_graph=plan) for _ in range(STEPS - 1)],
        cuda_graph_kv_indices=torch.zeros(STEPS, ROWS * CONTEXT, dtype=torch.int32),
    )
    long = dict(dtype=torch.int64)
    runner = EAGLEDraftCudaGraphRunner.__new__(EAGLEDraftCudaGraphRunner)
    runner.__dict__.update(
        model_runner=SimpleNamespace(
            model_config=SimpleNamespace(vocab_size=1000), device_timer=None,
            server_args=SimpleNamespace(speculative_use_rejection_sampling=False),
        ),
        draft_attn_backend=backend, attn_backend=backend, deepep_adapter=SimpleNamespace(replay=lambda: None),
        captured_req_width=1, require_mlp_tp_gather=False, require_gathered_buffer=False, capture_bs=[1, 2, 4],
        max_bs=ROWS, seq_len_fill_value=1, speculative_num_steps=STEPS, topk=1,
        backend=SimpleNamespace(replay=lambda key, batch: tuple(torch.zeros(ROWS, 1) for _ in range(3)) + (None,)),
        buffers=EagleDraftInputBuffers(
            input_ids=torch.zeros(ROWS, **long), req_pool_indices=torch.zeros(ROWS, **long),
            out_cache_loc=torch.zeros(ROWS * STEPS, **long), positions=torch.zeros(ROWS, **long),
            mrope_positions=torch.zeros(3, ROWS, **long), rids_int=None, bootstrap_room_ids_int=None,
            seq_lens=torch.ones(ROWS, **long), seq_lens_cpu=torch.ones(ROWS, **long),
            extend_seq_lens=torch.ones(ROWS, dtype=torch.int32), topk_p=torch.zeros(ROWS, 1),
            topk_index=torch.zeros(ROWS, 1, **long), draft_probs=None, hidden_states=torch.zeros(ROWS, 8),
            global_num_tokens_gpu=None, global_num_tokens_for_logprob_gpu=None,
        ),
    )
    zero, lengths, own = torch.tensor([0]), [20, 37, 18], {}
    for row, tokens in enumerate(lengths, start=1):
        total = torch.tensor([tokens + STEPS])
        own[row] = allocator.alloc_extend(zero, zero, total, total, torch.tensor([-1]), tokens + STEPS)
        pool.req_to_token[row, : tokens + STEPS] = own[row].to(torch.int32)

    def draft(rows):
        seq_lens = torch.tensor([lengths[row - 1] for row in rows])
        spec = SimpleNamespace(
            topk_p=torch.zeros(len(rows), 1), topk_index=torch.zeros(len(rows), 1, **long), draft_probs=None,
            hidden_states=torch.zeros(len(rows), 8), dsa_topk_indices=None, kv_indptr=None, kv_indices=None,
            is_draft_input=lambda: True,
        )
        planned.clear()
        runner.execute(
            SimpleNamespace(
                batch_size=len(rows), seq_lens=seq_lens, seq_lens_cpu=seq_lens.clone(), seq_lens_sum=int(seq_lens.sum()),
                out_cache_loc=torch.cat([own[row][-STEPS:] for row in rows]), positions=seq_lens.clone(),
                req_pool_indices=torch.tensor(rows), rids_int=None, bootstrap_room_ids_int=None, spec_info=spec,
                sampling_info=None, forward_mode=None,
            )
        )

    lab.event("three requests")
    lab.step()
    lab.event("a draft for two")
    draft([1, 2])
    lab.step()
    lab.event("a draft for three, padded to four")
    draft([1, 2, 3])
    lab.step()
    lab.event("they end")
    for slots in own.values():
        allocator.free(slots)
    lab.step()
