"""`.ci/browser.py`: apt is asked only where the machine is ours to change."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "browser.py"


@pytest.fixture
def browser(monkeypatch) -> ModuleType:
    """The script on a Debian without a browser, as root, apt replaced."""
    spec = importlib.util.spec_from_file_location("browser", SCRIPT)
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


def test_on_debian_as_root_it_is_installed(browser):
    browser.main()
    assert browser.ran[-1][-1] == "chromium" and browser.ran[0][:2] == ["apt-get", "update"]


def test_where_one_is_there_nothing_happens(browser, monkeypatch):
    monkeypatch.setattr(browser, "shutil", SimpleNamespace(which=lambda name: f"/bin/{name}"))
    browser.main()
    assert browser.ran == []


@pytest.mark.parametrize("other", ["user", "system"])
def test_elsewhere_a_sentence_says_what_is_missing(browser, monkeypatch, capsys, other):
    if other == "user":
        monkeypatch.setattr(browser, "os", SimpleNamespace(geteuid=lambda: 1000, environ={}))
    else:
        monkeypatch.setattr(browser, "is_debian", lambda: False)
    browser.main()
    assert browser.ran == []
    assert "apt-get install -y chromium" in capsys.readouterr().out


def test_an_apt_that_fails_ends_it_with_a_sentence(browser, capsys):
    browser.status = 100
    browser.main()
    assert len(browser.ran) == 1 and "failed: apt-get update" in capsys.readouterr().out
