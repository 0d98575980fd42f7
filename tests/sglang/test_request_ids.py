"""Errors and dumps of SGLang's real classes name the request of each row, hashed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sglang.conftest import VERSIONS
from triage.dump.file import read_dump
from triage.dump.request_ids import HASHED, ids_of


@pytest.mark.parametrize("version", VERSIONS)
def test_the_launch_that_is_stopped_names_its_requests(version, lab):
    report = lab(version, "--reinject", "stale-swa-state")
    dump = read_dump(Path(report["trapped"]["dump"]))
    # One id a row, and the same request behind the finding and the table
    assert len(set(dump.tables.request_ids)) == len(dump.tables.cache_seqlens)
    assert all(HASHED.fullmatch(each) for each in dump.tables.request_ids)
    offender = dump.fault.violations[0]
    assert offender.request_id == dump.tables.request_ids[offender.row]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_crash_names_the_requests_that_the_scheduler_holds(version, lab):
    report = lab(version, "--reinject", "stale-swa-state", "--mode", "log")
    dump = read_dump(Path(report["ring"]))
    told = dump.tables.request_ids
    assert len(told) == len(dump.tables.cache_seqlens) and all(map(HASHED.fullmatch, told))
    assert ids_of(dump) == dict(zip(dump.tables.req_pool_indices.tolist(), told, strict=True))
