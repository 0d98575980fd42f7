"""Rows are told with their request: hashed by default, and only as far as it is known."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from triage.cli import main
from triage.dump.file import decode, encode, write_dump
from triage.dump.redact import redact
from triage.dump.request_ids import FACT, HASHED, ids_of, shown_id, with_request_ids
from triage.dump.sections import Dump
from triage.errors import DumpError
from triage.evidence import Evidence, Violation
from triage.explain import explain
from triage.lab.versions import available
from triage.sglang.holders import BATCHES, Holders, rids_of_forward

RIDS = ("alice-1", "bob-2", "carol-3", "dave-4")


def launch(**changes) -> Dump:
    dump = dumps.make_dump(dumps.SMALL)
    rows = np.arange(1, 5, dtype=np.int64)
    wrong = Violation("I2", "block_tables", 1, 3, 7, 0, 99, 12, req_pool_index=2)
    return replace(
        dump,
        tables=replace(dump.tables, req_pool_indices=rows, **changes),
        fault=replace(dump.fault, violations=(wrong,)),
    )


def test_one_request_has_one_hash_in_all_that_a_process_tells():
    # GIVEN the ids of a launch, as its forward batch has them
    dump = with_request_ids(launch(request_ids=RIDS), {})
    # THEN table, finding and error name the same hash, and no id stands in the file
    assert dump.tables.request_ids == tuple(map(shown_id, RIDS))
    assert all(HASHED.fullmatch(each) for each in dump.tables.request_ids)
    assert dump.fault.violations[0].request_id == shown_id("bob-2")
    assert f"of request 2 (id {shown_id('bob-2')})" in dump.fault.headline()
    assert b"bob" not in encode(dump)
    assert decode(encode(dump)).tables.request_ids == dump.tables.request_ids


def test_an_id_is_told_as_it_is_where_identity_was_asked_for():
    dump = with_request_ids(launch(request_ids=RIDS), {}, plain=True)
    assert dump.tables.request_ids == RIDS
    assert redact(dump, identity=True).tables.request_ids == RIDS
    # AND whoever redacts that file hashes it, the very same for the same request
    clean = redact(dump)
    assert clean.tables.request_ids == tuple(map(shown_id, RIDS))
    assert clean.fault.violations[0].request_id == clean.tables.request_ids[1]


def test_rows_that_nobody_knew_stay_not_recorded():
    dump = with_request_ids(launch(), {2: "bob-2", 9: "of no row here"})
    assert dump.tables.request_ids == ("", shown_id("bob-2"), "", "")
    assert with_request_ids(launch(), {}).tables.request_ids == ()


def test_what_the_launch_says_goes_before_what_the_scheduler_says_later():
    dump = with_request_ids(launch(request_ids=RIDS), {2: "zoe"})
    assert ids_of(dump)[2] == shown_id("bob-2")


def test_a_finding_without_a_launch_names_the_requests_of_its_rows():
    facts = {"rows_with_that_page": [3, 5]}
    seen = Violation("I20", "last_loc", 0, 0, 256, 16, 2**31, 19, req_pool_index=4)
    fault = Evidence("I20", "a slot", "alloc_decode", total=1, violations=(seen,), facts=facts)
    dump = with_request_ids(Dump(fault), {3: "carol-3", 4: "dave-4"})
    dump = redact(decode(encode(dump)))
    assert dump.fault.facts[FACT] == {"3": shown_id("carol-3")}
    assert ids_of(dump) == {3: shown_id("carol-3"), 4: shown_id("dave-4")}
    assert f"request 3 has id {shown_id('carol-3')}" in explain(dump).observed


def test_show_and_explain_name_the_request(tmp_path):
    path = write_dump(with_request_ids(launch(request_ids=RIDS), {}), tmp_path, name="d.msgpack")
    run = CliRunner().invoke
    mine = shown_id("bob-2")
    assert mine in run(main, ["show", str(path)]).output
    assert f"(id {mine})" in run(main, ["explain", str(path)]).output
    shown = json.loads(run(main, ["show", "--json", str(path)]).output)
    assert {row["request_id"] for row in shown["rows"]} == set(map(shown_id, RIDS))
    (given,) = json.loads(run(main, ["explain", "--json", str(path)]).output)["explanations"]
    assert {"request": 2, "request_id": mine} in given["requests"]


def test_as_many_ids_as_rows_or_the_file_is_refused():
    with pytest.raises(DumpError, match="3 request ids for 4 rows"):
        encode(launch(request_ids=RIDS[:3]))


# -- who holds a row --------------------------------------------------------------------------


def request(rid: str, row: int | None, ended: object = None) -> SimpleNamespace:
    return SimpleNamespace(rid=rid, req_pool_idx=row, finished_reason=ended)


class Scheduler(SimpleNamespace):
    """A class of its own, as SGLang's is."""


def holders(**batches) -> Holders:
    scheduler = Scheduler(**batches)
    made = Holders()
    made.note(scheduler)
    made.kept = scheduler  # the reference is weak
    return made


def batch(*reqs) -> SimpleNamespace:
    return SimpleNamespace(reqs=list(reqs))


def test_a_row_belongs_to_the_batch_that_is_judged():
    judged = batch(request("old", 3, ended="length"), request("none", None))
    who = holders(running_batch=batch(request("new", 3)))
    assert who.rows(judged) == {3: "old"}
    assert who.rows() == {3: "new"}


def test_a_row_that_two_batches_give_to_different_requests_is_nobodys():
    who = holders(
        cur_batch=batch(request("a", 1), request("b", 2)),
        last_batch=batch(request("c", 2)),
        result_queue=[(batch(request("a", 1), request("d", 4)), None)],
    )
    assert who.rows() == {1: "a", 4: "d"}


def test_a_request_that_has_ended_holds_nothing():
    assert holders(last_batch=batch(request("a", 1, ended="stop"))).rows() == {}


def test_the_row_stands_on_the_kv_record_from_0_5_23_on():
    moved = SimpleNamespace(rid="a", kv=SimpleNamespace(req_pool_idx=6))
    assert holders(cur_batch=batch(moved)).rows() == {6: "a"}


def test_a_scheduler_that_is_gone_or_was_none_tells_nothing():
    made = Holders()
    assert made.rows() == {}
    made.note(Scheduler())
    assert made.rows() == {}


@pytest.mark.parametrize(
    ("rids", "told_by_row"),
    [
        (["a", "b"], ("a", "b", "")),  # a padded graph
        (["a", "b", "c", "d"], ()),  # more requests than rows: not one per row
        (None, ()),
    ],
)
def test_a_forward_batch_names_its_rows_where_it_has_one_id_per_request(rids, told_by_row):
    assert rids_of_forward(SimpleNamespace(rids=rids), 3) == told_by_row


@pytest.mark.parametrize("version", available())
def test_every_release_has_the_names_that_ids_are_taken_from(version):
    package = available()[version] / "sglang" / "srt"
    text = (package / "model_executor" / "forward_batch_info.py").read_text()
    assert "rids: Optional[List[str]]" in text
    assert "rids=[req.rid for req in batch.reqs]" in text
    scheduler = (package / "managers" / "scheduler.py").read_text()
    for name in (*BATCHES, "result_queue"):
        assert f"self.{name}" in scheduler
