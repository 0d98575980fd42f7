"""A reproducer's server: started in a group of its own, awaited, and always stopped.

The shell functions are the real ones; the server is a scripted stand-in
(`fake_python.sh`), because the real one needs a Blackwell GPU.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "repros").glob("*.sh"))
SCRIPT = ROOT / "repros" / "gemma4_e4b_oob.sh"
FAKE = Path(__file__).with_name("fake_python.sh")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(
    tmp_path: Path, server: str, port: int, script: Path = SCRIPT, **more: str
) -> tuple[list[str], dict[str, str]]:
    environment = {
        **os.environ,
        "PYTHON": str(FAKE),
        "REAL_PYTHON": sys.executable,
        "FAKE_SERVER": server,
        "FAKE_STATE": str(tmp_path),
        "HEALTH_TIMEOUT_S": "20",
        **more,
    }
    line = ["bash", str(script), "--server", "--dir", str(tmp_path / "out"), "--port", str(port)]
    return line, environment


def run(tmp_path: Path, server: str, port: int | None = None, **more: str):
    line, environment = command(tmp_path, server, port or free_port(), **more)
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=90)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_without_the_defect_survives_and_is_stopped(tmp_path):
    # WHEN the load does not kill the server
    done = run(tmp_path, "healthy")
    # THEN the script says so with exit code 0 and leaves nothing running
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT REPRODUCED: the server survived" in done.stdout
    assert "healthy after" in done.stdout
    assert not is_running(int((tmp_path / "server.pid").read_text()))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_finds_nothing_on_a_server_without_its_defect(tmp_path, script):
    done = run(tmp_path, "healthy", script=script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT REPRODUCED: " in done.stdout
    assert not is_running(int((tmp_path / "server.pid").read_text()))


def test_a_capture_that_fails_for_another_reason_is_not_taken_for_the_defect(tmp_path):
    done = run(tmp_path, "dies", script=ROOT / "repros" / "gemma4_e2b_kv_shared_graph.sh")
    assert done.returncode == 4
    assert "failed for another reason" in done.stderr


def test_a_server_that_dies_of_a_fault_without_leaving_a_dump_is_a_different_outcome(tmp_path):
    # GIVEN a server that faults under load, also with the traps on, and writes no dump
    done = run(tmp_path, "faults")
    # THEN the fault is quoted and the broken story is exit code 4, not success
    assert done.returncode == 4, done.stdout + done.stderr
    assert "the server died: CUDA error: an illegal memory access" in done.stdout
    assert "no dump" in done.stderr


def test_a_server_that_ends_before_it_is_healthy_is_quoted(tmp_path):
    done = run(tmp_path, "dies")
    assert done.returncode == 3
    assert "the server ended before it was healthy: no GPU here" in done.stderr


def test_a_server_that_never_answers_is_stopped_at_the_time_limit(tmp_path):
    done = run(tmp_path, "mute", HEALTH_TIMEOUT_S="2")
    assert done.returncode == 3
    assert "not healthy within 2 s" in done.stderr


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = run(tmp_path, "healthy", port)
    assert done.returncode == 2
    assert f"port {port} is in use by" in done.stderr
    assert not (tmp_path / "server.pid").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_a_signal_stops_what_was_started_and_keeps_the_logs(tmp_path, number, code):
    # GIVEN a script in the middle of its load, its server healthy
    line, environment = command(tmp_path, "healthy", free_port(), FAKE_BENCH_S="60")
    process = subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(tmp_path / "loaded")
    # WHEN it is interrupted
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # THEN the server is gone, the logs are there, and the code names the signal
    assert process.returncode == code
    assert "stopped; logs so far are in" in errors
    assert not is_running(int((tmp_path / "server.pid").read_text()))
    assert list((tmp_path / "out").glob("server-*.log"))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 40
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)
