"""The smoke from its command line, against a scripted SGLang: started, loaded, packed, resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.lab.server.conftest import FakeMachine, machine  # noqa: F401 (a fixture)
from triage.bench import gpu_smoke
from triage.lab.server.smoke.results import Results


def smoke(fake: FakeMachine, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Its servers' ports begin at a free one; only the first job's is used."""
    given = ("--out", str(out), "--work", str(fake.state / "work"), "--port", str(fake.port))
    return subprocess.run(
        [sys.executable, "-m", "triage.bench.gpu_smoke", *given, *options],
        env={**fake.environment, "HOME": str(fake.state)},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_run_leaves_cells_a_summary_and_its_evidence_and_is_gone_on_from(machine, tmp_path):  # noqa: F811
    # GIVEN the jobs of a sound server without sglang-triage
    out = tmp_path / "smoke"
    done = smoke(machine, out, "--only", "off", "--budget-s", "200")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # THEN every part held and outputs are compared with the sound server's
    record = json.loads((out / "summary.json").read_text())
    assert record["machine"]["gpu"] == "NVIDIA H200" and not record["not held"]
    assert record["outputs equal to"]["off/plain_again"] == {"equal": 96, "of": 96, "to": "off"}
    # AND the server was told what this GPU needs and found the lab's plugins first
    arguments = machine.told("arguments")
    assert arguments[arguments.index("--decode-attention-backend") + 1] == "trtllm_mha"
    path = machine.told("environment")["PYTHONPATH"].split(":")
    assert [Path(part).name for part in path[:2]] == ["oracle", "drafts"]
    # AND logs are packed, and nothing is left running
    with tarfile.open(out / "evidence.tar.xz") as tar:
        assert "off/server.log" in tar.getnames()
    assert machine.left() == []
    # WHEN it is run again THEN nothing is played again
    again = smoke(machine, out, "--only", "off")
    assert again.returncode == 0 and "off: done before" in again.stdout


@pytest.mark.parametrize(("says", "held"), [("", True), ("untold", False)])
def test_errors_of_ours_in_a_server_are_a_cell_with_its_answers_and_what_was_told(
    machine,  # noqa: F811
    tmp_path,
    says,
    held,
):
    # GIVEN a server with the injector, which begins at the second load
    machine.environment["FAKE_SERVER"] = says
    out = tmp_path / "smoke"
    done = smoke(machine, out, "--only", "inject", "--budget-s", "200")
    assert done.returncode == (0 if held else 1), done.stdout[-3000:] + done.stderr[-3000:]
    record = json.loads((out / "summary.json").read_text())
    cell = record["cells"]["inject/plain_injected"]
    # THEN its answers are held against the first load's, and each error must be told once
    assert cell["held"] is held and cell["figures"]["as the first load"]["equal"] == 96
    seen = cell["figures"]["injected"]
    assert seen["errors"] == 96 and (seen["told once"] == 96) is held
    assert held or "not told once: hook " in record["not held"]["inject/plain_injected"]
    # AND the injector lies below what the product binds, as SGLang's own code does
    path = machine.told("environment")["PYTHONPATH"].split(":")
    assert Path(path[0]).name == "injector"


def test_a_server_that_dies_is_a_cell_with_its_reason(machine, tmp_path):  # noqa: F811
    machine.environment["FAKE_SERVER"] = "memory"
    out = tmp_path / "smoke"
    done = smoke(machine, out, "--only", "off", "--budget-s", "200")
    assert done.returncode == 3
    record = json.loads((out / "summary.json").read_text())
    assert "Not enough memory" in record["not held"]["off/start"]
    assert record["not played"]["off/plain"] == "the server did not start"


def test_without_a_gpu_it_is_one_sentence(machine, tmp_path):  # noqa: F811
    machine.environment["CUDA_VISIBLE_DEVICES"] = "-1"
    done = smoke(machine, tmp_path / "smoke")
    assert done.returncode == 3 and "no NVIDIA GPU is visible" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("second", "held"), [(7.9, True), (8.1, False)])
def test_the_doctor_is_judged_by_its_second_call_beside_an_import(
    tmp_path, monkeypatch, second, held
):
    # GIVEN a first call that reads everything from a cold disk
    answers = iter([(29.0, 0, "a\nb"), (second, 0, "a\nb")] * 2)
    calls: list[list[str]] = []
    paths: list[str] = []

    def timed(arguments: list[str], environment: dict[str, str]) -> tuple[float, int, str]:
        calls.append(arguments)
        paths.append(environment["PYTHONPATH"])
        return next(answers)

    monkeypatch.setattr(gpu_smoke, "timed", timed)
    results = Results(tmp_path / "r.jsonl")
    gpu_smoke.ask_doctor(results, [tmp_path / "product"])
    cell = results.cells["doctor/with SGLang"]
    assert cell.held is held and cell.figures["seconds"] == second
    assert cell.figures["first_seconds"] == 29.0
    assert calls == [["-m", "triage", "doctor"]] * 4
    assert all(path.split(os.pathsep)[0] == str(tmp_path / "product") for path in paths)
