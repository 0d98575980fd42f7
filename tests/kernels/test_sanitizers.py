"""Where there is no sanitizer it is said; the chain that one compares with is the chain."""

from __future__ import annotations

import pytest
import torch
from triage_kernels.core.spec import as_tuple
from triage_kernels.validate import sanitizers
from triage_kernels.validate.registry import select
from triage_kernels.validate.sanitizers import CHAINS, chain, sanitize, unavailable


@pytest.mark.skipif(unavailable("cuda") is None, reason="sanitizers run here")
def test_without_a_sanitizer_every_kernel_cannot_run_and_says_what_there_is(monkeypatch) -> None:
    monkeypatch.setattr(sanitizers.triton, "__version__", "3.7.1")
    found = list(sanitize(("gemma_rmsnorm_add",)))
    assert [r.outcome for r in found] == ["CANNOT_RUN"] * 3
    assert {r.check for r in found} == {"fpsan", "gsan", "iisan"}
    assert "Triton 3.7.1 has no sanitizers (3.9 has)" in found[0].worst


@pytest.mark.parametrize("op", CHAINS)
def test_the_chain_of_separate_kernels_computes_what_the_chain_of_torch_does(op, device) -> None:
    # GIVEN the arguments of an op in fp32, its second stage reading what was computed
    (spec,) = select((op,))
    args = spec.make(spec.cases[0].dims, 3, torch.float32, torch.Generator().manual_seed(0))
    args = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in args.items()}
    # THEN each step as a kernel of its own gives torch's result to a few roundings
    for mine, want in zip(chain(spec, args), as_tuple(spec.unfused(**args)), strict=True):
        torch.testing.assert_close(mine, want, rtol=2e-5, atol=1e-5)


def test_the_steps_are_kernels_and_not_torch(device) -> None:
    # GIVEN that launches are only written down
    from triage_kernels.core.launch import recording

    (spec,) = select(("gemma_rmsnorm_residual_scalar",))
    args = spec.make({"N": 64}, 2, torch.float32, torch.Generator().manual_seed(0))
    with recording() as launches:
        chain(spec, args)
    # THEN norm, addition and multiplication are three
    assert len(launches) == 3
