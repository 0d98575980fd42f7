"""A dump that records a fault is never called clean, and its launch is the one that faulted."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.explain.test_weighing import seen_in, sound
from tests.importers import texts
from triage.cli import main
from triage.dump.file import write_dump
from triage.evidence import Evidence
from triage.explain import explain
from triage.importers.recognise import read_log
from triage.replay.deduction import deduce
from triage.replay.verdict import Outcome, records_fault

FAULTS = {
    "a crash": lambda: replace(
        sound(), fault=Evidence("", "CUDA error", "event loop", facts={"kind": "crash"})
    ),
    "a reported fault": lambda: seen_in(sound(), texts.ASYNC),
    "a trap's finding": lambda: replace(sound(), fault=Evidence("I6", "freed twice", "free")),
}


@pytest.mark.parametrize("what", FAULTS)
def test_replay_of_a_sound_table_is_5_where_the_dump_records_a_fault(what, tmp_path):
    dump = FAULTS[what]()
    assert records_fault(dump)
    assert (deduce(dump).outcome, deduce(dump).exit_code) == (Outcome.NOT_REPRODUCED, 5)
    path = write_dump(dump, tmp_path, name="d.msgpack")
    ran = CliRunner().invoke(main, ["replay", str(path), "--kernel", "emulator"])
    assert ran.exit_code == 5
    assert "recorded fault: none" not in ran.output


def test_replay_of_a_snapshot_is_clean():
    assert deduce(sound()).exit_code == 0


def test_a_wrong_page_inside_the_cache_is_another_fault_than_a_crash():
    dump = FAULTS["a crash"]()
    table = dump.tables.page_table
    values = np.where(table.values > 0, (table.values % 500) + 1, 0).astype(np.int32)
    dump = replace(dump, tables=replace(dump.tables, page_table=replace(table, values=values)))
    assert deduce(dump).outcome is Outcome.DIFFERENT_FAULT


def test_explain_of_a_crash_with_a_sound_table_is_not_clean():
    explanation = explain(FAULTS["a crash"]())
    assert explanation.status == "unknown"


def test_show_names_a_reported_fault(tmp_path):
    dump = seen_in(sound(), texts.XID_31.format(kind="READ"))
    path = write_dump(dump, tmp_path, name="d.msgpack")
    output = CliRunner().invoke(main, ["show", str(path)]).output
    assert "no fault" not in output and "illegal memory access" in output


def test_a_log_of_two_dumps_belongs_to_the_process_it_names():
    (seen,) = read_log(io.BytesIO(texts.XID_31.format(kind="READ").encode()), "dmesg").observations
    from triage.explain.together import Input, together

    mine = replace(sound(), provenance={"pid": 771})
    other = replace(dumps.make_dump(dumps.SMALL, "right"), provenance={"pid": 12})
    report = together(
        [
            Input("dmesg", "Xid", observations=(seen,)),
            Input("a", "a dump", mine),
            Input("b", "a dump", other),
        ]
    )
    related = {path: len(found.related) for path, found in report.explanations}
    assert related == {"a": 1, "b": 0}
