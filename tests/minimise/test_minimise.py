"""The smallest case still fails as the large one does, and passes where the large one would."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.dump.test_dump_round_trip import same
from tests.explain.test_explain import CASES
from triage.cli import main
from triage.dump.file import decode, encode, read_dump, write_dump
from triage.evidence import Evidence
from triage.explain import explain
from triage.minimise import minimise
from triage.minimise.signature import signature_of
from triage.replay.deduction import deduce
from triage.replay.verdict import Outcome


@pytest.fixture(scope="module")
def e4b():
    return dumps.make_dump()


def test_the_e4b_dump_becomes_one_row_and_a_few_pages_under_4_kb_in_seconds(e4b):
    started = time.perf_counter()
    found = minimise(e4b)

    assert time.perf_counter() - started < 10
    assert found.after.rows == 1
    assert found.after.visible_pages <= 3
    assert found.after.encoded_bytes < 4096
    assert found.before.rows == 64


def test_it_fails_before_the_fix_and_passes_after_it(e4b):
    small = minimise(e4b).dump

    assert deduce(small).outcome is Outcome.REPRODUCED
    assert deduce(small).figures["footprint"]["bad"]["must"]["fault"] > 0
    assert deduce(small, "state-swap").exit_code == 0
    assert [cause.key for cause in explain(small).named] == ["stale-swa-state"]


@pytest.mark.parametrize("key", CASES)
def test_every_known_class_survives_with_its_whole_signature(key):
    dump = CASES[key][0]()
    signature = signature_of(dump)

    found = minimise(dump)

    if signature.fails:
        assert signature_of(found.dump) == signature
        assert found.after.rows <= 2
        assert found.after.encoded_bytes < 4096
        assert same(decode(encode(found.dump)).tables, found.dump.tables)
    else:
        assert found is None


def test_the_result_is_the_same_every_time(e4b):
    assert encode(minimise(e4b).dump) == encode(minimise(e4b).dump)


def test_minimising_the_minimum_changes_no_table(e4b):
    once = minimise(e4b).dump

    assert same(minimise(once).dump.tables, once.tables)


def test_the_recorded_offenders_are_those_that_are_left(e4b):
    fault = minimise(e4b).dump.fault

    assert fault.total == len(fault.violations) == 1
    (violation,) = fault.violations
    assert (violation.row, violation.column) == (0, 0)
    assert violation.expected is not None


def test_speculative_and_ragged_launches_come_down_to_one_query():
    sizes = replace(dumps.SMALL, q_len=4)
    found = minimise(dumps.make_dump(sizes))

    assert found.dump.launch.q_len_per_req == 1


@pytest.mark.parametrize(("fault", "code"), [("I1", 5), ("", 0)])
def test_a_dump_that_does_not_fail_is_left_alone(tmp_path, fault, code):
    dump = replace(dumps.make_dump(dumps.SMALL, "right"), fault=Evidence(fault, "", ""))
    path = write_dump(dump, tmp_path, name="sound")

    outcome = CliRunner().invoke(main, ["minimise", str(path), "-o", str(tmp_path / "small")])

    assert outcome.exit_code == code
    assert "does not fail" in outcome.output
    assert not (tmp_path / "small").exists()


def test_the_command_shows_before_and_after_and_names_the_file(tmp_path, e4b):
    path = write_dump(e4b, tmp_path, name="e4b")

    outcome = CliRunner().invoke(main, ["minimise", str(path), "-o", str(tmp_path / "small")])

    assert outcome.exit_code == 0
    assert "before: 64 rows" in outcome.output
    assert "after:  1 rows" in outcome.output
    assert f"wrote {tmp_path / 'small'}" in outcome.output
    assert read_dump(tmp_path / "small").provenance["minimised"]["rows"] == 64


def test_a_dump_without_a_launch_is_one_sentence_and_exit_2(tmp_path):
    path = write_dump(replace(dumps.make_dump(dumps.SMALL), launch=None, tables=None), tmp_path)

    outcome = CliRunner().invoke(main, ["minimise", str(path), "-o", str(tmp_path / "small")])

    assert outcome.exit_code == 2
    assert outcome.output.count("\n") == 1
