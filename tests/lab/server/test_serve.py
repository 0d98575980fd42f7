"""`triage lab serve` from the command line: what it starts, what it says, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.lab.server import machine as machine_module


def test_a_sound_server_is_served_loaded_and_stopped(machine):
    # WHEN a small shape is served with MTP and a plain load
    done = machine.serve("--mtp", "--json")
    # THEN it is clean, and the result has what a later comparison needs
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["outcome"] == "clean"
    assert result["guarded"] is True
    assert (result["load"]["ok"], result["load"]["requests"]) == (8, 8)
    assert len(result["load"]["digest"]) == 64
    # and nothing is left of it, whatever session or parent it had
    assert machine.left() == []


def test_the_server_gets_a_model_flags_and_the_traps_by_one_variable_alone(machine):
    machine.serve("--small", "--mtp", SGLANG_TRTLLM_MHA_DEBUG_MODE="log")
    arguments, environment = machine.told("arguments"), machine.told("environment")
    target, draft = machine.state / "out" / "target", machine.state / "out" / "assistant"
    assert arguments[arguments.index("--model-path") + 1] == str(target)
    assert arguments[arguments.index("--speculative-draft-model-path") + 1] == str(draft)
    assert (target / "model.safetensors").exists() and (draft / "config.json").exists()
    assert environment["SGLANG_TRTLLM_MHA_DEBUG"] == "1"
    assert environment["SGLANG_TRTLLM_MHA_DEBUG_DIR"] == str(machine.state / "out" / "dumps")
    # the shell's own mode is not the default mode, and the CPU lab's interpreter is not wanted
    assert "SGLANG_TRTLLM_MHA_DEBUG_MODE" not in environment
    assert "TRITON_INTERPRET" not in environment


def test_mode_and_fixes_are_handed_on_and_off_takes_the_traps_away(machine):
    done = machine.serve("--mode", "off", "--json", SGLANG_TRTLLM_MHA_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert "SGLANG_TRTLLM_MHA_DEBUG" not in machine.told("environment")


def test_a_folder_with_an_earlier_run_is_not_mixed_with_a_new_one(machine):
    assert machine.serve().returncode == 0
    again = machine.serve()
    assert again.returncode == 2
    assert "holds an earlier run" in again.stderr


def test_a_flag_of_the_users_own_wins_and_the_plan_says_so(machine):
    done = machine.serve("--dry-run", "--", "--page-size", "32", "--attention-backend=triton")
    assert done.returncode == 0
    assert "--page-size 32 --attention-backend=triton  (given)" in done.stdout
    assert "left out, given instead: --page-size 64" in done.stdout
    assert "left out, given instead: --decode-attention-backend trtllm_mha" in done.stdout
    assert not (machine.state / "launcher.pid").exists()


def test_a_trap_that_fires_is_explained_and_the_exit_code_says_so(machine):
    done = machine.serve("--json", FAKE_SERVER="traps")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["outcome"] == "trapped"
    assert "StaleSWAState" in result["death"]
    (dump,) = result["dumps"]
    assert dump["invariant"] == "I2"
    assert any("stale SWA state" in cause.lower() or "SWA" in cause for cause in dump["causes"])
    assert machine.left() == []


def test_a_fault_without_a_dump_is_named_a_fault(machine):
    done = machine.serve(FAKE_SERVER="faults")
    assert done.returncode == 1
    assert "FAULT: an illegal memory access" in done.stdout
    assert "the server ended: torch.AcceleratorError: CUDA error: an illegal" in done.stdout
    # what was answered before is kept, and nothing was asked of a server that is gone
    lines = (machine.state / "out" / "answers.jsonl").read_text().splitlines()
    assert len(lines) >= 2


def test_a_server_that_dies_while_it_starts_is_quoted_by_its_first_exception(machine):
    done = machine.serve(FAKE_SERVER="dies")
    assert done.returncode == 3
    assert "before it was healthy: ValueError: Gemma4 only supports" in done.stderr
    assert machine.left() == []


def test_a_server_without_memory_is_quoted(machine):
    done = machine.serve(FAKE_SERVER="memory")
    assert done.returncode == 3
    assert "Not enough memory" in done.stderr


def test_a_server_that_never_answers_is_stopped_in_time(machine):
    done = machine.serve("--timeout", "2", FAKE_SERVER="mute stubborn")
    assert done.returncode == 3
    assert "not healthy within 2 s" in done.stderr
    assert machine.left() == []


def test_a_server_whose_log_does_not_say_that_it_is_guarded_is_not_called_clean(machine):
    done = machine.serve(FAKE_SERVER="unarmed")
    assert done.returncode == 1
    assert "NOT GUARDED" in done.stdout


def test_a_port_in_use_is_refused_by_name_before_anything_starts(machine):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", machine.port))
        listener.listen()
        done = machine.serve()
    assert done.returncode == 2
    assert f"port {machine.port} is in use by" in done.stderr
    assert f"(process {os.getpid()})" in done.stderr
    assert not (machine.state / "launcher.pid").exists()


@pytest.mark.parametrize(
    ("options", "variables", "code", "sentence"),
    [
        (["--mode", "loud"], {}, 2, "no mode 'loud'; known: default, off, raise, contain, log"),
        (["--load", "heavy"], {}, 2, "no load 'heavy'; known: plain, mixed, none"),
        (["--fix", "magic"], {}, 2, "no fix 'magic'; known: state-swap"),
        (["--defect", "magic"], {}, 2, "no defect 'magic' for a server; known: stale-swa-state"),
        ([], {"FAKE_GPU": "Tesla T4, 7.5, 15000, 15360"}, 2, "trtllm_mha does not run on sm_75"),
        ([], {"FAKE_GPU": "NVIDIA H200, 9.0, 1000, 143771"}, 3, "1.0 of 140.4 GiB free"),
        ([], {"CUDA_VISIBLE_DEVICES": ""}, 3, "no NVIDIA GPU is visible here"),
        ([], {"SGLANG_IS": "0.5.9"}, 3, "SGLang 0.5.9 is too old"),
        ([], {"SGLANG_IS": ""}, 3, "no SGLang is installed here"),
    ],
    ids=["mode", "load", "fix", "defect", "gpu", "memory", "no gpu", "too old", "no sglang"],
)
def test_what_cannot_be_served_is_one_sentence(
    machine, monkeypatch, options, variables, code, sentence
):
    # GIVEN a machine on which SHAPE cannot be served, or a wish nobody knows
    for name, value in {**machine.environment, **variables}.items():
        monkeypatch.setenv(name, value)
    release = variables.get("SGLANG_IS", "0.5.14") or None
    monkeypatch.setattr(machine_module, "_version", {"sglang": release}.get)
    monkeypatch.setattr(machine_module, "_from_torch", lambda: None)
    # WHEN it is asked for
    done = CliRunner().invoke(main, machine.command(*options)[3:])
    # THEN one sentence says why, and nothing was started
    assert done.exit_code == code, done.output
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (machine.state / "launcher.pid").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupt_stops_the_server_and_keeps_the_answers(machine, number, code):
    # GIVEN a load under way, started by a shell that has SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = machine.begin("--concurrency", "1", FAKE_SERVER="slow stubborn")
    finally:
        signal.signal(signal.SIGINT, before)
    answers = machine.state / "out" / "answers.jsonl"
    machine.wait_for("loaded")
    while len(answers.read_text().splitlines()) < 2:
        time.sleep(0.05)
    # and an innocent process of the same user
    innocent = subprocess.Popen(["sleep", "60"])
    # WHEN it is interrupted
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    # THEN the code names the signal, what was answered is told, and all but the innocent is gone
    assert process.returncode == code, errors
    assert "INTERRUPTED" in out
    assert "1 of 8 plain requests answered" in out
    assert machine.left() == []
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()
    # and the server itself could have been interrupted
    assert machine.told("environment")["SIGINT ignored"] is False


def test_a_lab_that_is_killed_leaves_no_server(machine):
    process = machine.begin(FAKE_SERVER="slow")
    machine.wait_for("loaded")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 15
    while machine.running() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert machine.running() == []


def test_a_name_that_there_is_not_needs_no_gpu_to_be_told(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    told = CliRunner().invoke(main, ["lab", "serve", "E5B"])
    assert told.exit_code == 2 and "no shape 'E5B' (did you mean E4B?)" in told.output
