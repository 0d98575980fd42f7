import itertools
import unittest
from types import SimpleNamespace
from unittest import mock

import torch
from sglang.kernels.ops.attention.decode_attention import decode_attention_fwd
from sglang.kernels.ops.attention.extend_attention import extend_attention_fwd
from sglang.srt.layers.attention import triton_backend
from sglang.srt.layers.attention.triton_backend import (
    TritonAttnBackend,
    TritonMultiStepDraftBackend,
)
from sglang.srt.layers.radix_attention import RadixAttention
from sglang.srt.mem_cache.kv_index_translator import KVIndexTranslator
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
BEFORE = 5  # sliding_window_size: how many tokens a query sees before itself
CONTEXT, HEADS, HEAD_DIM, STEPS = 16, 2, 16, 3
LENGTHS = (BEFORE - 1, BEFORE, BEFORE + 1, BEFORE + 2, 2 * BEFORE)
INTS = {"dtype": torch.int64, "device": DEVICE}


def pool_of(slots):
    """A static SWA pool of one layer, whose slots are not those of the full pool."""
    pool = SWAKVPool.__new__(SWAKVPool)
    pool.full_to_swa_index_mapping = torch.arange(slots, **INTS) + slots
    torch.manual_seed(0)
    keys, values = torch.randn(2, 2 * slots, HEADS, HEAD_DIM, device=DEVICE)
    pool.get_key_buffer = lambda _layer_id: keys
    pool.get_value_buffer = lambda _layer_id: values
    return pool


def parts(requests):
    """Rows of the request table, a pool and the translator between them."""
    rows = torch.arange(1, requests * CONTEXT + 1, dtype=torch.int32, device=DEVICE)
    rows = rows.view(requests, CONTEXT).flip(0).contiguous()
    pool = pool_of(requests * CONTEXT + 1)
    translator = KVIndexTranslator(
        req_to_token=rows,
        token_to_kv_pool_allocator=None,
        token_to_kv_pool=pool,
        page_size=1,
        device=DEVICE,
    )
    return {
        "req_to_token_pool": SimpleNamespace(req_to_token=rows, size=requests),
        "token_to_kv_pool": pool,
        "kv_index_translator": translator,
        "sliding_window_size": BEFORE,
        "max_context_len": CONTEXT,
        "page_size": 1,
        "device": DEVICE,
    }


def attention_backend(requests, **attributes):
    """With what its constructor would read of a server's arguments."""
    backend = TritonAttnBackend.__new__(TritonAttnBackend)
    indptr = torch.zeros(requests + 1, dtype=torch.int32, device=DEVICE)
    vars(backend).update(
        parts(requests),
        decode_attention_fwd=decode_attention_fwd,
        extend_attention_fwd=extend_attention_fwd,
        use_sliding_window_kv_pool=False,  # nothing is written
        use_dense_fp8_chunked_prefill=False,
        use_verify_shared_kv=False,
        use_verify_splitkv=False,
        use_mla=False,
        use_pdl=False,
        allow_bidirectional_attention_in_extend=False,
        enable_deterministic=False,
        enable_lean_attention=False,
        lean_total_programs=1,
        lean_block_m=1,
        static_kv_splits=True,
        max_kv_splits=2,
        split_tile_size=None,
        device_core_count=1,
        dcp_size=1,
        num_head=HEADS,
        num_kv_head=HEADS,
        v_head_dim=HEAD_DIM,
        swa_v_head_dim=None,
        num_draft_tokens=STEPS,
        target_verify_num_tokens_per_req=STEPS,
        is_draft_runner=False,
        skip_prefill=True,
        kv_indptr=indptr.clone(),
        window_kv_indptr=indptr.clone(),
        qo_indptr=indptr.long(),
        mask_indptr=indptr.long(),
        _verify_mask=None,
    )
    vars(backend).update(attributes)
    return backend


