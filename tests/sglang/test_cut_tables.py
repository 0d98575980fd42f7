"""SGLang 0.5.23's tables that are sorted, cut or expanded: checked as a whole, once a forward."""

from __future__ import annotations

import json

import pytest

from tests import prepared


@pytest.mark.parametrize("mode", ["raise", pytest.param("contain", marks=pytest.mark.slow)])
def test_a_table_that_is_cut_before_the_call_is_asked_whose_pages_it_names(tmp_path, mode):
    # WHEN the lab drives the released backend with two parts of a sorted batch, and with the
    # prefill of sm_90, sound and with full-pool ids in the sliding layers' table
    child = "tests.sglang.cut_tables_child"
    done = prepared.python("-m", child, tmp_path, mode, version="0.5.23")
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    plain = seen["as ever"]
    for which in ("sorted", "expanded"):
        # THEN the sound run is silent, and judged exactly as an uncut one, identity included
        for name in ("trapped", "tables", "launches", "not identified"):
            assert seen[which][name] == plain[name], (which, name)
        assert seen[which]["not identified"] == 0
        # AND the defect is named
        assert seen[f"{which}, defect"]["trapped"] == ["WrongIndexSpace", "I2", "swa"]
    # AND the cut was there: more calls than layers, and a table of three dimensions
    assert seen["sorted"]["calls"] > plain["calls"]
    assert seen["expanded"]["dimensions"] == [2, 3]
