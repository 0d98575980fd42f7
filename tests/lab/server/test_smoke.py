"""The smoke's machinery with scripted servers: cells kept, gone on from, cut off, never lost.

Long because each job is played on one scripted server, built once at the top.
"""

from __future__ import annotations

import json
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from triage.dump.file import encode
from triage.dump.sections import Dump
from triage.evidence import Evidence, PageEvent, PageHistory
from triage.invariants.found import Found
from triage.lab.server import load
from triage.lab.server.late import Lines
from triage.lab.server.ledger_defects import free_again
from triage.lab.server.process import ServerDied, ServerNotHealthy
from triage.lab.server.smoke import archive, rig
from triage.lab.server.smoke.job_server import Job
from triage.lab.server.smoke.jobs import JOBS, PREFIX_FREED, STALE
from triage.lab.server.smoke.play import play
from triage.lab.server.smoke.results import Cell, Clock, Results
from triage.lab.server.smoke.rig import Rig
from triage.lab.server.smoke.summary import summarise


@dataclass
class Script:
    """What a scripted server does. `dies`: at the first load after its control file appears."""

    start_error: Exception | None = None
    start_s: float = 0.0
    dies: bool = False
    log: str = ""
    made: list[Any] = field(default_factory=list)

    def __call__(self, model: Path, port: int, log_path: Path, **given: Any) -> Any:
        server = ScriptedServer(self, port, log_path, given)
        self.made.append(server)
        return server


class ScriptedServer:
    def __init__(self, script: Script, port: int, log_path: Path, given: dict[str, Any]) -> None:
        self.script, self.port, self.log_path, self.given = script, port, log_path, given
        self.alive = False
        self.stopped = 0

    def start(self, timeout_s: float) -> float:
        time.sleep(min(self.script.start_s, timeout_s))
        if self.script.start_error is not None:
            raise self.script.start_error
        self.log_path.write_text(self.script.log)
        self.alive = True
        return 12.5

    def stop(self) -> None:
        self.stopped += 1
        self.alive = False

    def death_reason(self) -> str:
        return "RuntimeError: scripted"


def answered(count: int = 3, output: int = 1) -> Any:
    results = tuple(
        SimpleNamespace(status="ok", error="", output_ids=(output, i)) for i in range(count)
    )
    return SimpleNamespace(
        requests=count, ok=count, aborted=0, ended=0, failed=0, unsent=0, tokens_per_s=10.0,
        accept_length=1.0, digest="d", seconds=0.1, results=results,
        outputs={i: r.output_ids for i, r in enumerate(results)},
        same_as=lambda other: (count, count, 1.0),
    )  # fmt: skip


@pytest.fixture
def scripted(monkeypatch):
    """`load` without a network; `servers` by port, so that a load can kill its server."""
    state = SimpleNamespace(servers={}, calls=[])

    def plain(port: int, **named: Any) -> Any:
        state.calls.append(("plain", port))
        server = state.servers.get(port)
        if server is not None and server.script.dies and server.control.exists():
            server.on_death()
            server.alive = False
        return answered()

    def mixed(port: int, **named: Any) -> Any:
        state.calls.append(("mixed", port))
        return answered(named["requests"])

    monkeypatch.setattr(load, "plain", plain)
    monkeypatch.setattr(load, "mixed", mixed)
    monkeypatch.setattr(rig, "DEATH_S", 2.0)
    return state


def make(
    tmp_path: Path, job: Job, script: Script, results: Results, state: Any, budget_s: float = 60
) -> Rig:
    mine = Rig(
        job,
        tmp_path / "jobs" / job.name,
        1000 + len(state.servers),
        tmp_path / "model",
        ["--a"],
        results,
        Clock(budget_s),
        server=script,
    )

    def remember(*args: Any, **named: Any) -> Any:
        server = script(*args, **named)
        server.control, server.on_death = mine.control, lambda: None
        state.servers[mine.port] = server
        return server

    mine.make_server = remember
    return mine


LOADS = Job("loads", "", ("plain", "mixed:40"), least_s=0)


def test_every_part_is_a_cell_and_a_later_run_goes_on_from_it(tmp_path, scripted):
    # GIVEN a job that was played
    results = Results(tmp_path / "r.jsonl")
    make(tmp_path, LOADS, Script(), results, scripted).play()
    assert {k: c.held for k, c in results.cells.items()} == {
        "loads/start": True, "loads/plain": True, "loads/mixed": True,
    }  # fmt: skip
    assert results.figure("loads", "mixed", "requests") == 40
    # WHEN another run reads the file
    again = Results(tmp_path / "r.jsonl")
    script = Script()
    mine = make(tmp_path, LOADS, script, again, scripted)
    play([mine], Clock(60), servers=1)
    # THEN no server is started
    assert mine.done and not script.made


