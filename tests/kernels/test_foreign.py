"""Kernels of installed packages, held to one of our ops: what is right of them and what not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from triage_kernels.core.errors import KernelError
from triage_kernels.validate.foreign import foreign
from triage_kernels.validate.isolated import in_a_process
from triage_kernels.validate.registry import select
from triage_kernels.validate.runner import Request, validate

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="this process has compiled kernels"),
    pytest.mark.skipif(find_spec("sglang") is None, reason="sglang is not installed"),
]
VALUES = ("error-bound", "eager-twin", "specials", "empty-batch")
PLACES = ("stride-invariance", "aliasing", "sentinel-guards")
ELEMENTWISE = "sglang.kernels.ops.elementwise.elementwise"
THEIRS = "tests.kernels.test_foreign"
FUSED_OPS = "sglang.kernels.ops.layernorm.gemma4_fused_ops"


@pytest.mark.parametrize(
    ("target", "like", "failing"),
    [
        (f"{FUSED_OPS}:gemma_rmsnorm_residual_scalar", "gemma_rmsnorm_residual_scalar", set()),
        (f"{FUSED_OPS}:gemma4_fused_routing", "gemma4_fused_routing", set()),
        # Both address row i at i times its width, whatever the stride says.
        (f"{ELEMENTWISE}:fused_rmsnorm", "fused_rmsnorm", {"stride-invariance"}),
        (
            f"{ELEMENTWISE}:fused_dual_residual_rmsnorm",
            "fused_dual_residual_rmsnorm",
            {"stride-invariance"},
        ),
        # Classes of layers: they get the op's weight.
        ("transformers.models.gemma4.modeling_gemma4:Gemma4RMSNorm", "fused_rmsnorm", set()),
        ("torch.nn:RMSNorm", "fused_rmsnorm", set()),
    ],
    ids=["tail", "routing", "norm", "dual norm", "transformers' norm", "torch's norm"],
)
def test_a_kernel_of_an_installed_package_is_judged(
    target: str, like: str, failing: set[str]
) -> None:
    (spec,) = select((like,))
    request = Request(
        ops=(like,),
        variants=(spec.cases[0].variant,),
        providers=(target,),
        dtypes=("float16",),
        checks=(*VALUES, *PLACES),
        call=(target, foreign(target, spec)),
    )
    found = {r.check: r for r in validate(request)}
    assert {name for name, r in found.items() if r.outcome == "FAIL"} == failing, found
    for result in found.values():
        assert f"--callable {target} --like {like}" in result.repro


def test_a_check_that_may_fault_calls_it_in_a_process_of_its_own() -> None:
    # GIVEN a foreign function with a name of its own for one argument
    target = f"{THEIRS}:theirs"
    (spec,) = select(("gemma_gelu_tanh_mul",))
    function = foreign(target, spec, {"per_layer_input": "other"})
    case = spec.cases[0].name
    # WHEN such a check is asked of it, as on a GPU THEN the child finds it, names included
    record = in_a_process(
        spec.name, target, "error-bound", "float16", "cpu", (case,), names=function.names
    )
    assert isinstance(record, dict), record
    assert record["outcome"] == "PASS" and record["provider"] == target
    # AND a function that is not there is the child's last word
    said = in_a_process(spec.name, f"{THEIRS}:nothing", "error-bound", "float16", "cpu", ())
    assert isinstance(said, str) and "nothing" in said


def test_the_page_says_what_was_held_to_what_and_what_failed(tmp_path: Path) -> None:
    from triage.commands.kernels_group import kernels

    page = tmp_path / "report.md"
    target = f"{ELEMENTWISE}:fused_rmsnorm"
    run = CliRunner().invoke(
        kernels,
        ["validate", "--callable", target, "--like", "fused_rmsnorm", "--variant", "E2B",
         "--dtype", "float16", "--check", "error-bound", "--check", "stride-invariance",
         "--report", str(page)],
    )  # fmt: skip
    assert run.exit_code == 1, run.output
    text = page.read_text()
    assert text.startswith(f"# {target}\n")
    assert "**1 of 2 checks fail.**" in text and "interpreted, not compiled" in text
    assert "| error-bound | PASS |" in text and "- stride-invariance, float16: " in text
    assert len(text.splitlines()) < 60


def test_arguments_are_given_by_name_where_the_names_are_told() -> None:
    (spec,) = select(("gemma_gelu_tanh_mul",))
    args = spec.make(spec.cases[0].dims, 2, torch.float32, torch.Generator().manual_seed(0))
    call = foreign(f"{THEIRS}:theirs", spec, {"per_layer_input": "other"})
    torch.testing.assert_close(call(**args), (spec.eager(**args),), rtol=1e-5, atol=1e-6)


def theirs(*, other: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    wide = torch.nn.functional.gelu(gate.float(), approximate="tanh") * other.float()
    return wide.to(gate.dtype)


def test_a_layer_is_held_to_a_norm_alone() -> None:
    (spec,) = select(("gemma_gelu_tanh_mul",))
    with pytest.raises(KernelError, match="only to an op whose one vector is `weight`"):
        foreign("torch.nn:RMSNorm", spec)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("math", "no function"),
        ("no.such.module:f", "cannot be had: ModuleNotFoundError"),
        ("math:no_such", "cannot be had: AttributeError"),
        ("math:pi", "cannot be called"),
    ],
)
def test_what_is_no_function_is_refused(target: str, says: str) -> None:
    (spec,) = select(("fused_rmsnorm",))
    with pytest.raises(KernelError, match=says):
        foreign(target, spec)
