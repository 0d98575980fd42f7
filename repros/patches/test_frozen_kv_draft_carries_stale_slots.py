import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.model_executor.cuda_graph_buffer_registry import build_eager_registry
from sglang.srt.model_executor.forward_batch_info import (
    CaptureHiddenMode,
    ForwardBatch,
    ForwardMode,
)
from sglang.srt.speculative import frozen_kv_mtp_cuda_graph_runner as runner_module
from sglang.srt.speculative import frozen_kv_mtp_worker_v2 as worker_module
from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPDraftInput
from sglang.test.test_utils import CustomTestCase

PROMPT = 3  # tokens, as in the request that a server without a tokenizer warms up with
HIDDEN = 4


def draft_worker(**attributes):
    worker = worker_module.FrozenKVMTPDraftWorker.__new__(worker_module.FrozenKVMTPDraftWorker)
    worker.__dict__.update(
        topk=1,
        speculative_num_steps=2,
        speculative_num_draft_tokens=3,
        _model_runner=None,
        cuda_graph_runner=None,
        **attributes,
    )
    return worker


def draft_behind_prefill(worker, requests):
    """`draft` of a real worker for a batch that was prefilled and then became the running one."""
    lengths = torch.full((requests,), PROMPT, dtype=torch.int64)
    spec_info = FrozenKVMTPDraftInput()
    spec_info.bonus_tokens = torch.arange(requests)
    spec_info.hidden_states = torch.zeros(requests, HIDDEN)
    spec_info.capture_hidden_mode = CaptureHiddenMode.LAST
    # What the target's prefill left in the scheduler's batch: a slot for each prompt token.
    slots = torch.arange(1, requests * PROMPT + 1)
    batch = SimpleNamespace(
        forward_mode=ForwardMode.DECODE,
        spec_info=spec_info,
        seq_lens=lengths,
        seq_lens_cpu=lengths,
        out_cache_loc=slots,
    )

    def init_new(batch, _runner):
        return ForwardBatch(
            forward_mode=batch.forward_mode,
            batch_size=requests,
            input_ids=torch.zeros(requests * PROMPT, dtype=torch.int64),
            req_pool_indices=torch.arange(requests),
            seq_lens=batch.seq_lens,
            seq_lens_cpu=batch.seq_lens_cpu,
            out_cache_loc=batch.out_cache_loc,
            seq_lens_sum=batch.seq_lens_sum,
            positions=batch.spec_info.positions,
            spec_info=batch.spec_info,
            capture_hidden_mode=batch.spec_info.capture_hidden_mode,
        )

    with (
        mock.patch.object(worker_module.ForwardBatch, "init_new", init_new),
        mock.patch.object(worker_module, "build_tree_kernel_efficient", lambda *_: (None,) * 6),
    ):
        worker.draft(batch)


class TestEagerFrozenKVDraft(CustomTestCase):
    """The first draft step behind a prefill runs without CUDA graphs."""

    def handed(self, requests):
        """The batch that the eager runner is given."""
        handed = []

        def draft_forward(forward_batch):
            forward_batch.input_ids = forward_batch.spec_info.bonus_tokens  # the seed step
            handed.append(forward_batch)
            return None, None, None

        draft_behind_prefill(draft_worker(draft_forward=draft_forward), requests)
        return handed[0]

    def test_its_inputs_fit_the_eager_buffers(self):
        for requests in (1, 2):
            with self.subTest(requests=requests):
                batch = self.handed(requests)
                registry = build_eager_registry(
                    device=torch.device("cpu"),
                    max_bs=4,
                    max_num_token=16,
                    cache_loc_dtype=torch.int64,
                )
                sizes = {
                    "raw_bs": requests,
                    "padded_bs": requests,
                    "raw_num_tokens": requests,
                    "padded_num_tokens": requests,
                }
                registry.fill_from(batch, **sizes)
                filled = registry.extract_buffer(
                    padded_bs=requests, padded_num_tokens=requests, forward_batch_template=batch
                )
                self.assertEqual(filled.input_ids.tolist(), list(range(requests)))
                self.assertEqual(filled.positions.tolist(), [PROMPT - 1] * requests)
                self.assertIsNone(filled.out_cache_loc)