def test_a_part_that_fails_says_why_and_the_next_goes_on(tmp_path, scripted, monkeypatch):
    results = Results(tmp_path / "r.jsonl")

    def broken(*args: Any, **named: Any) -> Any:
        raise ConnectionError("refused")

    monkeypatch.setattr(load, "plain", broken)
    make(tmp_path, LOADS, Script(), results, scripted).play()
    assert results.cells["loads/plain"].held is False
    assert "ConnectionError: refused" in results.cells["loads/plain"].why
    assert results.cells["loads/mixed"].held is True
    # and what was measured is not measured again, unless it is asked for, and then once
    assert Results(tmp_path / "r.jsonl").done("loads", "plain")
    retry = Results(tmp_path / "r.jsonl", retry=True)
    assert not retry.done("loads", "plain") and retry.done("loads", "mixed")
    retry.add(Cell("loads", "plain", False, "again"))
    assert retry.done("loads", "plain")


def test_a_server_that_does_not_start_leaves_its_reason(tmp_path, scripted):
    results = Results(tmp_path / "r.jsonl")
    script = Script(start_error=RuntimeError("Not enough memory"))
    mine = make(tmp_path, LOADS, script, results, scripted)
    mine.play()
    assert "Not enough memory" in results.cells["loads/start"].why
    assert results.cells["loads/plain"].held is None
    assert results.cells["loads/plain"].why == "the server did not start"
    assert scripted.servers[mine.port].stopped


def alarm(tmp_path, scripted, lines: list[tuple[str, dict[str, Any]]]) -> Cell:
    results = Results(tmp_path / "r.jsonl")
    job = Job("contain", "", ("alarm",), env={"SGLANG_TRTLLM_MHA_DEBUG": "1"}, least_s=0)
    mine = make(tmp_path, job, Script(dies=True), results, scripted)
    make_server = mine.make_server

    def with_death(*args: Any, **named: Any) -> Any:
        server = make_server(*args, **named)

        def write() -> None:
            file = Lines(mine.oracle_path)
            for kind, values in lines:
                file.write(kind, **values)
            mine.dumps.mkdir()
            (mine.dumps / "a.msgpack").write_bytes(
                Path("dumps/smoke_stale_swa_state.msgpack").read_bytes()
            )

        server.on_death = write
        return server

    mine.make_server = with_death
    mine.job = Job(job.name, "", (f"alarm:{STALE}",), env=job.env, least_s=0)
    mine.play()
    return results.cells["contain/alarm"]


WRONG = {"step": 7, "entries": 3, "entries_of_ended": 0, "role": "draft", "form": "captured"}


def test_an_alarm_in_the_first_wrong_step_with_the_right_cause_holds(tmp_path, scripted):
    cell = alarm(tmp_path, scripted, [("wrong", WRONG), ("raised", {"step": 7, "error": "E"})])
    assert cell.held is True, cell.why
    assert cell.figures["dumps"][0]["keys"] == [STALE]
    assert cell.figures["oracle"]["first_wrong"] == 7


def test_an_alarm_a_step_late_does_not(tmp_path, scripted):
    cell = alarm(tmp_path, scripted, [("wrong", WRONG), ("raised", {"step": 8, "error": "E"})])
    assert cell.held is False and "first wrong in step 7, alarm in 8" in cell.why


def test_an_alarm_of_which_the_oracle_knows_nothing_does_not(tmp_path, scripted):
    cell = alarm(tmp_path, scripted, [("bound", {})])
    assert cell.held is False and "the oracle saw nothing wrong" in cell.why


def test_a_server_whose_scheduler_is_gone_is_over_before_its_launcher_is(tmp_path, scripted):
    # GIVEN a launcher that waits a minute for core dumps after its scheduler's end
    results = Results(tmp_path / "r.jsonl")
    said = "CUDA error: an illegal memory access was encountered\nSIGQUIT received. signum=None"
    mine = make(tmp_path, Job("off", "", ("plain",), least_s=0), Script(), results, scripted)
    mine.play()
    mine.server.alive = True
    assert not mine.fell() and mine.death() == ""
    (mine.folder / "server.log").write_text(said)
    assert mine.fell() and "scripted" in mine.death()


