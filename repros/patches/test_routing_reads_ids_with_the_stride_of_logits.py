import unittest

import torch
from sglang.kernels.ops.moe.gemma4_routing import gemma_routing_post_topk
from sglang.test.test_utils import CustomTestCase

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # with TRITON_INTERPRET=1


class TestRoutingPostTopkStrides(CustomTestCase):
    """Ids whose rows lie further apart than the rows of the logits are read where they are."""

    def test_ids_in_a_wider_buffer(self):
        torch.manual_seed(0)
        rows, topk, experts = 4, 8, 64
        logits = torch.randn(rows, topk, device=DEVICE)
        ids = torch.randint(0, experts, (rows, topk), device=DEVICE)
        wide = torch.zeros(rows, 3 * topk, dtype=torch.int64, device=DEVICE)
        wide[:, :topk] = ids
        scale = torch.rand(experts, device=DEVICE) + 0.5
        weights, out = gemma_routing_post_topk(logits, wide[:, :topk], scale)
        self.assertEqual(out.tolist(), ids.tolist())
        torch.testing.assert_close(weights, torch.softmax(logits, dim=-1) * scale[ids])


if __name__ == "__main__":
    unittest.main()
