"""The two-GPU script, its server's place taken by the lab's ranks: real dumps, a real alarm."""

from __future__ import annotations

import time

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