def test_the_trace_of_a_part_that_broke_off_names_files_by_their_place_in_the_checkout(
    tmp_path, scripted, monkeypatch
):
    def broken(*args: Any, **named: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(load, "plain", broken)
    results = Results(tmp_path / "r.jsonl")
    make(tmp_path, Job("off", "", ("plain",), least_s=0), Script(), results, scripted).play()
    trace = results.cells["off/plain"].figures["trace"]
    assert 'File "triage/lab/server/smoke/rig.py"' in trace and str(rig.CHECKOUT) not in trace


def test_a_request_that_the_server_aborts_is_no_failure_and_is_counted(
    tmp_path, scripted, monkeypatch
):
    results = Results(tmp_path / "r.jsonl")
    ended = answered()
    ended.ended = 2
    log = "Prefill batch, #new-seq: 1, #new-token: 1024, x\n#retracted_reqs: 3, x\n"

    def mixed(*args: Any, **named: Any) -> Any:
        with (mine.folder / "server.log").open("a") as file:
            file.write(log)
        return ended

    monkeypatch.setattr(load, "mixed", mixed)
    job = Job("fix", "", ("mixed:9",), least_s=0)
    mine = make(tmp_path, job, Script(log=log), results, scripted)
    mine.play()
    cell = results.cells["fix/mixed"]
    assert cell.held is True and cell.figures["ended"] == 2
    # AND only what the log says of this load counts
    assert cell.figures["log"]["full_chunks"] == 1 and cell.figures["log"]["retractions"] == 3


@pytest.mark.parametrize(
    ("released", "told"), [((), True), ((STALE,), False), (("decode-window-short",), True)]
)
def test_what_sglang_has_wrong_as_released_is_no_false_alarm_of_a_sound_load(
    tmp_path, scripted, monkeypatch, released, told
):
    results = Results(tmp_path / "r.jsonl")
    job = Job("sound", "", ("mixed:9",), released=released, least_s=0)
    mine = make(tmp_path, job, Script(), results, scripted)
    dump = Path("dumps/smoke_stale_swa_state.msgpack").read_bytes()

    def mixed(*args: Any, **named: Any) -> Any:
        mine.dumps.mkdir(parents=True, exist_ok=True)
        (mine.dumps / "a.msgpack").write_bytes(dump)
        return answered(9)

    monkeypatch.setattr(load, "mixed", mixed)
    mine.play()
    cell = results.cells["sound/mixed"]
    assert cell.held is not told and bool(cell.figures["dumps"]) is told


@pytest.mark.parametrize("said", ["CUDA error: an illegal memory access was encountered", "OOM"])
def test_only_sglangs_own_words_are_a_crash(tmp_path, scripted, said):
    results = Results(tmp_path / "r.jsonl")
    job = Job("crash-off", "", ("crash",), least_s=0)
    make(tmp_path, job, Script(dies=True, log=said), results, scripted).play()
    assert results.cells["crash-off/crash"].held is ("illegal" in said)


def test_a_spent_budget_is_no_verdict_and_everything_is_stopped(tmp_path, scripted):
    # GIVEN a server that takes longer to start than the budget lasts, and a job behind it
    results = Results(tmp_path / "r.jsonl")
    script = Script(start_s=1.2)
    clock = Clock(0.6)
    rigs = [
        make(tmp_path, Job(name, "", ("plain",), least_s=0.2), script, results, scripted)
        for name in ("one", "two")
    ]
    for mine in rigs:
        mine.clock = clock
    play(rigs, clock, servers=1)
    # THEN the first is cut off, not judged
    assert results.cells["one/plain"].held is None
    assert "budget" in results.cells["one/plain"].why
    assert all(server.stopped for server in script.made)
    assert not Results(tmp_path / "r.jsonl").done("two", "plain")


def test_a_line_that_was_cut_off_is_played_again(tmp_path):
    results = Results(tmp_path / "r.jsonl")
    results.add(Cell("a", "plain", True))
    with results.path.open("a") as file:
        file.write('{"job": "a", "name": "mix')
    again = Results(results.path)
    assert again.done("a", "plain") and not again.done("a", "mixed")


def test_answers_of_prompts_that_came_in_other_batches_are_said_to_be_so(tmp_path):
    results = Results(tmp_path / "r.jsonl")
    ran = {"off": ["1 64 0", "2 128 0", "1 64 0"], "default": ["1 64 0", "1 64 0"]}
    for job, batches in (*ran.items(), ("contain", ran["off"])):
        outputs = {"0": len(batches), "1": 5}
        figures = {"outputs": outputs, "batches": batches}
        results.add(Cell(job, "plain", True, figures=figures))
    found = summarise(results, tmp_path)["outputs equal to"]
    assert found["contain/plain"] == {"equal": 2, "of": 2, "to": "off"}
    assert found["default/plain"] == {"equal": 1, "of": 2, "to": "off", "same batches": [1, 3]}


def test_the_summary_compares_outputs_and_counts_requests(tmp_path, scripted):
    results = Results(tmp_path / "r.jsonl")
    for job, value in (("off", 1), ("contain", 1), ("clamp", 2)):
        outputs = {"0": value, "1": 5}
        results.add(Cell(job, "plain", True, figures={"outputs": outputs}))
    results.add(Cell("contain", "mixed", True, figures={"ok": 800, "aborted": 100}))
    results.add(Cell("off", "mixed", True, figures={"ok": 200, "ended": 1}))
    results.add(Cell("default", "mixed", False, "dump", figures={"ok": 900, "dumps": [{}]}))
    results.add(Cell("target", "plain", True, figures={"outputs": {"0": 7}}))
    results.add(Cell("off-target", "plain", True, figures={"outputs": {"0": 7}}))
    results.add(Cell("off", "start", True, figures={"start_s": 50.0}))
    for job, start_s in (("off-1", 50.0), ("off-2", 52.0), ("default-1", 53.0)):
        results.add(Cell(f"start-{job}", "start", True, figures={"start_s": start_s}))
    found = summarise(results, tmp_path)
    assert found["outputs equal to"]["contain/plain"] == {"equal": 2, "of": 2, "to": "off"}
    assert found["outputs equal to"]["clamp/plain"] == {"equal": 1, "of": 2, "to": "off"}
    # like with like: a server without a draft is compared with one that has none
    assert found["outputs equal to"]["target/plain"] == {"equal": 1, "of": 1, "to": "off-target"}
    # a server without sglang-triage says what a load meets anyway, and nothing of our alarms
    assert found["mixed loads"]["off/mixed"]["ended"] == 1
    assert found["promises"]["false alarms"] == {
        "cells": ["default/mixed"], "requests": 900, "of": 2000,
    }  # fmt: skip
    assert found["promises"]["start seconds more than off"] == 2.0
    assert json.dumps(found)


def mistaken(tmp_path, scripted, name: str, monkeypatch, unlike: int, output: int) -> Cell:
    """A server whose second load answers `output`, and whose kernel differed in `unlike`."""
    results = Results(tmp_path / "r.jsonl")
    job = Job("k", "", ("plain", "plain_mistaken"), mistake=name, observers=(), least_s=0)
    mine = make(tmp_path, job, Script(), results, scripted)

    def plain(port: int, **named: Any) -> Any:
        begun = mine.control.exists()
        if begun and unlike >= 0:
            Lines(mine.mistaken_path).write("call", step=4, elements=8, unlike=unlike, nan=0)
        answer = answered(output=output if begun else 1)
        answer.same_as = lambda other: (3 if output == 1 else 0, 3, 1.0)
        return answer

    monkeypatch.setattr(load, "plain", plain)
    mine.play()
    return results.cells["k/plain_mistaken"]


@pytest.mark.parametrize(
    ("name", "unlike", "output", "why"),
    [
        ("gelu-overflows", 5, 2, ""),
        ("gelu-overflows", 5, 1, "nothing shows it: 3 of 3 equal"),
        ("gelu-overflows", 0, 2, "nothing shows it: 0 of 3 equal"),
        ("gelu-overflows", -1, 2, "never computed with the mistake"),
        ("residual-stride", 0, 1, ""),
        ("residual-stride", 2, 1, "2 elements differ"),
    ],
)
def test_a_kernel_mistake_shows_in_what_was_computed_and_in_the_answers_or_in_neither(
    tmp_path, scripted, monkeypatch, name, unlike, output, why
):
    cell = mistaken(tmp_path, scripted, name, monkeypatch, unlike, output)
    assert cell.held is (why == "") and why in cell.why
    assert cell.figures["kernel"]["calls"] == (unlike >= 0)


def test_the_validator_has_to_find_the_mistake_and_nothing_in_the_correct_kernel(
    tmp_path, scripted, monkeypatch
):
    row = {"result": "caught", "why": "", "false_alarm": ""}
    monkeypatch.setattr(rig.kernels, "play", lambda path, **named: [row])
    results = Results(tmp_path / "r.jsonl")
    job = Job("k", "", ("validated:residual-stride",), mistake="residual-stride", least_s=0)
    make(tmp_path, job, Script(), results, scripted).play()
    assert results.cells["k/validated"].held is True
    row.update(result="missed", why="9 PASS", false_alarm="error-bound: w")
    other = Results(tmp_path / "s.jsonl")
    make(tmp_path, job, Script(), other, scripted).play()
    cell = other.cells["k/validated"]
    assert cell.held is False
    assert cell.why == "missed: 9 PASS; said of the correct kernel: error-bound: w"


PREFIX = Job("prefix", "", (f"mixed_alarm:{PREFIX_FREED}",), least_s=0)


@pytest.mark.parametrize(
    ("dies", "explained_as", "why"),
    [
        (True, PREFIX_FREED, ""),
        (True, "freed-page", f"explained as ['freed-page'], expected {PREFIX_FREED}"),
        (False, PREFIX_FREED, "the server lives after 300 requests"),
    ],
)
def test_a_releases_own_defect_holds_if_the_server_stopped_and_the_dump_names_it(
    tmp_path, scripted, monkeypatch, dies, explained_as, why
):
    # GIVEN a server that leaves a dump under a mixed load, and ends or lives on
    script, results = Script(), Results(tmp_path / "r.jsonl")
    mine = make(tmp_path, PREFIX, script, results, scripted)

    def mixed(port: int, **named: Any) -> Any:
        mine.dumps.mkdir(parents=True, exist_ok=True)
        (mine.dumps / "one.msgpack").touch()
        mine.server.alive = not dies
        return answered(named["requests"])

    monkeypatch.setattr(load, "mixed", mixed)
    monkeypatch.setattr(rig, "GRACE_S", 0.1)
    monkeypatch.setattr(
        rig, "explained", lambda path: SimpleNamespace(json=lambda: {"keys": [explained_as]})
    )
    # WHEN the job is played THEN it holds if both are so
    mine.play()
    cell = results.cells["prefix/mixed_alarm"]
    assert cell.held is (why == "")
    assert why in cell.why
    assert cell.figures["requests"] == 300


@pytest.mark.parametrize(
    ("where", "dies", "why"),
    [
        ("step 7, launch 9", False, ""),
        ("step 8, launch 9", False, "first wrong in step 7, dumps of ['8']"),
        ("step 7, launch 9", True, "1 requests failed"),
        ("", False, "dumps of none"),
    ],
)
def test_mode_log_leaves_a_dump_of_the_first_wrong_step_and_the_server_answers_on(
    tmp_path, scripted, monkeypatch, where, dies, why
):
    results = Results(tmp_path / "r.jsonl")
    job = Job("log", "", ("logged:exchanged-pages",), least_s=0)
    mine = make(tmp_path, job, Script(), results, scripted)

    def plain(port: int, **named: Any) -> Any:
        assert mine.control.exists()
        Lines(mine.oracle_path).write("wrong", **WRONG)
        mine.dumps.mkdir(parents=True)
        (mine.dumps / "one.msgpack").touch()
        answer = answered()
        answer.failed, answer.ok = int(dies), answer.ok - int(dies)
        return answer

    monkeypatch.setattr(load, "plain", plain)
    dump = {"keys": ["exchanged-pages"], "where": where}
    monkeypatch.setattr(rig, "explained", lambda path: SimpleNamespace(json=lambda: dump))
    mine.play()
    cell = results.cells["log/logged"]
    assert cell.held is (why == "") and why in cell.why


@pytest.mark.parametrize(
    ("error", "held"),
    [
        (ServerDied("shape [1] against [3]"), True),
        (None, False),
        (KeyError("a mistake of the smoke's own"), False),
        (ServerNotHealthy("the server was not healthy within 240 s"), False),
    ],
    ids=["SGLang ended", "SGLang serves", "our own mistake", "SGLang hangs"],
)
def test_a_combination_is_refused_where_sglang_says_so_and_only_there(
    tmp_path, scripted, error, held
):
    results = Results(tmp_path / "r.jsonl")
    job = Job("mtp-eager", "", ("refused",), least_s=0)
    make(tmp_path, job, Script(start_error=error), results, scripted).play()
    (cell,) = results.cells.values()
    assert cell.key == "mtp-eager/refused" and cell.held is held
    assert ("shape [1] against [3]" in cell.figures.get("said", "")) is held


def test_a_load_is_as_hot_as_its_job(tmp_path, scripted, monkeypatch):
    asked = []
    monkeypatch.setattr(load, "plain", lambda port, **named: asked.append(named) or answered())
    monkeypatch.setattr(load, "mixed", lambda port, **named: asked.append(named) or answered(40))
    job = Job("sampled", "", ("warm", "plain", "mixed:40"), temperature=1.0, least_s=0)
    mine = make(tmp_path, job, Script(), Results(tmp_path / "r.jsonl"), scripted)
    mine.flags = ["--page-size", "32"]
    mine.play()
    assert [each["temperature"] for each in asked] == [1.0, 1.0, 1.0]
    assert asked[-1]["page_size"] == 32


def test_evidence_is_packed_without_models_and_within_its_limit(tmp_path):
    folders = tmp_path / "jobs"
    for name in ("a/server.log", "a/drafts.jsonl", "a/plugins/x/p.py", "models/w"):
        path = folders / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(256)) * (40 if "drafts" in name else 1))
    assert archive.pack_evidence(folders, tmp_path / "e.tar.xz") == []
    with tarfile.open(tmp_path / "e.tar.xz") as tar:
        assert sorted(tar.getnames()) == ["a/drafts.jsonl", "a/server.log"]
    assert archive.pack_evidence(folders, tmp_path / "e.tar.xz", 1)[0].startswith("everything")


