import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from sglang.srt.layers.attention import trtllm_mha_backend
from sglang.test.test_utils import CustomTestCase

HEADS, HEAD_DIM, ROWS = 2, 8, 3


class TestXqaGetsPackedQueries(CustomTestCase):
    """XQA takes the address of the queries and no stride, so what it is handed is contiguous."""

    def handed(self, xqa):
        """What `forward_decode` hands to FlashInfer of a slice of the fused QKV projection."""
        width = HEADS * HEAD_DIM
        rows = torch.arange(ROWS * 2 * width, dtype=torch.float32).view(ROWS, 2 * width)
        query = rows[:, :width]
        seen = []

        def kernel(query, **_):
            seen.append(query)
            return query.contiguous()

        cache, numbers = torch.zeros(1, 1, HEAD_DIM), torch.zeros(ROWS, 1, dtype=torch.int32)
        pool = SimpleNamespace(get_kv_buffer=lambda layer_id: (cache, cache))
        cls = trtllm_mha_backend.TRTLLMHAAttnBackend
        backend = cls.__new__(cls)
        backend.__dict__.update(
            data_type=torch.float32,
            q_data_type=torch.float32,
            is_xqa_impl=xqa,
            page_size=1,
            token_to_kv_pool=pool,
            forward_metadata=SimpleNamespace(cache_seqlens_int32=numbers[:, 0]),
            workspace_buffer=None,
            max_context_len=1,
            _multi_ctas_kv_counter_buffer=None,
            _get_layer_page_table=lambda layer, batch: numbers,
        )
        layer = SimpleNamespace(
            layer_id=0,
            tp_q_head_num=HEADS,
            tp_k_head_num=1,
            tp_v_head_num=1,
            head_dim=HEAD_DIM,
            v_head_dim=HEAD_DIM,
            scaling=1.0,
            k_scale=None,
            v_scale=None,
            k_scale_float=None,
            v_scale_float=None,
            sliding_window_size=-1,
        )
        batch = SimpleNamespace(out_cache_loc=None)
        flashinfer = SimpleNamespace(
            decode=SimpleNamespace(trtllm_batch_decode_with_kv_cache=kernel)
        )
        with mock.patch.object(trtllm_mha_backend, "flashinfer", flashinfer, create=True):
            backend.forward_decode(query, None, None, layer, batch, save_kv_cache=False)
        self.assertEqual(seen[0].reshape(ROWS, width).tolist(), query.tolist())
        return seen[0]

    def test_a_slice_is_packed_for_xqa(self):
        self.assertTrue(self.handed(xqa=True).is_contiguous())

    def test_trtllm_gen_is_given_the_slice_and_its_strides(self):
        self.assertEqual(self.handed(xqa=False).stride(0), 2 * HEADS * HEAD_DIM)


if __name__ == "__main__":
    unittest.main()