def draft_backend(requests, topk):
    """A draft of several steps over one backend each."""
    shared = parts(requests)
    branches = requests * topk
    indptr = torch.zeros(STEPS, branches + 1, dtype=torch.int32, device=DEVICE)
    draft = TritonMultiStepDraftBackend.__new__(TritonMultiStepDraftBackend)
    inner = [
        attention_backend(requests, **shared, is_draft_runner=True, kv_indptr=indptr[step])
        for step in range(STEPS - 1)
    ]
    runner = SimpleNamespace(
        **shared,
        model_config=SimpleNamespace(get_max_num_attention_heads=lambda: HEADS),
    )
    with (
        mock.patch.object(triton_backend, "TritonAttnBackend", lambda *_, **__: inner.pop(0)),
        mock.patch.object(triton_backend, "get_parallel", lambda: SimpleNamespace(attn_tp_size=1)),
        mock.patch.object(triton_backend, "get_schedule", lambda: SimpleNamespace(page_size=1)),
        mock.patch.object(triton_backend, "resolve_draft_decode_window", lambda _: (0, 0)),
    ):
        draft.__init__(runner, topk, STEPS)
    return draft


def batch_of(lengths, mode=ForwardMode.DECODE, **fields):
    lengths = torch.tensor(lengths, **INTS)
    return ForwardBatch(
        forward_mode=mode,
        batch_size=len(lengths),
        input_ids=None,
        req_pool_indices=torch.arange(len(lengths), **INTS),
        seq_lens=lengths,
        out_cache_loc=None,
        seq_lens_sum=int(lengths.sum()),
        **fields,
    )


def rows_of(metadata):
    ends = metadata.window_kv_indptr.tolist()
    return [
        metadata.window_kv_indices[start:end].tolist() for start, end in itertools.pairwise(ends)
    ]


def table_of(backend):
    """Slots of the SWA pool for each position of each request."""
    rows = backend.req_to_token_pool.req_to_token
    return backend.token_to_kv_pool.full_to_swa_index_mapping[rows.long()]


