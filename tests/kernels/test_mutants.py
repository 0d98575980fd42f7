"""Planted defects: each one is caught, and the edits still fit the source."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from triage_kernels.core.errors import MutantError
from triage_kernels.core.interpreter import interpreting
from triage_kernels.validate.defects import DEFECTS, Mutant
from triage_kernels.validate.mutants import UPSTREAM, detect, matrix, source_of
from triage_kernels.validate.registry import OURS

from triage.commands.kernels_group import kernels

needs_interpreter = pytest.mark.skipif(
    not interpreting(), reason="a stray access of a compiled mutant would end the process"
)


def test_there_are_at_least_25_and_every_one_is_of_a_kernel_in_the_registry() -> None:
    assert len(DEFECTS) >= 25
    assert len({m.name for m in DEFECTS}) == len(DEFECTS)
    assert {m.op for m in DEFECTS} <= {spec.name for spec in OURS} == set(UPSTREAM)


@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in DEFECTS])
def test_its_edits_fit_the_source_and_change_it(mutant: Mutant) -> None:
    original = Path(__file__).parents[2] / f"kernels/triage_kernels/ops/{mutant.module}.py"
    assert source_of(mutant) != original.read_text()


def test_an_edit_that_no_longer_fits_is_an_error() -> None:
    stale = Mutant("stale", "gemma_rmsnorm_add", "rmsnorm_add", "-", (("no such words", ""),))
    with pytest.raises(MutantError, match="0 matches"):
        source_of(stale)


@pytest.mark.slow
@needs_interpreter
@pytest.mark.parametrize(
    "mutant", [pytest.param(m, id=m.name) for m in DEFECTS if m.device == "cpu"]
)
def test_it_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    detection = detect(mutant, tmp_path)
    assert detection.caught_by, f"{mutant.name} slipped through: {mutant.what}"


@needs_interpreter
def test_an_unchanged_copy_passes_and_the_matrix_says_so(tmp_path: Path) -> None:
    # GIVEN a mutant whose edit changes nothing that matters
    harmless = Mutant(
        "harmless",
        "gemma_gelu_tanh_mul",
        "gelu_tanh_mul",
        "a comment",
        (("    # exp of a non-positive number only", "    # An exponential that only"),),
    )
    # THEN no check catches it
    detection = detect(harmless, tmp_path)
    assert detection.caught_by == ()
    assert "**nothing**" in matrix([detection])


@needs_interpreter
def test_the_matrix_goes_to_standard_output_alone() -> None:
    run = CliRunner().invoke(kernels, ["mutants", "erf-for-tanh", "--markdown", "-"])
    assert run.exit_code == 0, run.output
    assert run.stdout.startswith("| defect |") and "| erf-for-tanh |" in run.stdout
    assert "\ncaught erf" not in run.stdout and "caught erf-for-tanh" in run.stderr
