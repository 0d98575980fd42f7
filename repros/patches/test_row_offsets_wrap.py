import unittest
from unittest import mock

import torch
from sglang.kernels.ops.layernorm.gemma4_fused_ops import (
    gemma_dual_rmsnorm_residual_scalar,
    gemma_qkv_rmsnorm,
    gemma_rmsnorm_residual_scalar,
)
from sglang.kernels.ops.moe.gemma4_routing import gemma_routing_post_topk
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
STRIDE = 2**30  # elements from row to row: row 2 begins 2**31 behind row 0


def far_apart(values):
    """`values`, three rows, 2**30 elements apart, behind as much memory that is not theirs.

    8 GiB in bfloat16. A CPU maps them and touches a few pages; a GPU has to have them.
    """
    width = values.shape[1]
    memory = torch.empty(4 * STRIDE + width, dtype=values.dtype, device=DEVICE)
    memory[:width] = 1  # where row 2 is looked for if its offset wraps
    rows = memory.as_strided((3, width), (STRIDE, 1), 2 * STRIDE)
    return rows.copy_(values)


class TestRowsBehindTwoToThe31(CustomTestCase):
    """A row that begins 2**31 elements behind the first one is read where it is."""

    def setUp(self):
        torch.manual_seed(0)

    def draw(self, *shape):
        return torch.randn(*shape, device=DEVICE).to(torch.bfloat16)

    def same(self, actual, expected):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)

    def test_gemma_rmsnorm_residual_scalar(self):
        x, others = self.draw(3, 64), (self.draw(64), self.draw(3, 64), self.draw(1))
        self.same(
            gemma_rmsnorm_residual_scalar(far_apart(x), *others),
            gemma_rmsnorm_residual_scalar(x, *others),
        )

    def test_gemma_dual_rmsnorm_residual_scalar(self):
        x, weight, rows, scalar = self.draw(3, 64), self.draw(64), self.draw(3, 64), self.draw(1)
        others = (weight, rows, weight, weight, rows, scalar)
        self.same(
            gemma_dual_rmsnorm_residual_scalar(far_apart(x), *others),
            gemma_dual_rmsnorm_residual_scalar(x, *others),
        )

    def test_gemma_qkv_rmsnorm(self):
        x, weight = self.draw(3, 64), self.draw(32)
        far = far_apart(x)
        with mock.patch.object(torch.Tensor, "is_cuda", True):
            for query in (x, far):
                gemma_qkv_rmsnorm(query, None, None, weight, None, 2, 0, 32)
        self.same(far, x)

    def test_gemma_routing_post_topk(self):
        logits, scale = self.draw(3, 8), self.draw(64)
        # Ids of a byte: the kernel reads them with the stride of the logits.
        ids = torch.randint(2, 64, (3, 8), dtype=torch.int8, device=DEVICE)
        weights, taken = gemma_routing_post_topk(far_apart(logits), far_apart(ids), scale)
        expected, _ = gemma_routing_post_topk(logits, ids, scale)
        self.same(weights, expected)
        self.assertEqual(taken.tolist(), ids.tolist())


if __name__ == "__main__":
    unittest.main()
