"""A command of ours as a task: its JSON comes back, and what went wrong in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from triage import engines
from triage.cli import main
from triage.engines import Inline, Lost
from triage.errors import LabError
from triage.files.reports import schema_of
from triage.lab import jobs
from triage.lab.jobs import Command, Ended, answer, answers
from triage.lab.soak_jobs import Share, Task, play_over, play_share

FILLED = {"string": "x", "boolean": False, "array": [], "integer": 0}
ROW = {
    name: kind["type"][0] if isinstance(kind["type"], list) else kind["type"]
    for name, kind in schema_of("lab-matrix")["properties"]["rows"]["items"]["properties"].items()
}
DUMP = Path(__file__).resolve().parents[2] / "dumps/smoke_stale_swa_state.msgpack"


def test_what_a_command_prints_as_json_is_its_answer():
    pools = Command(("pools", "--help"))
    show = Command(("show", str(DUMP), "--json"))
    assert answers(Inline(), [show], (0,))[show]["schema"] == "sglang-triage/show/1"
    with pytest.raises(LabError, match="`triage pools --help` ended with exit code 0"):
        answers(Inline(), [pools], (1,))


def test_a_worker_that_died_is_told_with_its_command():
    with pytest.raises(LabError, match=r"`triage lab matrix`: its worker died 3 times"):
        answer(Command(("lab", "matrix")), Lost("its worker died 3 times"), (0,))
    with pytest.raises(LabError, match=r"under SGLang 0\.5\.14 ended with exit code 2: no such"):
        answer(Command(("lab",), "0.5.14"), Ended(2, "", "x\nno such"), (0,))


def test_a_share_that_is_played_elsewhere_hands_its_file_back(tmp_path, monkeypatch):
    # GIVEN a worker that plays nothing but writes its file
    from triage.lab import soak_jobs

    def plays(command: Command) -> Ended:
        output = command.arguments[command.arguments.index("--output") + 1]
        with open(output, "a") as file:  # noqa: PTH123
            file.write(f"{command.release}\n")
        return Ended(0, "", "")

    monkeypatch.setattr(soak_jobs, "run_triage", plays)
    parts = [Share("0.5.14", 0, tmp_path / "s-0.jsonl"), Share("0.5.18", 1, tmp_path / "s-1.jsonl")]
    # WHEN two shares are played, twice
    seen: list[int] = []
    for _ in range(2):
        play_over(Inline(), parts, 10, 0, "raise", lambda done, of: seen.append(done))
    # THEN each file holds what its share played, the second behind the first
    assert [part.output.read_text() for part in parts] == ["0.5.14\n" * 2, "0.5.18\n" * 2]
    assert seen == [5, 10, 5, 10]
    ended, played = play_share(Task(parts[0], 5, 0, "raise", b"before\n"))
    assert ended.code == 0 and played == b"before\n0.5.14\n"


def test_releases_of_the_matrix_are_tasks_and_its_rows_in_the_order_asked(tmp_path, monkeypatch):
    # GIVEN workers of which the last to be asked is the first to answer
    def plays(command: Command) -> Ended:
        assert command.arguments[:3] == ("lab", "matrix", "double-free")
        row = {name: FILLED[kind] for name, kind in ROW.items()}
        row |= {"sglang": command.release, "not_applicable": "not here"}
        return Ended(1, f"loading\n{json.dumps({'rows': [row]})}", "")

    class Backwards(Inline):
        def map(self, function, tasks):
            return super().map(function, reversed(list(tasks)))

    monkeypatch.setattr(jobs, "run_triage", plays)
    monkeypatch.setattr(engines, "engine", lambda name, workers: Backwards())
    # WHEN two releases are asked for over Ray
    asked = ["lab", "matrix", "double-free", "--engine", "ray", "--json", "--dir", str(tmp_path)]
    ran = CliRunner().invoke(main, [*asked, "--sglang", "0.5.14", "--sglang", "0.5.18"])
    # THEN the report is what one after the other would have made
    assert ran.exit_code == 0, ran.output
    assert [row["sglang"] for row in json.loads(ran.stdout)["rows"]] == ["0.5.14", "0.5.18"]
