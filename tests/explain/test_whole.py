"""Nothing is left out in silence: JSON has all rows, a view says how many it does not show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.explain.test_weighing import FMHA, sanitizer
from tests.importers import texts
from triage.cli import main
from triage.dump.file import write_dump
from triage.dump.observation import MAX_OBSERVATIONS
from triage.dump.sections import Dump
from triage.evidence import Evidence, Violation
from triage.invariants.found import Found
from triage.invariants.rows import rows_with_page


def run(*arguments: str, text: str | None = None) -> str:
    ran = CliRunner().invoke(main, arguments, input=text)
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.fixture
def wide(tmp_path) -> str:
    """A launch of 64 rows, wrong in every one."""
    return str(write_dump(dumps.make_dump(dumps.E4B), tmp_path, name="d.msgpack"))


def test_every_row_of_a_cause_is_in_json_and_the_view_says_how_many_more(wide):
    (told,) = json.loads(run("explain", "--json", wide))["explanations"]
    (cause,) = told["causes"]
    assert [each["row"] for each in cause["rows"]] == list(range(64))
    assert cause["rows_total"] == 64
    assert "and 59 more (--json has them)" in run("explain", wide)


def test_every_row_of_the_table_is_in_json_and_the_view_says_how_many_there_are(wide):
    shown = json.loads(run("show", "--json", wide))
    assert len(shown["rows"]) == shown["rows_total"] == 64
    assert all(len(each["entries"]) == each["entries_total"] for each in shown["rows"])
    assert "8 of 64 rows" in run("show", "-v", wide)


def test_of_offenders_that_a_fault_did_not_keep_the_number_is_told(tmp_path):
    kept = tuple(
        Violation("I3", "out_cache_loc", row, 0, 1, 16, 656, kind=Found.WRITE_OUTSIDE_POOL)
        for row in range(64)
    )
    fault = Evidence("I3", "writes", "step 3", total=500, violations=kept, facts={"step": 3})
    path = str(write_dump(Dump(fault), tmp_path, name="d.msgpack"))
    (told,) = json.loads(run("explain", "--json", path))["explanations"]
    assert {(len(each["rows"]), each["rows_total"]) for each in told["causes"]} == {(64, 500)}
    assert "and 495 more (--json has 59 of them)" in run("explain", path)


def test_a_page_that_many_entries_name_is_told_with_all_of_them(tmp_path):
    dump = dumps.make_dump(dumps.E4B)
    values = dump.tables.page_table.values.copy()
    values[:] = 10742
    table = replace(dump.tables.page_table, values=values)
    dump = replace(dump, tables=replace(dump.tables, page_table=table))
    facts = dump.launch.tensors["k_cache"]
    address = facts.data_ptr + 10742 * (facts.storage_bytes // dump.launch.num_pages) + 32
    log = tmp_path / "log"
    log.write_text(sanitizer(FMHA, address))
    path = str(write_dump(dump, tmp_path, name="d.msgpack"))
    (told,) = json.loads(run("explain", "--json", path, str(log)))["explanations"]
    (seen,) = told["observations"]
    assert len(seen["entries"]) == len(values)
    assert f"{len(values) - 8} more entries" in seen["sentences"][0]


def test_all_rows_that_name_a_page_are_found():
    table = torch.full((40, 4), 64)
    assert rows_with_page(table, 64, 16) == list(range(1, 40))


def test_reports_beyond_those_that_are_listed_are_counted():
    text = "".join(texts.CANARY.format(pool="FULL", slot=16 * n) for n in range(600))
    told = json.loads(run("explain", "--json", "-", text=text))
    assert len(told["observations"]) == MAX_OBSERVATIONS
    assert "88 further reports are not listed" in told["inputs"][0]["problem"]
