import unittest
from unittest import mock

import torch
from sglang.kernels.ops.layernorm.gemma4_fused_ops import gemma_qkv_rmsnorm
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
HEADS, DIM = 2, 32


class TestQkvNormOfKeyAndValue(CustomTestCase):
    """Key and value are normed in place: one buffer for both, or one of them alone, is refused."""

    def setUp(self):
        torch.manual_seed(0)
        self.weight = torch.rand(DIM, device=DEVICE) + 0.5

    def norm(self, q, k, v):
        with mock.patch.object(torch.Tensor, "is_cuda", True):
            gemma_qkv_rmsnorm(q, k, v, self.weight, self.weight, HEADS, HEADS, DIM)

    def projection(self, rows):
        return torch.randn(rows, 3 * HEADS * DIM, device=DEVICE).split(HEADS * DIM, dim=-1)

    def test_a_key_that_is_its_value(self):
        q, k, _ = self.projection(3)
        with self.assertRaises(AssertionError):
            self.norm(q, k, k)

    def test_a_key_without_a_value(self):
        q, k, _ = self.projection(3)
        with self.assertRaises(AssertionError):
            self.norm(q, k, None)

    def test_slices_of_one_projection_and_no_rows_at_all(self):
        q, k, v = self.projection(3)
        heads = k.unflatten(-1, (HEADS, DIM)).clone()
        expected = torch.nn.functional.rms_norm(heads, (DIM,), self.weight, 1e-6)
        self.norm(q, k, v)
        torch.testing.assert_close(k, expected.flatten(1))
        self.norm(*self.projection(0))

    def test_a_query_alone(self):
        q, k, _ = self.projection(3)
        before = k.clone()
        self.norm(q, None, None)
        self.assertTrue(torch.equal(k, before))


if __name__ == "__main__":
    unittest.main()
