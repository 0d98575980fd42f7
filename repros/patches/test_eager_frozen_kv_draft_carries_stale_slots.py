import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from sglang.srt.model_executor.cuda_graph_buffer_registry import build_eager_registry
from sglang.srt.model_executor.forward_batch_info import (
    CaptureHiddenMode,
    ForwardBatch,
    ForwardMode,
)
from sglang.srt.speculative import frozen_kv_mtp_worker_v2 as worker_module
from sglang.srt.speculative.frozen_kv_mtp_info import FrozenKVMTPDraftInput
from sglang.test.test_utils import CustomTestCase

PROMPT = 3  # tokens, as in the request that a server without a tokenizer warms up with


class TestEagerFrozenKVDraft(CustomTestCase):
    """The first draft step behind a prefill runs without CUDA graphs."""

    def draft(self, requests):
        """`draft` of a real worker up to its forward: the batch that the eager runner is given."""
        worker = worker_module.FrozenKVMTPDraftWorker.__new__(worker_module.FrozenKVMTPDraftWorker)
        worker.__dict__.update(
            topk=1,
            speculative_num_steps=2,
            speculative_num_draft_tokens=3,
            _model_runner=None,
            cuda_graph_runner=None,
        )
        lengths = torch.full((requests,), PROMPT, dtype=torch.int64)
        spec_info = FrozenKVMTPDraftInput()
        spec_info.bonus_tokens = torch.arange(requests)
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

        handed = []

        def draft_forward(forward_batch):
            forward_batch.input_ids = forward_batch.spec_info.bonus_tokens  # the seed step
            handed.append(forward_batch)
            return None, None, None

        worker.draft_forward = draft_forward
        with (
            mock.patch.object(worker_module.ForwardBatch, "init_new", init_new),
            mock.patch.object(worker_module, "build_tree_kernel_efficient", lambda *_: (None,) * 6),
        ):
            worker.draft(batch)
        return handed[0]

    def test_its_inputs_fit_the_eager_buffers(self):
        for requests in (1, 2):
            with self.subTest(requests=requests):
                batch = self.draft(requests)
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


if __name__ == "__main__":
    unittest.main()
