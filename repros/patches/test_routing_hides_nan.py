import unittest

import torch
from sglang.kernels.ops.moe.gemma4_routing import gemma4_fused_routing
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
EXPERTS, TOPK = 128, 8


class TestRoutingOfNonFiniteLogits(CustomTestCase):
    """A NaN or an infinity among the selected logits gives NaN weights, as torch's softmax does."""

    def weights(self, logits):
        scale = torch.ones(EXPERTS, device=DEVICE)
        return gemma4_fused_routing(logits.to(DEVICE), scale, TOPK)[0]

    def test_weights_are_nan(self):
        for value in (float("nan"), float("inf")):
            with self.subTest(value=value):
                torch.manual_seed(0)
                logits = torch.randn(2, EXPERTS)
                logits[1, 64] = value
                weights = self.weights(logits)
                self.assertTrue(bool(weights[1].isnan().all()), weights[1])
                self.assertTrue(bool(weights[0].isfinite().all()))

    def test_finite_logits_are_weighed_as_before(self):
        torch.manual_seed(0)
        logits = torch.randn(3, EXPERTS)
        expected = torch.softmax(logits.topk(TOPK).values, dim=-1)
        torch.testing.assert_close(self.weights(logits).cpu(), expected)


if __name__ == "__main__":
    unittest.main()