class TestGraphFrozenKVDraft(CustomTestCase):
    """The first draft step behind a prefill replays a graph over trtllm_mha's static buffers.

    Runner, worker, view and backend are real; the graph itself is stood in for.
    """

    PAGE = 2

    def replays(self, largest, requests):
        """(requests in the graph, first row of the SWA table, write slots) of each replay."""
        own, target = object(), SWAKVPool.__new__(SWAKVPool)
        target.full_to_swa_index_mapping = torch.arange(64) + 2 * self.PAGE
        backend = TRTLLMHAAttnBackend.__new__(TRTLLMHAAttnBackend)
        backend.__dict__.update(
            token_to_kv_pool=own,
            _swa_kv_pool=target,  # as `_resolve_swa_kv_pool` answers for a frozen-KV draft
            use_sliding_window_kv_pool=True,
            req_to_token=torch.arange(1 * self.PAGE, 65 * self.PAGE).reshape(8, -1),
            page_size=self.PAGE,
            max_num_pages=4,
            device="cpu",
            speculative_step_id=0,
            speculative_num_draft_tokens=3,
        )
        backend.init_cuda_graph_state(largest, largest)
        worker = draft_worker(
            draft_attn_backend=backend,
            kv_context=SimpleNamespace(target_token_to_kv_pool=target),
        )
        for size in range(1, largest + 1):
            worker._init_frozen_kv_metadata_capture_cuda_graph(
                ForwardBatch(
                    forward_mode=ForwardMode.DECODE,
                    batch_size=size,
                    input_ids=None,
                    req_pool_indices=torch.zeros(size, dtype=torch.int64),
                    seq_lens=torch.ones(size, dtype=torch.int64),
                    out_cache_loc=None,
                    seq_lens_sum=size,
                    positions=torch.zeros(size, dtype=torch.int64),
                )
            )
        seen = []

        def replay(key, _batch):
            metadata = backend.forward_metadata
            row = metadata.swa_page_table[0, : -(-PROMPT // self.PAGE)].tolist()
            seen.append((key.size, row, metadata.swa_out_cache_loc.tolist()))
            return (torch.zeros(key.size, 1, dtype=torch.int64),) * 3

        runner = runner_module.FrozenKVMTPCudaGraphRunner.__new__(
            runner_module.FrozenKVMTPCudaGraphRunner
        )
        numbers = {"dtype": torch.int64}
        runner.__dict__.update(
            frozen_kv_mtp_worker=worker,
            topk=1,
            num_tokens_per_bs=1,
            capture_bs=list(range(1, largest + 1)),
            max_bs=largest,
            seq_len_fill_value=1,
            disable_padding=False,
            require_mlp_sync=False,
            require_mlp_tp_gather=False,
            require_gathered_buffer=False,
            deepep_adapter=SimpleNamespace(replay=lambda: None),
            backend=SimpleNamespace(replay=replay),
            buffers=runner_module.FrozenKVMTPInputBuffers(
                req_pool_indices=torch.zeros(largest, **numbers),
                positions=torch.zeros(largest, **numbers),
                mrope_positions=torch.zeros(3, largest, **numbers),
                seq_lens=torch.ones(largest, **numbers),
                seq_lens_cpu=torch.ones(largest, **numbers),
                topk_p=torch.zeros(largest, 1),
                topk_index=torch.zeros(largest, 1, **numbers),
                hidden_states=torch.zeros(largest, HIDDEN),
                bonus_tokens=torch.zeros(largest, **numbers),
                global_num_tokens_gpu=None,
                global_num_tokens_for_logprob_gpu=None,
            ),
        )
        worker.cuda_graph_runner = runner
        draft_behind_prefill(worker, requests)
        return seen

    def test_a_prompt_of_more_tokens_than_the_largest_graph_has_requests(self):
        for requests in (1, 2):
            with self.subTest(requests=requests):
                self.assertEqual(self.replays(2, requests), [(requests, [3, 4], [0] * requests)])

    def test_a_shorter_one_leaves_no_slots_of_the_prefill_behind(self):
        self.assertEqual(self.replays(PROMPT, 1), [(1, [3, 4], [0])])


if __name__ == "__main__":
    unittest.main()
