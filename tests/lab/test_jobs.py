"""A command of ours as a task: its JSON comes back, and what went wrong in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.engines import Inline, Lost
from triage.errors import LabError
from triage.lab.jobs import Command, Ended, answer, answers
from triage.lab.soak_jobs import Share, Task, play_over, play_share

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
