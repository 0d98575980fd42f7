import unittest

import torch
from sglang.kernels.ops.moe.gemma4_routing import gemma4_fused_routing
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1
EXPERTS, TOPK = 128, 8


class TestRoutingOrder(CustomTestCase):
    """NaN of either sign is largest, and zeros of either sign are equal: the lower id first."""

    def ids(self, logits):
        scale = torch.ones(EXPERTS, device=DEVICE)
        return gemma4_fused_routing(logits.to(DEVICE), scale, TOPK)[1][0].tolist()

    def test_a_negative_nan_is_selected(self):
        torch.manual_seed(0)
        logits = torch.randn(1, EXPERTS)
        logits.view(torch.int32)[0, 64] = -4194304  # 0xffc00000
        self.assertTrue(bool(logits[0, 64].isnan()))
        self.assertEqual(self.ids(logits)[0], 64)

    def test_zeros_tie_whatever_their_sign(self):
        logits = torch.zeros(1, EXPERTS)
        logits[0, ::2] = -0.0
        self.assertEqual(self.ids(logits), list(range(TOPK)))

    def test_others_are_ordered_as_before(self):
        torch.manual_seed(0)
        logits = torch.randn(1, EXPERTS)
        self.assertEqual(self.ids(logits), logits.topk(TOPK).indices[0].tolist())


if __name__ == "__main__":
    unittest.main()
