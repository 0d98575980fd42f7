"""One server as a library: its environment, its processes, its end. The server is scripted."""

from __future__ import annotations

import os
import signal
import time

import pytest

from triage.errors import LabError
from triage.lab.server.process import Server


@pytest.fixture
def server(machine, monkeypatch, tmp_path):
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    made = Server(
        tmp_path / "model",
        machine.port,
        tmp_path / "server.log",
        {"ADDED": "yes", "HOME": None},
        ["--page-size", "64"],
        [tmp_path / "plugin"],
        grace_s=1.0,
    )
    yield made
    made.stop()


def test_a_started_server_knows_its_processes_and_is_gone_after_the_block(machine, server):
    # WHEN it is started and left
    with server:
        seconds = server.start(timeout_s=20)
        alive, pids = server.alive, set(server.pids)
        with pytest.raises(LabError, match="started already"):
            server.start()
    # THEN it was alive with all it had started, whoever their parents are
    assert alive and 0 < seconds < 20
    assert set(machine.pids().values()) <= pids
    assert machine.left() == []
    assert server.exit_code is not None
    server.stop()  # once more is nothing


def test_what_is_added_removed_and_put_first(machine, server, tmp_path):
    with server:
        server.start(timeout_s=20)
    environment = machine.told("environment")
    assert environment["ADDED"] == "yes" and "HOME" not in environment
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path / "plugin")
    assert machine.told("arguments")[1:] == [
        *("--model-path", str(tmp_path / "model")),
        *("--port", str(machine.port), "--page-size", "64"),
    ]


def test_a_server_that_ends_by_itself_takes_its_leftovers_along(machine, server):
    server.start(timeout_s=20)
    # WHEN its launcher alone is killed
    os.kill(machine.pids()["launcher"], signal.SIGKILL)
    # THEN scheduler and worker are ended without being asked, and the code names the signal
    assert server.wait_dead(20)
    assert machine.left() == []
    assert server.exit_code == 128 + signal.SIGKILL


def test_without_its_supervisor_the_session_is_still_ended(machine, server):
    server.start(timeout_s=20)
    supervisor = server._supervisor
    assert supervisor is not None
    supervisor.kill()
    supervisor.wait()
    server.stop()
    deadline = time.monotonic() + 5
    while set(machine.running()) - {"worker"} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert set(machine.running()) <= {"worker"}  # it had left the session
