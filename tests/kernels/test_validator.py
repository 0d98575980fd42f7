"""The validator on our kernels: everything that can run here passes, and says what it did."""

from __future__ import annotations

import pytest
import torch
from triage_kernels.core.errors import UnknownNameError
from triage_kernels.core.spec import KernelSpec, as_tuple, copy_args
from triage_kernels.validate.checks import ALL
from triage_kernels.validate.registry import KERNELS, OURS, select
from triage_kernels.validate.runner import DEFAULT_DTYPES, Request, validate

BY_NAME = [pytest.param(spec, id=spec.name) for spec in OURS]
# Slow in the interpreter, and run whole by `triage kernels validate`.
STRUCTURE_ONLY_IN_FP16 = ("row-invariance", "int32-overflow", "refuses-misuse")


@pytest.mark.slow
@pytest.mark.parametrize("spec", BY_NAME)
def test_our_kernel_passes_every_check_on_its_first_variant(spec: KernelSpec, device: str) -> None:
    request = Request(
        ops=(spec.name,),
        variants=(spec.cases[0].variant,),
        device=device,
        dtypes=("float16",),
    )
    results = list(validate(request))
    assert {r.check for r in results} == set(ALL)
    failing = [r for r in results if r.outcome == "FAIL"]
    assert not failing, "\n".join(f"{r.check}: {r.worst}" for r in failing)


@pytest.mark.parametrize("spec", BY_NAME)
def test_our_kernel_keeps_the_bound_in_fp32_on_every_variant(spec: KernelSpec, device: str) -> None:
    checks = ("error-bound", "relative-l2-floor", "specials")
    request = Request(ops=(spec.name,), device=device, dtypes=("float32",), checks=checks)
    failing = [r for r in validate(request) if r.outcome == "FAIL"]
    assert not failing, "\n".join(f"{r.check}: {r.worst}" for r in failing)


@pytest.mark.parametrize("spec", BY_NAME)
def test_a_launcher_and_its_twin_take_the_same_arguments(spec: KernelSpec) -> None:
    # GIVEN the arguments the registry makes
    args = spec.make(spec.cases[0].dims, 2, torch.float32, torch.Generator().manual_seed(0))
    # THEN twin, unfused chain and oracle all take them and give the same outputs
    twin = as_tuple(spec.eager(**copy_args(args)))
    chain = as_tuple(spec.unfused(**copy_args(args)))
    exact = spec.oracle(args, twin)
    named = spec.outputs[: len(twin)]
    assert len(chain) == len(twin) and len(named) == len(twin)
    assert [t.shape for t in twin[: len(exact)]] == [e.value.shape for e in exact]


def test_names_in_the_registry_are_unique_and_every_case_has_its_reason() -> None:
    assert len({spec.name for spec in KERNELS}) == len(KERNELS)
    for spec in KERNELS:
        assert len({c.name for c in spec.cases}) == len(spec.cases), spec.name
        assert all(c.reason for c in spec.cases)


@pytest.mark.parametrize(
    "request_",
    [
        Request(ops=("gemma_rmsnorm",)),
        Request(variants=("27B",)),
        Request(checks=("bound",)),
        Request(providers=("vllm",)),
    ],
    ids=["op", "variant", "check", "provider"],
)
def test_an_unknown_name_is_answered_with_those_there_are(request_: Request) -> None:
    with pytest.raises(UnknownNameError, match="there are: "):
        list(validate(request_))


def test_no_name_selects_every_kernel() -> None:
    assert select(()) == KERNELS


def test_a_kernel_that_raises_is_a_failed_check_and_the_rest_still_run(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    # GIVEN an implementation that raises
    def broken(**args: object) -> torch.Tensor:
        raise RuntimeError("device-side assert\nand more")

    monkeypatch.setattr("triage_kernels.validate.runner.resolve", lambda *_: broken)
    # WHEN two checks run on it
    request = Request(
        ops=("gemma_rmsnorm_add",),
        device=device,
        dtypes=DEFAULT_DTYPES[device][:1],
        checks=("error-bound", "empty-batch"),
    )
    results = list(validate(request))
    # THEN both are results, with the first line of what was raised and how to repeat it
    assert [r.outcome for r in results] == ["FAIL", "FAIL"]
    assert "raises RuntimeError: device-side assert" in results[0].worst
    assert results[0].repro.startswith("triage kernels validate gemma_rmsnorm_add ")


def test_bfloat16_in_the_interpreter_is_refused_and_not_failed():
    """It truncates: a blind author's right copies of two kernels were called wrong."""
    spec = select(())[0]
    asked = Request(ops=(spec.name,), dtypes=("bfloat16",), device="cpu")
    (result,) = validate(asked)
    assert (result.outcome, result.dtype) == ("CANNOT_RUN", "bfloat16")
    assert "truncates" in result.worst
