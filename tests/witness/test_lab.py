"""The witness on SGLang's real classes: silent over mixed loads; it splits table from kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.dump.file import read_dump
from triage.explain import explain
from triage.explain.cause import Confidence
from triage.lab import versions

PLAYED = [
    ("0.5.18", "raise"),
    ("0.5.14", "log"),
    *(
        pytest.param((version, mode), marks=pytest.mark.slow)
        for version, mode in (
            ("0.5.12.post1", "contain"),
            ("0.5.13.post1", "raise"),
            ("0.5.15.post1", "log"),
            ("0.5.23", "contain"),
        )
    ),
]

OWN_DEFECTS = {("0.5.12.post1", "EAGLE"): "StaleSWAState"}
"""What releases have by themselves, told by the table's check: a draft's own pool, translated.

Logged once where the draft's backend is built, then raised at the first wrong id.
"""


@pytest.fixture(scope="module", params=PLAYED, ids=" ".join)
def played(request, tmp_path_factory):
    version, mode = request.param
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked here")
    folder = tmp_path_factory.mktemp("witness")
    done = prepared.python("-m", "tests.witness.lab_child", mode, 2, folder, version=version)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["sglang"] == version
    return mode, found


def wrong_outputs(run):
    return [line for line in (run["message"], *run["logged"]) if "I28" in line]


def wrong_tables(run):
    return [line for line in (run["message"], *run["logged"]) if "I2:" in line or "I20:" in line]


def test_a_right_kernel_over_mixed_loads_is_silent_and_was_looked_at(played):
    _, found = played
    assert len(found["healthy"]) >= 2
    for name, run in found["healthy"].items():
        own = OWN_DEFECTS.get((found["sglang"], name), "")
        assert run["error"] == own and run["failures"] == {}, name
        if own:
            (built,) = run["logged"]
            assert "a pool of its own" in built and "no id is wrong yet" in built, name
            continue
        assert run["logged"] == [], name
        # THEN every second step was looked at, and all that was looked at could be compared
        assert run["rows"] >= 20 and run["left_out"] == {}, name
        # AND the nearest difference of a right kernel is a part of what is allowed, not nothing
        assert 0.01 < run["nearest"] < 1, name


def test_a_kernel_that_misplaces_one_row_is_told_as_a_wrong_kernel(played):
    mode, found = played
    run = found["kernel"]
    # THEN the output is told, with both values, and no table is blamed
    assert wrong_outputs(run) and not wrong_tables(run) and run["wrong_launches"] == 0
    assert "out[row 1" in wrong_outputs(run)[0] and "the pages give" in wrong_outputs(run)[0]
    if mode == "log":
        return
    assert run["error"] == "WrongOutput"
    # AND the dump explains itself
    dump = read_dump(Path(run["dump"]))
    (named,) = explain(dump).named
    assert (named.key, named.confidence) == ("kernel-wrong-output", Confidence.HIGH)
    assert dump.launch is not None and dump.launch.q_len_per_req == 4
    assert dump.tables is not None and len(dump.tables.cache_seqlens) > 1
    assert dump.tables.req_to_token is None  # it may have moved on since


def test_a_wrong_table_is_told_by_the_tables_check_and_not_by_the_witness(played):
    mode, found = played
    for which in ("table", "both"):
        run = found[which]
        assert run["wrong_launches"] > 0 or mode == "raise"
        assert wrong_tables(run)
    # The kernel was right for the pages that it was given.
    assert not wrong_outputs(found["table"])
    if mode == "log":  # the server goes on: steps with wrong tables clear nobody and blame nobody
        assert any("tables were wrong" in why for why in found["both"]["left_out"])
