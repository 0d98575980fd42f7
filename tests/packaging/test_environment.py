"""`.ci/environment.py`: make what is missing, make anew what was interrupted, else do nothing."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "environment.py"


@pytest.fixture
def environment(tmp_path, monkeypatch) -> ModuleType:
    """The script with its root in `tmp_path`, pip replaced, an interpreter that runs."""
    spec = importlib.util.spec_from_file_location("environment", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pyproject.toml").write_text(
        "[project.optional-dependencies]\nlab = ['torch==2.13.0']\n"
        "[tool.triage.lab]\nno_deps = []\nsglang_versions = ['1.0']\n"
    )
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(module, "COMPLETE", venv / ".complete")
    monkeypatch.setattr(module, "distributions", lambda: {"torch": "2.13.0"})
    module.calls = []

    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setattr(module, "nvidia_gpu", lambda: False)
    monkeypatch.setattr(module, "reachable", lambda url: False)
    module.real_run = module.run

    def run(*command: str, may_fail: bool = False) -> None:
        module.calls.append(command)
        if command[1:3] == ("-m", "venv"):
            (venv / "bin").mkdir(parents=True)
            (venv / "bin" / "python").symlink_to(sys.executable)
        if "--target" in command:
            (Path(command[command.index("--target") + 1]) / "sglang").mkdir(parents=True)

    monkeypatch.setattr(module, "run", run)
    return module


def test_an_empty_machine_gets_an_environment_and_a_second_run_does_nothing(environment):
    environment.main()
    assert environment.COMPLETE.exists()
    assert (environment.VENV / "sglang" / "1.0" / "sglang").is_dir()
    environment.calls.clear()
    environment.main()
    assert environment.calls == []


def test_an_interrupted_environment_is_made_anew(environment, capsys):
    environment.main()
    environment.COMPLETE.unlink()
    (environment.VENV / "half-made").write_text("")
    environment.main()
    assert "interrupted" in capsys.readouterr().out
    assert environment.COMPLETE.exists() and not (environment.VENV / "half-made").exists()


def test_a_lost_distribution_is_put_back_without_starting_over(environment, monkeypatch):
    environment.main()
    marker = environment.VENV / "kept"
    marker.write_text("")
    lost = {"present": {}}
    monkeypatch.setattr(environment, "distributions", lambda: lost["present"])
    environment.calls.clear()
    environment.main()
    assert any("install" in call for call in environment.calls) and marker.exists()


@pytest.mark.parametrize("damage", ["digest", "json", "release", "interpreter"])
def test_damage_is_seen(environment, damage):
    environment.main()
    if damage == "digest":
        known = json.loads(environment.COMPLETE.read_text())
        environment.COMPLETE.write_text(json.dumps({**known, "digest": "old"}))
    elif damage == "json":
        environment.COMPLETE.write_text("{")
    elif damage == "release":
        (environment.VENV / "sglang" / "1.0" / "sglang").rmdir()
        (environment.VENV / "sglang" / "1.0").rmdir()
    else:
        environment.PYTHON.unlink()
    assert not environment.is_whole()
    environment.main()
    assert environment.is_whole()


def torch_installed(environment) -> list[tuple[str, ...]]:
    return [call for call in environment.calls if "torch==2.13.0" in call]


def test_without_a_gpu_torch_comes_from_the_cpu_index_before_all_else(
    environment, monkeypatch, capsys
):
    monkeypatch.setattr(environment, "reachable", lambda url: True)
    environment.main()
    (first,) = torch_installed(environment)
    assert first[first.index("--extra-index-url") + 1] == environment.CPU_INDEX
    assert environment.calls.index(first) == 1, "pip would have taken CUDA's with the project"
    # AND its size and time are said before anything is installed
    said = capsys.readouterr().out.splitlines()
    assert "no NVIDIA GPU" in said[0] and "3.5 GB" in said[1] and "minutes" in said[2]


@pytest.mark.parametrize("because", ["gpu", "unreachable", "own index"])
def test_else_pip_chooses_and_the_size_is_said(environment, monkeypatch, capsys, because):
    monkeypatch.setattr(environment, "reachable", lambda url: because != "unreachable")
    monkeypatch.setattr(environment, "nvidia_gpu", lambda: because == "gpu")
    if because == "own index":
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://example.invalid/simple")
    environment.main()
    assert torch_installed(environment) == []
    assert "6.5 GB" in capsys.readouterr().out.splitlines()[1]


def test_an_index_that_nobody_answers_for_is_not_reachable(environment, tmp_path):
    spec = importlib.util.spec_from_file_location("untouched", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "page").write_text("")
    assert module.reachable((tmp_path / "page").as_uri())
    assert not module.reachable("http://127.0.0.1:9/whl/cpu/torch/")


def test_a_long_step_tells_what_it_does_and_for_how_long(environment, monkeypatch, capsys):
    monkeypatch.setattr(environment, "TOLD_EVERY_S", {True: 0.2, False: 0.2})
    slow = "import time; print('Collecting torch', flush=True); time.sleep(1)"
    environment.real_run(sys.executable, "-c", slow)
    assert "0 s  Collecting torch" in capsys.readouterr().out


def test_what_a_failed_step_said_is_shown(environment, capsys):
    fails = "import sys; print('no space left'); sys.exit(1)"
    with pytest.raises(SystemExit, match="failed"):
        environment.real_run(sys.executable, "-c", fails)
    assert "no space left" in capsys.readouterr().out
    environment.real_run(sys.executable, "-c", fails, may_fail=True)
    assert "going on" in capsys.readouterr().out


def make(target: str, python: Path) -> subprocess.CompletedProcess[str]:
    """`make TARGET PYTHON=...` as a user types it, also where these tests run below a make."""
    return subprocess.run(
        ["make", target, f"PYTHON={python}"],
        cwd=SCRIPT.parents[1],
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.10"])
def test_an_older_python_is_told_what_is_needed_before_it_reads_anything(tmp_path, version):
    # GIVEN an interpreter that says it is an older one
    old = tmp_path / "python"
    pretend = f"import sys; sys.version_info = ({version.replace('.', ', ')}); exec(sys.argv[2])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}" "$@"\n')
    old.chmod(0o755)
    # WHEN the first command of the README is given with it
    done = make("demo", old)
    # THEN what is needed and what to type are said, and nothing else
    assert done.returncode != 0 and done.stdout == ""
    said = done.stderr.splitlines()[0]
    assert said.startswith("Python 3.11 or newer is needed") and f"is {version};" in said
    assert said.endswith("make demo PYTHON=python3.12")


@pytest.mark.parametrize("target", ["gpu", "gpu-smoke", "b200"])
def test_a_python_without_torch_is_told_which_one_is_meant(tmp_path, target):
    # GIVEN an interpreter that sees no package at all
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    # WHEN what needs a GPU's Python is started with it
    done = make(target, bare)
    # THEN what is missing and what to name are one sentence
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "has no torch, click" in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[0].endswith(f"make {target} PYTHON=...")