class TestTritonDecodeWindow(CustomTestCase):
    """A decode reads the query's own key and `sliding_window_size` before it, as a prefill does."""

    def seen(self, backend, lengths):
        """The slots of the keys that a query at the end of each row may see."""
        table = table_of(backend).tolist()
        return [
            row[max(length - 1 - BEFORE, 0) : length]
            for row, length in zip(table, lengths, strict=True)
        ]

    def test_eager_decode_gathers_the_oldest_visible_key(self):
        backend = attention_backend(len(LENGTHS))
        backend.init_forward_metadata(batch_of(LENGTHS))
        self.assertEqual(rows_of(backend.forward_metadata), self.seen(backend, LENGTHS))

    def test_graph_decode_gathers_it_and_has_room_for_a_full_batch(self):
        whole = (2 * BEFORE,) * 3
        backend = attention_backend(len(whole))
        backend.init_cuda_graph_state(len(whole), len(whole))
        backend.init_forward_metadata_out_graph(batch_of([1] * len(whole)), in_capture=True)
        captured = backend.forward_metadata
        self.assertGreaterEqual(captured.window_kv_indices.numel(), len(whole) * (BEFORE + 1))
        for lengths in (whole, LENGTHS[1:4]):
            with self.subTest(lengths=lengths):
                backend.init_forward_metadata_out_graph(batch_of(lengths))
                self.assertEqual(rows_of(captured), self.seen(backend, lengths))

    def drafted(self, draft, lengths, step):
        """As `seen`, for each branch: its prefix and the draft's tokens up to this step."""
        table = table_of(draft).tolist()
        return [
            (row[:length] + row[length + branch * STEPS :][: step + 1])[-(BEFORE + 1) :]
            for row, length in zip(table, lengths, strict=True)
            for branch in range(draft.topk)
        ]

    def draft_batch(self, lengths, topk):
        positions = torch.tensor(lengths, **INTS).repeat_interleave(topk)
        return batch_of(lengths, positions=positions, spec_info=SimpleNamespace())

    def test_each_eager_step_of_a_draft_gathers_it(self):
        for topk in (1, 2):
            draft = draft_backend(len(LENGTHS), topk)
            draft.init_forward_metadata(self.draft_batch(LENGTHS, topk))
            for step, backend in enumerate(draft.attn_backends):
                with self.subTest(topk=topk, step=step):
                    self.assertEqual(
                        rows_of(backend.forward_metadata), self.drafted(draft, LENGTHS, step)
                    )

    def test_each_graph_step_of_a_draft_gathers_it_and_has_room_for_a_full_batch(self):
        whole = (2 * BEFORE,) * 3
        for topk in (1, 2):
            draft = draft_backend(len(whole), topk)
            draft.init_cuda_graph_state(len(whole), len(whole) * topk)
            draft.init_forward_metadata_out_graph(
                self.draft_batch([1] * len(whole), topk), in_capture=True
            )
            for lengths in (whole, LENGTHS[1:4]):
                draft.init_forward_metadata_out_graph(self.draft_batch(lengths, topk))
                for step, backend in enumerate(draft.attn_backends):
                    with self.subTest(topk=topk, lengths=lengths, step=step):
                        self.assertEqual(
                            rows_of(backend.forward_metadata), self.drafted(draft, lengths, step)
                        )

    def test_a_verification_gathers_the_keys_before_its_first_query_only(self):
        fields = {"mode": ForwardMode.TARGET_VERIFY}
        verify = SimpleNamespace(num_tokens_per_req=STEPS, custom_mask=None)
        at_first_query = [length + 1 for length in LENGTHS]  # its own key comes beside
        eager, graph = attention_backend(len(LENGTHS)), attention_backend(len(LENGTHS))
        eager.init_forward_metadata(batch_of(LENGTHS, **fields, spec_info=verify))
        graph.init_cuda_graph_state(len(LENGTHS), len(LENGTHS) * STEPS)
        graph.init_forward_metadata_out_graph(
            batch_of(LENGTHS, **fields, spec_info=verify), in_capture=True
        )
        for backend in (eager, graph):
            expected = [row[:-1] for row in self.seen(backend, at_first_query)]
            self.assertEqual(rows_of(backend.forward_metadata), expected)

    def test_a_token_attends_alike_when_it_is_decoded_and_when_it_is_prefilled(self):
        backend = attention_backend(len(LENGTHS))
        keys, values = (
            backend.token_to_kv_pool.get_key_buffer(0),
            backend.token_to_kv_pool.get_value_buffer(0),
        )
        layer = RadixAttention(
            HEADS, HEAD_DIM, HEAD_DIM**-0.5, HEADS, layer_id=0, sliding_window_size=BEFORE
        )
        slots = torch.cat(
            [row[:length] for row, length in zip(table_of(backend), LENGTHS, strict=True)]
        )
        ends = torch.tensor(LENGTHS, **INTS).cumsum(0) - 1
        query = torch.randn(len(slots), HEADS * HEAD_DIM, device=DEVICE)
        prefill = batch_of(
            LENGTHS,
            mode=ForwardMode.EXTEND,
            extend_prefix_lens=torch.zeros(len(LENGTHS), **INTS),
            extend_prefix_lens_cpu=[0] * len(LENGTHS),
            extend_seq_lens=torch.tensor(LENGTHS, **INTS),
            extend_seq_lens_cpu=list(LENGTHS),
        )
        backend.init_forward_metadata(prefill)
        prefilled = backend.forward_extend(
            query, keys[slots], values[slots], layer, prefill, save_kv_cache=False
        )
        decode = batch_of(LENGTHS)
        backend.init_forward_metadata(decode)
        decoded = backend.forward_decode(
            query[ends], None, None, layer, decode, save_kv_cache=False
        )
        torch.testing.assert_close(decoded, prefilled[ends], rtol=1e-3, atol=1e-3)


if __name__ == "__main__":
    unittest.main()
