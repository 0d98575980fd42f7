"""The golden dumps can be made again, and are what the other tests take them for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from triage.dump.file import encode, read_dump
from triage.dump.request_ids import FACT, without_request_ids
from triage.explain import explain
from triage.lab.golden import DIRECTORY, GOLDEN, make


def test_every_dump_in_the_folder_is_in_the_table_and_small():
    assert {path.name for path in DIRECTORY.glob("*.msgpack")} == {g.path.name for g in GOLDEN}
    assert all(golden.path.stat().st_size < 100_000 for golden in GOLDEN)


def test_a_golden_dump_made_again_is_the_same_but_for_provenance(tmp_path):
    golden = GOLDEN[0]
    again, kept = read_dump(make(golden, tmp_path)), read_dump(golden.path)
    assert encode(same(again)) == encode(same(kept))


def same(dump):
    """Without where it was made, and without hashes of requests and lines of code, that change."""
    fault = replace(dump.fault, pages=())
    return without_request_ids(replace(dump, provenance={}, fault=without_rows(fault)))


def without_rows(fault):
    violations = tuple(replace(each, request_id="") for each in fault.violations)
    facts = {name: value for name, value in fault.facts.items() if name != FACT}
    return replace(fault, violations=violations, facts=facts)


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_golden_dump_names_no_machine(golden):
    assert set(read_dump(golden.path).provenance) <= {"python", "versions", "gpu"}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_a_golden_dump_is_explained_by_name(golden):
    found = explain(read_dump(golden.path))
    assert "SWA state not swapped with the pool" in str(found)
