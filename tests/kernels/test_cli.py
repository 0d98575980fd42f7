"""The commands: output and exit codes. Device cpu runs the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from triage_kernels.validate.registry import KERNELS

from triage.commands.kernels_group import kernels

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this process has compiled kernels")


def invoke(*arguments: str):
    return CliRunner().invoke(kernels, list(arguments))


@on_cpu
def test_list_names_every_kernel_and_what_cannot_run() -> None:
    run = invoke("list", "--json")
    assert run.exit_code == 0, run.output
    records = {r["op"]: r for r in json.loads(run.output)["rows"]}
    assert set(records) == {spec.name for spec in KERNELS}
    assert records["gemma_rmsnorm_add"]["providers"]["ours"] == "ready"
    assert records["rmsnorm_fanout"]["providers"]["ours"].startswith("CANNOT_RUN")


@on_cpu
def test_validate_prints_a_line_a_check_and_writes_what_it_is_asked_to(tmp_path: Path) -> None:
    junit, lines = tmp_path / "junit.xml", tmp_path / "results.jsonl"
    arguments = (
        "validate", "gemma_gelu_tanh_mul", "--check", "error-bound", "--check", "gelu-tail",
        "--dtype", "float16", "--output", str(lines), "--junit", str(junit),
    )  # fmt: skip
    run = invoke(*arguments)
    assert run.exit_code == 0, run.output
    assert "2 PASS" in run.output
    suite = ElementTree.fromstring(junit.read_text())
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert len(lines.read_text().splitlines()) == 2
    # AND a second run finds everything done
    again = invoke(*arguments, "--force")
    assert "2 PASS" in again.output and len(lines.read_text().splitlines()) == 2


@on_cpu
def test_a_failing_kernel_gives_exit_code_1_and_a_line_to_repeat_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from triage_kernels.ops.rmsnorm_add import gemma_rmsnorm_add

    def off(**args: torch.Tensor) -> torch.Tensor:
        return gemma_rmsnorm_add(**args) * 1.01  # type: ignore[arg-type]

    monkeypatch.setattr("triage_kernels.validate.runner.resolve", lambda *_: off)
    run = invoke("validate", "gemma_rmsnorm_add", "--check", "error-bound", "--details")
    assert run.exit_code == 1
    assert "triage kernels validate gemma_rmsnorm_add --provider ours" in run.output


@pytest.mark.parametrize(
    "arguments",
    [("validate", "gemma_norm"), ("validate", "--check", "x"), ("mutants", "no-such")],
    ids=["op", "check", "mutant"],
)
@on_cpu
def test_an_unknown_name_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    run = invoke(*arguments)
    assert run.exit_code == 2
    assert "there are: " in run.output


@pytest.mark.parametrize(
    "arguments",
    [("aot", "no-such"), ("bench", "no-such"), ("bench", "--contender", "x")],
    ids=["aot", "bench-op", "contender"],
)
def test_so_it_is_where_the_compiler_runs(arguments: tuple[str, ...]) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "triage", "kernels", *arguments], capture_output=True, text=True
    )
    assert run.returncode == 2, run.stderr
    assert "there are: " in run.stderr


@on_cpu
def test_an_absent_provider_is_cannot_run() -> None:
    run = invoke("validate", "gemma_rmsnorm_add", "--provider", "sglang")
    assert run.exit_code == 3
    assert "CANNOT_RUN" in run.output


def test_help_needs_neither_torch_nor_triton() -> None:
    program = (
        "import sys; from click.testing import CliRunner\n"
        "from triage.commands.kernels_group import kernels\n"
        "for c in ('--help', 'validate --help', 'bench --help'):\n"
        "    assert CliRunner().invoke(kernels, c.split()).exit_code == 0\n"
        "assert not {'torch', 'triton'} & set(sys.modules), 'imported too early'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_device_is_refused_once_triton_is_loaded_for_the_other() -> None:
    program = (
        "import triton\n"
        "from click.testing import CliRunner; from triage.commands.kernels_group import kernels\n"
        "run = CliRunner().invoke(kernels, ['list', '--device', 'cpu'])\n"
        "assert run.exit_code == 3 and 'start a fresh process' in run.output, run.output"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


@pytest.mark.slow
def test_aot_compiles_for_hopper_and_blackwell_and_reports_what_it_found() -> None:
    # The interpreter's choice is per process, so this one is not ours.
    program = (
        "from triage.commands.kernels_group import kernels\n"
        "kernels(['aot', 'gemma_gelu_tanh_mul', 'gemma_routing_post_topk', '--arch', '90',"
        " '--arch', '120', '--json'])"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "HOME": "/tmp"}
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    records = json.loads(run.stdout)["rows"]
    assert {r["arch"] for r in records} == {90, 120}
    assert all(r["registers"] > 0 and not r["f64"] and not r["spills"] for r in records)
