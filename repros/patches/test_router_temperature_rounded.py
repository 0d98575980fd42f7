import unittest
from types import SimpleNamespace

import torch
from sglang.srt.models.gemma4_causal import Gemma4Router
from sglang.test.test_utils import CustomTestCase


class TestRouterTemperature(CustomTestCase):
    """Rounding moves the router's weights to both sides of scale * hidden**-0.5, not to one."""

    def mean_ratio(self, hidden, dtype):
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            router = Gemma4Router(
                SimpleNamespace(hidden_size=hidden, rms_norm_eps=1e-6, num_experts=4)
            )
        finally:
            torch.set_default_dtype(before)
        router.scale.data.uniform_(0.5, 2.0)
        router.fuse_scale()
        exact = router.scale.double() * hidden**-0.5
        return float((router.norm.weight.double() / exact).mean())

    def test_in_the_dtype_of_the_model(self):
        for hidden in (2816, 3840, 5376):
            with self.subTest(hidden=hidden):
                self.assertAlmostEqual(self.mean_ratio(hidden, torch.bfloat16), 1.0, delta=2e-4)

    def test_in_fp32(self):
        self.assertAlmostEqual(self.mean_ratio(2816, torch.float32), 1.0, delta=1e-7)


if __name__ == "__main__":
    unittest.main()
