"""`triage workload` against a real HTTP server: figures, interruptions, comparisons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from tests.fleet.server import Script, ScriptedServer
from triage.cli import main
from triage.fleet.journal import read
from triage.fleet.workloads import WORKLOADS, prompt


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run(url, out, *options, name="A", prompts=6):
    return invoke(
        "workload", name, "--base-url", url, "--out", out, "--prompts", prompts, "--json", *options
    )


def summary(done):
    return json.loads(done.stdout.splitlines()[0])


def test_the_figures_are_those_of_the_scripted_server(tmp_path):
    script = Script(ttft_s=0.1, tpot_s=0.005)
    with ScriptedServer(script) as url:
        done = run(url, tmp_path / "a.jsonl")
    assert done.exit_code == 0, done.output
    found = summary(done)
    assert (found["requests"], found["errors"]) == (6, 0)
    # sleeps are at least as long as asked for; the margin above is for a busy machine
    assert 100 <= found["ttft_ms"] < 600
    assert 5 <= found["tpot_ms"] < 30
    assert found["accept_length"] == 2.84
    assert found["output_tok_s"] == pytest.approx(600 / found["duration_s"])
    assert all(body["max_tokens"] == 100 and body["ignore_eos"] for body in script.seen)


def test_a_server_that_reports_no_accept_length_is_no_error(tmp_path):
    with ScriptedServer(Script(accept_length=None)) as url:
        done = run(url, tmp_path / "a.jsonl", prompts=1)
    assert done.exit_code == 0
    assert summary(done)["accept_length"] is None


def test_prompts_are_as_long_as_the_workload_says_and_the_same_every_time():
    spec = WORKLOADS["A"]
    assert abs(len(prompt(spec, 3, 0).split()) - spec.input_tokens) < 8
    assert prompt(spec, 3, 0) == prompt(spec, 3, 0) != prompt(spec, 4, 0)


def test_failed_requests_are_named_and_asked_again_by_the_same_command(tmp_path):
    script, out = Script(failing=frozenset({1, 3}), break_off=frozenset({4})), tmp_path / "a.jsonl"
    with ScriptedServer(script) as url:
        first = run(url, out)
        assert first.exit_code == 1
        assert summary(first)["errors"] == 3
        assert "3 requests failed, the first with" in first.stderr
        again = run(url, out)
    assert again.exit_code == 0, again.output
    assert summary(again)["requests"] == 6
    assert len(script.seen) == 6 + 3  # only what was missing was asked again


def test_a_server_that_goes_away_leaves_partial_results_that_a_later_run_completes(tmp_path):
    script, out = Script(gone_after=4), tmp_path / "b.jsonl"
    with ScriptedServer(script) as url:
        first = run(url, out, name="summarisation", prompts=20)
        assert first.exit_code == 3, first.output
        assert "went away in the middle" in first.stderr
        kept = [answer for answer in read(out).answers.values() if not answer.error]
        assert len(kept) == 4
        script.gone_after = None
        assert run(url, out, name="summarisation", prompts=20).exit_code == 0
    assert len(read(out).segments) == 2


def test_no_server_is_one_sentence_and_exit_3(tmp_path):
    done = run("http://127.0.0.1:9", tmp_path / "a.jsonl")
    assert done.exit_code == 3
    assert "no OpenAI-compatible server answers at http://127.0.0.1:9" in done.stderr
    assert not (tmp_path / "a.jsonl").exists()


def test_ctrl_c_keeps_what_was_answered_and_says_how_to_go_on(tmp_path):
    script, out = Script(ttft_s=0.05, tpot_s=0.03), tmp_path / "c.jsonl"
    command = [sys.executable, "-m", "triage", "workload", "chat", "--prompts", "40"]
    with ScriptedServer(script) as url:
        process = subprocess.Popen(
            [*command, "--base-url", url, "--out", str(out)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ,
        )
        deadline = time.monotonic() + 60
        while len(script.seen) < 10 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "run again to go on" in said
    assert read(out).header["workload"] == "chat"


def test_a_torn_last_line_is_dropped_and_its_request_asked_again(tmp_path):
    script, out = Script(), tmp_path / "a.jsonl"
    with ScriptedServer(script) as url:
        run(url, out, prompts=3)
        lines = out.read_text().splitlines()
        answers = [line for line in lines if '"answer"' in line]
        out.write_text("\n".join([lines[0], *answers[:2], answers[2][:40]]))
        done = run(url, out, prompts=3)
    assert done.exit_code == 0, done.output
    assert len(script.seen) == 4
    assert len(read(out).answers) == 3


def test_the_file_of_another_run_is_refused_and_left_as_it_is(tmp_path):
    out = tmp_path / "a.jsonl"
    with ScriptedServer(Script()) as url:
        run(url, out, prompts=2)
        before = out.read_text()
        done = run(url, out, "--seed", 7, prompts=2)
    assert done.exit_code == 2
    assert "holds another run (seed 0, not 7)" in done.output
    assert out.read_text() == before


@pytest.mark.parametrize("content", ["", "not json\n", '{"kind": "answer"}\n', '{"a": 1}\n[]\n'])
def test_a_foreign_file_is_one_sentence(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    done = invoke("workload", "compare", path, path)
    assert done.exit_code == 2
    assert "is no result file" in done.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two repetitions of a fast server and two of one with half its speed."""
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for label, tpot in (("baseline", 0.004), ("slow", 0.012)):
        for number in range(2):
            with ScriptedServer(Script(tpot_s=tpot)) as url:
                path = folder / f"{label}-{number}.jsonl"
                assert run(url, path, "--label", label, prompts=5).exit_code == 0
                paths.append(path)
    return paths


def test_comparing_tells_a_change_from_noise(runs, tmp_path):
    done = invoke("workload", "compare", *runs, "--json", "--plot", tmp_path / "plot.png")
    assert done.exit_code == 0, done.output
    deltas = {row["metric"]: row for row in json.loads(done.stdout)["rows"]}
    assert deltas["tpot_ms"]["verdict"] == "worse"
    assert deltas["tpot_ms"]["change"] > max(0.5, deltas["tpot_ms"]["band"])
    rate = deltas["output_tok_s"]  # of the whole run: the band has this machine's load in it
    assert rate["change"] < 0
    assert rate["verdict"] == ("worse" if -rate["change"] > rate["band"] else "noise")
    assert deltas["accept_length"]["verdict"] == "noise"
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_single_runs_are_judged_by_their_requests_or_not_at_all(runs):
    rows = json.loads(invoke("workload", "compare", runs[0], runs[2], "--json").stdout)["rows"]
    verdicts = {row["metric"]: row["verdict"] for row in rows}
    assert verdicts["tpot_ms"] == "worse"
    assert verdicts["output_tok_s"] == "not judged: one run each"


def test_one_label_is_no_comparison(runs):
    done = invoke("workload", "compare", *runs[:2])
    assert done.exit_code == 2
    assert "two labels" in done.output


def test_every_workload_of_the_report_is_offered():
    done = invoke("workload", "--help")
    for name in ("A", "B", "C", "chat", "chat-31b", "summarisation", "compare"):
        assert f"  {name} " in done.output
