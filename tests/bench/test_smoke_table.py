"""The record of a smoke run as a table: every part a row, said as it was measured."""

from __future__ import annotations

import json
import lzma

from triage.bench.smoke_table import markdown, read
from triage.lab.server.smoke.results import Cell, Results
from triage.lab.server.smoke.summary import summarise


def summary(tmp_path, *cells: Cell):
    results = Results(tmp_path / "results.jsonl")
    for cell in cells:
        results.add(cell)
    return json.loads(json.dumps(summarise(results, tmp_path)))


def test_each_part_is_a_row_with_what_was_measured(tmp_path):
    oracle = {"first_wrong": 18, "raised": 18, "role": "draft", "form": "graph"}
    dumps = [{"where": "step 18", "keys": ["stale-swa-state"]}]
    table = markdown(
        summary(
            tmp_path,
            Cell("off", "start", True, figures={"start_s": 50.0}),
            Cell("start-off-1", "start", True, figures={"start_s": 50.0}),
            Cell("start-default-1", "start", True, figures={"start_s": 53.5}),
            Cell("default", "mixed", True, figures={"ok": 790, "aborted": 110}),
            Cell("default", "alarm", True, figures={"oracle": oracle, "dumps": dumps}),
            Cell("crash-off", "crash", False, "no illegal | access", figures={"lines": []}),
            Cell("eager", "plain", None, "the budget was spent"),
        )
    )
    rows = table.splitlines()

    assert rows[0].count("|") == rows[2].count("|")
    assert "| default/mixed | held | 790 answered, 110 aborted |" in rows
    assert (
        "| default/alarm | held | first wrong in step 18 by the oracle, alarm in step 18; "
        "explained as stale-swa-state |"
    ) in rows
    assert "| crash-off/crash | DID NOT HOLD | no illegal \\| access |" in rows
    assert "| eager/plain | not played | the budget was spent |" in rows
    assert "| false alarms | | 0 in 900 mixed requests of 2000 promised |" in rows
    assert "| start, seconds more than without us | | 3.5 |" in rows


def test_a_false_alarm_is_counted_and_an_absent_alarm_is_said(tmp_path):
    silent = {"first_wrong": 7, "raised": None}
    dumps = [{"where": "step 642", "keys": []}]
    table = markdown(
        summary(
            tmp_path,
            Cell(
                "contain", "mixed", False, "the server ended", figures={"ok": 139, "dumps": dumps}
            ),
            Cell("contain", "alarm", False, "no dump", figures={"oracle": silent}),
        )
    )
    assert "| false alarms | | 1 in 0 mixed requests of 2000 promised |" in table
    assert "first wrong in step 7 by the oracle, no alarm" in table


def test_a_compressed_record_is_read_as_the_plain_one(tmp_path):
    found = summary(tmp_path, Cell("off", "plain", True))
    (tmp_path / "s.json").write_text(json.dumps(found))
    (tmp_path / "s.json.xz").write_bytes(lzma.compress(json.dumps(found).encode()))
    assert read(tmp_path / "s.json") == read(tmp_path / "s.json.xz") == found
