"""SGLang 0.5.23's unified pool: physical pages in tables, virtual slots in the request table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import prepared
from triage.lab import versions

RELEASE = "0.5.23"
VIRTUAL = "identity: a unified pool, whose request table holds virtual slots"
EXCUSED = "offenders of rows moved in flight"
RENAMED = "the pool renames its slots (unified pool)"


def played(backend: str, mode: str, directory: Any) -> dict[str, Any]:
    if RELEASE not in versions.available():
        pytest.skip(f"SGLang {RELEASE} is not unpacked beside the installed one")
    child = ("-m", "tests.sglang.unified_pool_child", backend, mode, directory)
    done = prepared.python(*child, version=RELEASE)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        ("trtllm_mha", "raise"),
        pytest.param("trtllm_mha", "contain", marks=pytest.mark.slow),
        pytest.param("fa3", "raise", marks=pytest.mark.slow),
        pytest.param("triton", "raise", marks=pytest.mark.slow),
        pytest.param("flashinfer", "raise", marks=pytest.mark.slow),
    ],
)
def test_a_healthy_unified_pool_raises_no_alarm_and_what_is_not_asked_is_said(
    backend, mode, tmp_path
):
    # GIVEN every family of traps over SGLang's unified pool
    found = played(backend, mode, tmp_path)
    healthy = found["healthy"]
    # THEN a sound run is silent, by the oracle too, and none of our checks broke
    assert healthy["steps"] > 20 and healthy["alarm"] == "" and healthy["oracle"] is None
    assert "internal errors" not in healthy["counts"]
    # AND that no launch is asked whose pages it reads is said
    what = VIRTUAL if backend in ("trtllm_mha", "fa3") else RENAMED
    assert any(what in each for each in healthy["not covered"])
    # AND a page behind the pool is refused before the launch, whoever's it is
    if found["planted"] is not None and mode == "raise":
        assert found["planted"]["alarm"] == "I1"


def test_a_request_that_ends_while_its_step_is_queued_is_no_alarm_of_a_unified_pool(tmp_path):
    # GIVEN mode contain and a step queued ahead, in which requests end: their physical pages are
    # gone from the table, and no identity is asked that would say whose they were
    found = played("trtllm_mha", "contain", tmp_path)
    for run in found["queued"]:
        # THEN nobody is accused, and the oracle agrees
        assert (run["alarm"], run["oracle"]) == ("", None) and run["steps"] > 20
        assert "internal errors" not in run["counts"]
    # AND the rows were looked at, and excused for whose they are
    assert sum(run["counts"].get(EXCUSED, 0) for run in found["queued"]) > 0
