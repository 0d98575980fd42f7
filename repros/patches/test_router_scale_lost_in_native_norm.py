import unittest

import torch
from sglang.srt.layers.layernorm import Gemma4RMSNorm
from sglang.test.test_utils import CustomTestCase


class TestGemma4RMSNormNative(CustomTestCase):
    """`forward_native` of a norm without a learned scale applies its buffer, as CUDA does."""

    def test_a_scale_that_the_router_put_there_is_applied(self):
        torch.manual_seed(0)
        hidden = 256
        norm = Gemma4RMSNorm(hidden, with_scale=False)
        scale = torch.rand(hidden) + 0.5
        norm.weight.copy_(scale * hidden**-0.5)  # Gemma4Router.fuse_scale
        x = torch.randn(5, hidden)
        expected = torch.nn.functional.rms_norm(x, (hidden,), eps=norm.eps) * norm.weight
        torch.testing.assert_close(norm.forward_native(x), expected)

    def test_without_one_nothing_changes(self):
        x = torch.randn(5, 64)
        expected = torch.nn.functional.rms_norm(x, (64,), eps=1e-6)
        torch.testing.assert_close(Gemma4RMSNorm(64, with_scale=False).forward_native(x), expected)

    def test_a_learned_scale_is_shifted_as_before(self):
        x, norm = torch.randn(5, 64), Gemma4RMSNorm(64, scale_shift=1.0)
        expected = torch.nn.functional.rms_norm(x, (64,), eps=1e-6) * 2.0
        torch.testing.assert_close(norm.forward_native(x), expected)


if __name__ == "__main__":
    unittest.main()
