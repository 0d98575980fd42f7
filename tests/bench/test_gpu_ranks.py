"""The two-GPU script, its server's place taken by the lab's ranks: real dumps, a real alarm."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from tests.lab.server.conftest import machine  # noqa: F401 (a fixture)
from triage.bench import gpu_ranks
from triage.dump.snap import is_armed
from triage.lab import ranks as lab_ranks


class LabServer:
    """The lab's ranks where the script has a server."""

    def __init__(self, dumps, control):
        self.children = lab_ranks.begin(
            2, dumps, wrong=gpu_ranks.WRONG_RANK, control=control, requests=4000
        )
        self.pids = [child.pid for child in self.children]

    @property
    def alive(self):
        return all(child.poll() is None for child in self.children)

    def log(self):
        return ""

    def stop(self):
        for child in self.children:
            child.kill()
            child.wait()


@pytest.mark.slow  # 17 CPU-seconds; tests/ranks/test_lab.py names the wrong one of two ranks
def test_sound_ranks_agree_and_the_wrong_one_is_named_at_its_step(tmp_path):
    # GIVEN a server of two ranks that serves
    dumps, control = tmp_path / "dumps", tmp_path / "control"
    server = LabServer(dumps, control)
    told: list[str] = []

    def give_load():
        until = time.monotonic() + 240
        while server.alive and time.monotonic() < until:
            if all(is_armed(pid, dumps) for pid in server.pids):
                time.sleep(2.0)  # steps go by
                return
            time.sleep(0.2)
        raise RuntimeError("the ranks do not serve")

    try:
        # WHEN the script plays its two parts on it
        found = gpu_ranks.play(server, dumps, control, give_load, told.append, ranks=2)
    finally:
        server.stop()
    # THEN everything it asks for holds
    assert all(found["held"].values()), (found["held"], told)
    # AND the sound snapshots were compared over many launches, and rank 1's own trap decided
    (sound,), (wrong,) = found["sound"]["groups"], found["wrong"]["groups"]
    assert sound["launches_compared"] > 10 and sound["diverged"] is None
    assert wrong["diverged"]["basis"] == "alarm" and wrong["diverged"]["tables"] == ["page_table"]


def script(fake, out, **variables):
    return subprocess.run(
        [
            *(sys.executable, "-m", "triage.bench.gpu_ranks", "--out", str(out)),
            *("--work", str(fake.state / "work"), "--port", str(fake.port), "--budget-s", "60"),
        ],
        env={**fake.environment, "HOME": str(fake.state), **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_server_without_armed_ranks_is_told_and_what_was_asked_of_it_is_right(machine, tmp_path):  # noqa: F811
    # GIVEN a server that serves, in which nothing of ours runs
    done = script(machine, tmp_path / "out", CUDA_VISIBLE_DEVICES="0,1")
    # THEN nothing holds that was not seen, and the server is gone
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    record = json.loads((tmp_path / "out" / "ranks.json").read_text())
    assert record["start_s"] and "no process of the server listens" in record["error"]
    assert record["kernel"]["error"] and not any(record["held"].values())
    assert machine.left() == []
    # AND it was started as two ranks, multicast off, the defect on one of them
    arguments, environment = machine.told("arguments"), machine.told("environment")
    assert arguments[arguments.index("--tp") + 1] == "2"
    assert "--disable-custom-all-reduce" in arguments and "--load-format" not in arguments
    assert environment["NCCL_NVLS_ENABLE"] == "0"
    plugin = machine.state / "work" / "plugins" / "page-exchange" / "aa_lab_page_exchange.py"
    assert "'rank': '1'" in plugin.read_text()


def test_with_one_gpu_it_is_one_sentence(machine, tmp_path):  # noqa: F811
    done = script(machine, tmp_path / "out")
    assert done.returncode == 3
    assert done.stderr == "gpu ranks: 1 GPUs are visible, --tp 2 needs as many\n"