def test_compile_caches_go_and_come_with_their_times(tmp_path):
    home, other = tmp_path / "home", tmp_path / "other"
    library = home / ".cache/flashinfer/0.6.12/90a/cached_ops/xqa/xqa.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"so")
    import os

    os.utime(library, (1_700_000_000, 1_700_000_000))
    assert archive.pack_caches(home, tmp_path / "c.tar.xz")
    assert archive.unpack_caches(tmp_path / "c.tar.xz", other) == 1
    back = other / library.relative_to(home)
    assert back.read_bytes() == b"so" and back.stat().st_mtime == 1_700_000_000
    assert not archive.pack_caches(tmp_path / "nobody", tmp_path / "d.tar.xz")


def test_every_job_names_parts_that_exist_and_plugins_that_can_be_written(tmp_path, scripted):
    names = set()
    for job in JOBS:
        assert job.name not in names
        names.add(job.name)
        mine = make(tmp_path, job, Script(), Results(tmp_path / "r"), scripted)
        for name in mine.names:
            assert callable(getattr(mine, name))
        folders = mine.plugins()
        assert len(folders) == len(job.defects) + len(job.observers) + bool(job.mistake)
    guarded = [part for job in JOBS if job.env for part in job.parts if part.startswith("mixed:")]
    assert sum(int(part.partition(":")[2]) for part in guarded) >= 2000


