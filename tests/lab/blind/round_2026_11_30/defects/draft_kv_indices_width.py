"""The draft graph's kv_indices rows are sized without the topk factor and overflow into the next step's row."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import torch
from triage.lab.patching import replaced

NAME = "draft_kv_indices_width"
REFERENCE = "https://github.com/sgl-project/sglang/pull/27338"
SUBSYSTEM = "speculative worker (multi-step draft buffers, triton)"
WHAT = (
    "init_cuda_graph_state gives each draft step max_bs * max_context_len kv_indices, but topk branches each need the whole"
    " prefix: with topk > 1 the kernel writes past the row."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The kv_indices buffer of the draft is too small: max_bs * topk * max_context_len entries are needed per"
    " step, the kernel writes beyond it.",
    "keywords": ["kv_indices", "too small", "overflow", "past", "out of bounds", "topk", "beyond"],
}
STEPS, ROWS, TOPK, CONTEXT = 3, 2, 4, 32


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
    from sglang.srt.layers.attention.triton_backend import TritonMultiStepDraftBackend

    def make_state(original):
        earlier = edited(
            original,
            (
                "draft_kv_indices_buffer_width(\n        max_bs, self.topk, self.max_context_len\n    )",
                "max_bs * self.max_context_len",
            ),
        )

        def init_cuda_graph_state(self, max_bs, max_num_tokens):
            earlier(self, max_bs, max_num_tokens)
            # room behind the last row, so that the overflow harms nobody here
            steps, width = self.cuda_graph_kv_indices.shape
            room = torch.zeros(steps * width * (self.topk + 1), dtype=self.cuda_graph_kv_indices.dtype)
            self.cuda_graph_kv_indices = room[: steps * width].view(steps, width)

        return init_cuda_graph_state

    def make_template(original):
        def common_template(self, forward_batch, kv_indices_buffer, call_fn):
            width = (self.cuda_graph_kv_indices if kv_indices_buffer is None else kv_indices_buffer).shape[1]
            rows = forward_batch.batch_size * self.topk
            need = int(forward_batch.seq_lens.sum()) * self.topk + rows * self.speculative_num_steps
            if need > width:
                harmed(f"{need} kv_indices are written into a row of {width}")
            return original(self, forward_batch, kv_indices_buffer, call_fn)

        return common_template

    with ExitStack() as stack:
        stack.enter_context(replaced(TritonMultiStepDraftBackend, "init_cuda_graph_state", make_state))
        stack.enter_context(replaced(TritonMultiStepDraftBackend, "common_template", make_template))
        yield


def drive(lab):
    bench = lab.bench(draft="none", requests=0, max_requests=ROWS)
    from sglang.srt.layers.attention.triton_backend import TritonMultiStepDraftBackend

    runtime = bench.runtime
    allocator, pool = runtime.token_to_kv_pool_allocator, runtime.req_to_token_pool
    inner = SimpleNamespace(
        init_cuda_graph_state=lambda *a, **m: None, max_kv_splits=8, get_num_kv_splits=lambda *a: None,
        cuda_graph_num_kv_splits=torch.zeros(ROWS * TOPK, dtype=torch.int32), max_context_len=CONTEXT,
    )
    backend = TritonMultiStepDraftBackend.__new__(TritonMultiStepDraftBackend)
    backend.__dict__.update(
        topk=TOPK, speculative_num_steps=STEPS, kv_indptr=torch.zeros(STEPS, ROWS * TOPK + 1, dtype=torch.int32),
        attn_backends=[inner] * (STEPS - 1), max_context_len=CONTEXT, num_head=1, device="cpu", req_to_token_pool=pool,
        pool_len=pool.req_to_token.shape[1], page_size=1,
    )
    backend.init_cuda_graph_state(ROWS, ROWS * TOPK)
    zero, own = torch.tensor([0]), {}
    for row in (1, 2):
        total = torch.tensor([CONTEXT + STEPS * TOPK])
        own[row] = allocator.alloc_extend(zero, zero, total, total, torch.tensor([-1]), int(total))
        pool.req_to_token[row, : int(total)] = own[row].to(torch.int32)

    def draft(rows, tokens):
        seq_lens = torch.tensor([tokens] * len(rows))
        backend.init_forward_metadata_out_graph(
            SimpleNamespace(
                batch_size=len(rows), req_pool_indices=torch.tensor(rows), seq_lens=seq_lens,
                seq_lens_sum=int(seq_lens.sum()), seq_lens_cpu=seq_lens.clone(),
                positions=seq_lens.repeat_interleave(TOPK), spec_info=SimpleNamespace(kv_indptr=None, kv_indices=None),
            )
        )

    lab.event("two requests")
    lab.step()
    lab.event("a draft for one, short")
    draft([1], 5)
    lab.step()
    lab.event("a draft for two, long")
    draft([1, 2], 28)
    lab.step()
    lab.event("they end")
    for slots in own.values():
        allocator.free(slots)
    lab.step()
