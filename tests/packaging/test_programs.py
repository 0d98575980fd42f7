"""`.ci/programs.py`: apt is asked only where the machine is ours to change."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "programs.py"


@pytest.fixture
def programs(monkeypatch) -> ModuleType:
    """The script on a Debian without the programs, as root, apt replaced."""
    spec = importlib.util.spec_from_file_location("programs", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ran = []
    module.status = 0

    def run(command, **_):
        module.ran.append(command)
        return SimpleNamespace(returncode=module.status)

    monkeypatch.setattr(module, "subprocess", SimpleNamespace(run=run, DEVNULL=None))
    monkeypatch.setattr(
        module,
        "shutil",
        SimpleNamespace(which=lambda name: "/bin/apt-get" if "apt" in name else None),
    )
    monkeypatch.setattr(module, "is_debian", lambda: True)
    monkeypatch.setattr(module, "os", SimpleNamespace(geteuid=lambda: 0, environ={}))
    return module


def test_on_debian_as_root_they_are_installed(programs):
    programs.main()
    assert programs.ran[-1][-2:] == ["chromium", "prometheus"] and programs.ran[0][:2] == [
        "apt-get",
        "update",
    ]


def test_where_they_are_there_nothing_happens(programs, monkeypatch):
    monkeypatch.setattr(programs, "shutil", SimpleNamespace(which=lambda name: f"/bin/{name}"))
    programs.main()
    assert programs.ran == []


@pytest.mark.parametrize("other", ["user", "system"])
def test_elsewhere_a_sentence_says_what_is_missing(programs, monkeypatch, capsys, other):
    if other == "user":
        monkeypatch.setattr(programs, "os", SimpleNamespace(geteuid=lambda: 1000, environ={}))
    else:
        monkeypatch.setattr(programs, "is_debian", lambda: False)
    programs.main()
    assert programs.ran == []
    assert "apt-get install -y chromium prometheus" in capsys.readouterr().out


def test_an_apt_that_fails_ends_it_with_a_sentence(programs, capsys):
    programs.status = 100
    programs.main()
    assert len(programs.ran) == 1 and "failed: apt-get update" in capsys.readouterr().out