def hand(tmp_path, scripted, place: str) -> Cell:
    """What the part `hand` makes of a server whose one dump says that `place` freed the page."""
    results = Results(tmp_path / "r.jsonl")
    mine = make(tmp_path, Job("hand", "", (), least_s=0), Script(dies=True), results, scripted)
    mine.job = Job("hand", "", ("hand:double-free",), defects={"double-free": False}, observers=())
    make_server = mine.make_server

    def with_death(*args: Any, **named: Any) -> Any:
        server = make_server(*args, **named)

        def write() -> None:
            history = PageHistory("full", 5, (PageEvent("freed", 7, (place, "a.py:1 caller")),))
            known = Evidence(
                "I6", "freed twice", "free", pool="full", total=1, kind=Found.FREED_TWICE,
                pages=(history,),
            )  # fmt: skip
            mine.dumps.mkdir()
            (mine.dumps / "a.msgpack").write_bytes(encode(Dump(fault=known)))

        server.on_death = write
        return server

    mine.make_server = with_death
    mine.play()
    return results.cells["hand/hand"]


def test_a_ledger_defect_holds_if_the_evidence_names_the_planted_line(tmp_path, scripted):
    line = free_again.__code__.co_firstlineno + 2
    cell = hand(tmp_path, scripted, f"lab/server/ledger_defects.py:{line} free_again")
    assert cell.held is True, cell.why
    assert "free_again" in cell.figures["dumps"][0]["hands"][0]


def test_a_ledger_defect_does_not_hold_if_another_is_named(tmp_path, scripted):
    cell = hand(tmp_path, scripted, "mem_cache/common.py:103 free_swa_out_of_window_slots")
    assert cell.held is False and "not free_again" in cell.why
