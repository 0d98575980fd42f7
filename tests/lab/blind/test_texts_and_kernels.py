"""Texts and kernel mistakes of a blind round, their judgements, and the tables of all three."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from triage.bench import blind_table
from triage.cli import main
from triage.errors import LabError
from triage.files.reports import schema_of
from triage.lab.blind import judgement, kernels
from triage.report import blind

TEXTS = Path(__file__).parent / "texts"


def defect(**changed: object) -> dict[str, object]:
    made: dict[str, object] = {
        "driver": "a",
        "what": "x",
        "reference": "https://example.org/1",
        "subsystem": "allocator",
        "expected": "x",
        "sglang": "0.5.18",
        "checks": "all",
        "result": "first wrong event",
        "why": "",
        "delay": 0,
        "alarm": "I5",
        "summary": "",
        "logged": False,
        "named": ["double-free"],
        "confidence": "high",
        "false_alarm": "",
        "untrapped": "harmed at 1: x; ended clean",
    }
    return {**made, **changed}


def test_a_text_is_held_to_what_a_good_answer_holds_and_the_record_obeys_its_schema(tmp_path):
    out, asked = tmp_path / "texts-1.json", tmp_path / "to-judge.json"
    arguments = ["lab", "blind", str(TEXTS), "--out", str(out), "--to-judge", str(asked)]
    ran = CliRunner().invoke(main, arguments)
    # GIVEN one group that the answer has, one that it cannot have, and a phrase it must not hold
    assert ran.exit_code == 1, ran.output
    record = json.loads(out.read_text())
    jsonschema.validate(record, schema_of("lab-blind"))
    (row,) = record["rows"]
    # THEN each is said, and what is left for a person to judge
    assert row["result"] == "recognised" and row["lacks"] == ["a phrase that no answer holds"]
    assert row["claims"] == ["unknown"]
    assert json.loads(asked.read_text())["leak"]["expected"].startswith("Tokens of the pool")
    assert "1 of 1 texts recognised, 0 with all" in " ".join(ran.output.split())


def test_a_judgement_holds_for_what_was_said_then_and_for_nothing_else():
    judged = {"a 0.5.18 all": {"of": "double-free (high)", "verdict": "right", "why": "it is"}}
    (same,) = judgement.judged([defect()], judged)
    (other,) = judgement.judged([defect(confidence="medium")], judged)
    (silent,) = judgement.judged([defect(named=[], confidence="")], judged)
    assert (same["verdict"], other["verdict"], silent["verdict"]) == ("right", "", "unknown")


@pytest.mark.parametrize(
    "text", ["no JSON", '{"a": {"verdict": "fine"}}', '{"a": {"verdict": "right", "of": ""}}']
)
def test_a_file_that_holds_no_judgements_is_refused(tmp_path, text):
    file = tmp_path / "judged.json"
    file.write_text(text)
    with pytest.raises(LabError, match=r"judged\.json"):
        judgement.read(file)


def test_the_table_tells_at_once_later_missed_broken_and_false_alarms_apart():
    rows = [
        defect(checks="default", result="missed", alarm="", named=[], delay=None),
        defect(verdict="wrong"),
        defect(driver="b", checks="default", result="later", delay=7, named=[], confidence=""),
        defect(driver="b", result="driver broken", why="no plant", alarm="", false_alarm="I4: x"),
    ]
    lines = blind.markdown("defects", rows).splitlines()
    assert lines[0].startswith("| defect | subsystem | SGLang | checks: default | checks: all |")
    assert "[a](https://example.org/1)" in lines[2] and "| MISSED | I5 |" in lines[2]
    assert "wrong: double-free (high)" in lines[2] and lines[2].endswith("| none |")
    assert "| I5 +7 | driver broken: no plant | unknown | I4 |" in lines[3]
    said = blind.summary("defects", rows)
    assert "checks default: of 2 defects 0 first wrong event, 1 later, 1 missed" in said
    assert "checks all: of 1 defects 1 first wrong event" in said
    assert "1 false alarms; wrong with high confidence 1" in said
    assert "broken, not counted: b" in said


def test_a_second_play_stands_beside_the_first_and_leaves_it_as_it_was(tmp_path):
    first, second = [defect(result="missed", alarm="", named=[])], [defect()]
    for number, rows in enumerate((first, second), 1):
        (tmp_path / f"defects-{number}.json").write_text(json.dumps({"rows": rows}))
    lines = blind.plays("defects", blind_table.stored(tmp_path, "defects"))
    assert "checks: all (play 2)" in lines[0]
    assert lines[2].count("MISSED") == 1 and "not judged: double-free (high)" in lines[2]
    with pytest.raises(LabError, match="kernels-1"):
        blind_table.stored(tmp_path, "kernels")


def _mistake(folder: Path, **changed: object) -> Path:
    about = {"reference": "x", "what": "x", "op": "gemma_rmsnorm_add", "callable": "f"}
    folder.mkdir(parents=True)
    (folder / "mistake.json").write_text(json.dumps({**about, "expected": "x", **changed}))
    return folder


def test_a_mistake_counts_as_caught_where_a_check_of_the_validator_fails(tmp_path, monkeypatch):
    def validated(folder: Path, module: str, about: dict, device: str, seconds: float) -> dict:
        wrong = module == "kernel" and folder.name == "seen"
        check = {"check": "error-bound", "dtype": "float32", "worst": "w", "failures": ["f"]}
        outcome = "FAIL" if wrong else "PASS"
        return {"counts": {outcome: 1}, "results": [{**check, "outcome": outcome}]}

    monkeypatch.setattr(kernels, "_validated", validated)
    for name in ("seen", "unseen"):
        _mistake(tmp_path / name)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "mistake.json").write_text("{")
    rows = {row["mistake"]: row for row in kernels.play(tmp_path)}
    assert rows["seen"]["result"] == "caught" and rows["seen"]["caught_by"] == ["error-bound"]
    assert rows["unseen"]["result"] == "missed" and rows["unseen"]["why"] == "1 PASS"
    assert rows["torn"]["result"] == "driver broken"


def test_a_kernel_that_the_validator_cannot_load_is_broken(tmp_path):
    folder = _mistake(tmp_path / "gone", callable="no_such_function")
    for name in ("kernel.py", "correct.py"):
        (folder / name).write_text("")
    (row,) = kernels.play(tmp_path)
    assert row["result"] == "driver broken" and "no_such_function" in row["why"]
