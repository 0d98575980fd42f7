"""A runtime of which the construction fails leaves no settings in force."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from triage.lab import rig, runtime
from triage.lab.scenarios import SCENARIOS


class Settings:
    """What SGLang publishes, as the lab holds it."""

    def __init__(self, **settings: object) -> None:
        self.withdrawn = 0
        made.append(self)

    def withdraw(self) -> None:
        self.withdrawn += 1


made: list[Settings] = []


@pytest.mark.parametrize("part", ["the runtime", "the bench"])
def test_a_trap_during_construction_leaves_no_settings_behind(part, monkeypatch):
    # GIVEN a bench of which one part fails, as where a trap of sizes fires
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a trap fired")

    made.clear()
    monkeypatch.setattr(runtime, "Published", Settings)
    monkeypatch.setattr(runtime.Runtime, "_construct", fails if part == "the runtime" else _none)
    monkeypatch.setattr(rig.Bench, "_equip", fails)
    # WHEN it is made
    with pytest.raises(RuntimeError, match="a trap fired"):
        rig.Bench(SimpleNamespace(gpu=None), next(iter(SCENARIOS.values())))
    # THEN its settings are withdrawn: left to the garbage collector, they would take those of
    # a later run with them
    assert [each.withdrawn for each in made] == [1]


def _none(*_: object) -> None:
    pass
