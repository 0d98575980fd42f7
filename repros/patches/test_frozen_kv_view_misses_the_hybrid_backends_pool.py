import unittest
from types import SimpleNamespace

from sglang.srt.layers.attention.hybrid_attn_backend import HybridAttnBackend
from sglang.srt.speculative.frozen_kv_mtp_utils import frozen_kv_target_view, target_kv_pool_view
from sglang.test.test_utils import CustomTestCase


class TestFrozenKVViewOfAHybridBackend(CustomTestCase):
    """A draft whose backend is a hybrid of two reads the target's pool inside the view."""

    def test_the_backends_inside_are_lent_the_pool_too(self):
        own, target = object(), object()
        inner = [SimpleNamespace(token_to_kv_pool=own) for _ in range(2)]
        hybrid = HybridAttnBackend.__new__(HybridAttnBackend)
        hybrid.prefill_backend, hybrid.decode_backend = inner
        hybrid.token_to_kv_pool = own  # as its constructor does
        batch = SimpleNamespace(spec_info=None)
        context = SimpleNamespace(target_token_to_kv_pool=target)
        for view in (frozen_kv_target_view, target_kv_pool_view):
            with self.subTest(view=view.__name__):
                with view(batch, context, hybrid):
                    for backend in (hybrid, *inner):
                        self.assertIs(backend.token_to_kv_pool, target)
                for backend in (hybrid, *inner):
                    self.assertIs(backend.token_to_kv_pool, own)


if __name__ == "__main__":
    unittest.main()
