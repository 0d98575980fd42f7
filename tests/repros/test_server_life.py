"""A reproducer with a real server: the script, `triage lab serve`, its session and its load.

SGLang and the driver's tool are stand-ins (`tests/lab/server/fake`): a GPU is missing here.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.server.conftest import DUMP, FakeMachine

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "repros").glob("*.sh"))
SCRIPT = ROOT / "repros" / "gemma4_e4b_oob.sh"
EAGLE = "eagle_draft_pool"
RATIO = "gemma4_31b_swa_ratio"


def command(machine: FakeMachine, script: Path = SCRIPT, *options: str) -> list[str]:
    out = ["--dir", str(machine.state / "out"), "--port", str(machine.port)]
    return ["bash", str(script), "--server", *out, *options]


def variables(machine: FakeMachine, server: str) -> dict[str, str]:
    return {**machine.environment, "PYTHON": sys.executable, "FAKE_SERVER": server}


def run(
    machine: FakeMachine, server: str, script: Path = SCRIPT, *options: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(machine, script, *options),
        env=variables(machine, server),
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.slow  # 35 CPU-seconds: four servers; tests/lab/server/test_session.py plays each end
def test_the_whole_story_of_a_defect_ends_with_reproduced(machine):
    # WHEN a server faults with the defect, is trapped with it, and lives with the fix
    done = run(machine, "defect")
    # THEN each step is there, and the finding is that the defect is real and the fix helps
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REPRODUCED: with state-swap the server carries the same load" in done.stdout
    assert "without a trap: the server dies of an illegal memory access" in done.stdout
    assert "SWA state not swapped with the pool  (high confidence)" in done.stdout
    assert "every answer with state-swap is that of an SGLang without the defect" in done.stdout
    assert machine.left() == []


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(each, marks=() if each == SCRIPT else pytest.mark.slow, id=each.stem)
        for each in SCRIPTS
        if each.stem != EAGLE
    ],
)
def test_every_script_finds_nothing_on_a_server_without_its_defect(machine, script):
    done = run(machine, "sound paced compiling" if script.stem == RATIO else "sound", script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT REPRODUCED: " in done.stdout
    assert machine.left() == []


def test_a_draft_of_its_own_needs_real_weights_and_says_so(machine):
    done = run(machine, "sound", ROOT / "repros" / f"{EAGLE}.sh")
    assert done.returncode == 3
    assert "needs --weights and --draft-weights; without, use --lab" in done.stderr


def test_real_weights_are_served_in_the_place_of_a_made_model(machine):
    # GIVEN a checkpoint and its draft
    folders = {name: machine.state / name for name in ("--weights", "--draft-weights")}
    options = []
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        options += [name, str(folder)]
    # WHEN a script runs with them
    done = run(machine, "sound", ROOT / "repros" / f"{EAGLE}.sh", *options)
    # THEN the server has them, whole, and nothing was made
    assert done.returncode == 0, done.stdout + done.stderr
    arguments = machine.told("arguments")
    assert arguments[arguments.index("--model-path") + 1] == str(folders["--weights"])
    draft = arguments[arguments.index("--speculative-draft-model-path") + 1]
    assert draft == str(folders["--draft-weights"])
    assert "--load-format" not in arguments
    assert not list((machine.state / "out").rglob("model.safetensors"))


def test_a_capture_that_fails_for_another_reason_is_not_taken_for_the_defect(machine):
    done = run(machine, "dies", ROOT / "repros" / "gemma4_e2b_kv_shared_graph.sh")
    assert done.returncode == 4
    assert "failed for another reason" in done.stderr


def test_a_fault_that_leaves_no_dump_with_the_traps_on_is_a_different_outcome(machine):
    done = run(machine, "faults")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "the server ended without a trap" in done.stderr


def test_a_server_that_ends_before_it_is_healthy_is_quoted(machine):
    done = run(machine, "dies")
    assert done.returncode == 3
    assert "before it was healthy: ValueError: Gemma4 only supports" in done.stderr
    assert machine.left() == []


def test_a_port_in_use_is_refused_before_anything_starts(machine):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", machine.port))
        listener.listen()
        done = run(machine, "sound")
    assert done.returncode == 2
    assert f"port {machine.port} is in use by" in done.stderr
    assert not (machine.state / "launcher.pid").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_a_signal_stops_what_was_started_and_keeps_the_logs(machine, number, code):
    # GIVEN a script in the middle of its load, its server healthy
    process = subprocess.Popen(
        command(machine),
        env=variables(machine, "slow"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    machine.wait_for("loaded")
    # WHEN it is interrupted
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # THEN the server is gone, the logs are there, and the code names the signal
    assert process.returncode == code
    assert "stopped; logs so far are in" in errors
    assert machine.left() == []
    assert (machine.state / "out" / "untrapped" / "server.log").exists()


@pytest.mark.parametrize(
    ("gpu", "where"),
    [
        ("NVIDIA H200, 9.0, 140000, 143771", "a real server on this machine's GPU"),
        ("NVIDIA B200, 10.0, 180000, 183359", "a real server on this machine's GPU"),
        ("NVIDIA A100, 8.0, 80000, 81920", "lab on this machine's CPU"),
    ],
    ids=["Hopper", "Blackwell", "Ampere"],
)
def test_where_it_runs_follows_from_the_gpu(machine, gpu, where):
    """The script says where in its first line; what it then runs here ends at once."""
    environment = {**variables(machine, "sound"), "FAKE_GPU": gpu, "PYTHON": "false"}
    script = str(ROOT / "repros" / f"{EAGLE}.sh")
    done = subprocess.run(
        ["bash", script, "--dir", str(machine.state / "out")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert where in done.stdout.splitlines()[0]


def test_the_dump_of_the_stand_in_is_one_that_the_story_fits():
    assert DUMP.exists()
