"""One set of drawn examples, so that what fails on one machine fails on all; and JSON is checked.

`pytest --hypothesis-profile=hunt` draws new ones.
"""

from __future__ import annotations

import gc
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# Nor may the speed of a machine decide: a busy one draws and runs more slowly.
SLOW_IS_NO_FAILURE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **SLOW_IS_NO_FAILURE)
settings.register_profile("hunt", print_blob=True)
settings.load_profile("same")


def pytest_collection_finish() -> None:
    """Kernels are interpreted as in the lab, whatever ran before in this process; and what was
    imported and collected lives to the end: no collection of garbage walks it again."""
    if os.environ.get("TRITON_INTERPRET") == "1" and "triton" in sys.modules:
        from triage.lab import interpreter

        interpreter.speed_up()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_width_of_this_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed in this process is as wide as in a pipe, unless a test says how wide."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def reports_obey_their_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command prints as JSON in this process is held against its schema."""
    jsonschema = pytest.importorskip("jsonschema")
    from triage.files import reports

    made = reports.report

    def checked(name: str, value: object) -> dict[str, object]:
        found = made(name, value)
        jsonschema.validate(found, reports.schema_of(name))
        return found

    monkeypatch.setattr(reports, "report", checked)
