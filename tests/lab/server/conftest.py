"""A machine with a GPU, as far as `triage lab serve` looks: stand-ins for its tool and for SGLang.

The command, the session, the supervisor and the load are the real ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from triage.lab.server.ports import free_port

ROOT = Path(__file__).parents[3]
FAKE = Path(__file__).with_name("fake")
DUMP = ROOT / "dumps" / "e4b_stale_swa_state.msgpack"
PROCESSES = ("launcher", "scheduler", "worker")


@dataclass
class FakeMachine:
    """Where the stand-ins keep their notes, and the environment in which they are found."""

    state: Path
    port: int
    environment: dict[str, str]

    def command(self, *options: str) -> list[str]:
        serve = [sys.executable, "-m", "triage", "lab", "serve", "E4B"]
        where = ["--port", str(self.port), "--dir", str(self.state / "out")]
        return [*serve, *where, "--requests", "8", "--timeout", "20", *options]

    def serve(self, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=90,
        )

    def begin(self, *options: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*options),
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, name: str) -> None:
        deadline = time.monotonic() + 40
        while not (self.state / name).exists():
            assert time.monotonic() < deadline, f"{name} did not appear"
            time.sleep(0.05)

    def told(self, name: str) -> Any:
        return json.loads((self.state / f"{name}.json").read_text())

    def pids(self) -> dict[str, int]:
        return {name: int((self.state / f"{name}.pid").read_text()) for name in PROCESSES}

    def running(self) -> list[str]:
        """Those of the server's processes that still run."""
        return [name for name, pid in self.pids().items() if is_running(pid)]

    def left(self) -> list[str]:
        """The same, after as long as the kernel may take to remove an ended process."""
        deadline = time.monotonic() + 5
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.running()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FakeMachine]:
    path = [str(FAKE), str(ROOT), str(ROOT / "kernels")]
    fake = FakeMachine(
        tmp_path,
        free_port(),
        {
            **{name: value for name, value in os.environ.items() if "SGLANG_" not in name},
            "PATH": f"{FAKE / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(path),
            "FAKE_STATE": str(tmp_path),
            "FAKE_DUMP": str(DUMP),
            "CUDA_VISIBLE_DEVICES": "0",
            "TRITON_INTERPRET": "1",
        },
    )
    yield fake
    for name in PROCESSES:  # a test that fails leaves nothing behind either
        if (tmp_path / f"{name}.pid").exists() and name in fake.running():
            os.kill(fake.pids()[name], 9)
