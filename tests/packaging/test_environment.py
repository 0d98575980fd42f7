"""`.ci/environment.py`: make what is missing, make anew what was interrupted, else do nothing."""

from __future__ import annotations

import importlib.util
import json
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
        "[tool.triage.lab]\nno_deps = []\nsglang_versions = ['1.0']\n"
    )
    venv = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(module, "COMPLETE", venv / ".complete")
    monkeypatch.setattr(module, "distributions", lambda: {"torch": "2.13.0"})
    module.calls = []

    def run(*command: str) -> None:
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
