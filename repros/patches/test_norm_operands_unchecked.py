import unittest

import torch
from sglang.kernels.ops.layernorm.gemma4_fused_ops import (
    gemma_dual_rmsnorm_residual_scalar,
    gemma_rmsnorm_residual_scalar,
)
from sglang.kernels.ops.moe.gemma4_routing import gemma_routing_post_topk
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
ROWS, HIDDEN = 3, 64


def draw(*shape):
    return torch.randn(*shape, device=DEVICE)


class TestOperandsOfFusedNorms(CustomTestCase):
    """An operand that a fused norm would read wrongly is refused, and no other."""

    def setUp(self):
        torch.manual_seed(0)
        self.x, self.rows = draw(ROWS, HIDDEN), draw(ROWS, HIDDEN)
        self.weight, self.scalar = draw(HIDDEN), draw(1)

    def single(self, *, residual=None, weight=None):
        return gemma_rmsnorm_residual_scalar(
            self.x,
            self.weight if weight is None else weight,
            self.rows if residual is None else residual,
            self.scalar,
        )

    def dual(self, *, x2=None, residual=None, weights=None):
        weight1, weight2, weight3 = weights or (self.weight,) * 3
        return gemma_dual_rmsnorm_residual_scalar(
            self.x,
            weight1,
            self.rows if x2 is None else x2,
            weight2,
            weight3,
            self.rows if residual is None else residual,
            self.scalar,
        )

    def test_rows_that_are_not_packed_or_not_there(self):
        for name, rows in (
            ("every second column", draw(ROWS, 2 * HIDDEN)[:, ::2]),
            ("one column for all", draw(ROWS, 1).expand(ROWS, HIDDEN)),
            ("a row short", draw(ROWS - 1, HIDDEN)),
        ):
            for call in (
                lambda rows=rows: self.single(residual=rows),
                lambda rows=rows: self.dual(residual=rows),
                lambda rows=rows: self.dual(x2=rows),
            ):
                with self.subTest(rows=name), self.assertRaises(AssertionError):
                    call()

    def test_weights_that_are_not_packed_or_not_there(self):
        for name, weight in (
            ("every second element", draw(2 * HIDDEN)[::2]),
            ("an element short", draw(HIDDEN - 1)),
        ):
            with self.subTest(weight=name), self.assertRaises(AssertionError):
                self.single(weight=weight)
            for place in range(3):
                weights = [self.weight] * 3
                weights[place] = weight
                with self.subTest(weight=name, place=place), self.assertRaises(AssertionError):
                    self.dual(weights=weights)

    def test_an_expert_scale_that_is_not_packed(self):
        logits = draw(ROWS, 8)
        ids = torch.zeros(ROWS, 8, dtype=torch.int64, device=DEVICE)
        with self.assertRaises(AssertionError):
            gemma_routing_post_topk(logits, ids, draw(32)[::2])

    def test_rows_of_a_wider_buffer_are_taken(self):
        wide = draw(ROWS, 3 * HIDDEN)[:, HIDDEN : 2 * HIDDEN]
        norm = torch.nn.functional.rms_norm(self.x, (HIDDEN,), self.weight, 1e-6)
        torch.testing.assert_close(self.single(residual=wide), (norm + wide) * self.scalar)
        self.dual(x2=wide, residual=wide)


if __name__ == "__main__":
    unittest.main()
