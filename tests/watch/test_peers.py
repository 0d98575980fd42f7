"""A rank that raises an alarm asks those beside it, once each, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from triage.dump.file import read_dump
from triage.dump.peers import Peers
from triage.dump.store import DumpStore
from triage.sglang.ranks import ranks, several

ASK = """
import sys
from pathlib import Path
from triage.dump.peers import Peers
from triage.dump.store import DumpStore
peers = Peers(DumpStore(Path(sys.argv[1])))
asked = peers.ask()
print(asked, peers.wait(asked, 20.0) == asked, peers.ask(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def listening(tmp_path):
    command = [sys.executable, "-m", "tests.watch.snap_child", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        yield process
        process.kill()


def asking(folder, *prefix):
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", ASK, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process):
    said = process.stdout.readline().strip()
    process.stdin.close()
    process.wait()
    process.stdout.close()
    return said


def test_a_sibling_that_listens_writes_its_ring_once_for_whoever_asks_first(listening, tmp_path):
    # GIVEN a process that listens, one that does not although it is marked, and two that ask
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as deaf:
        (tmp_path / f"armed.{deaf.pid}").touch()
        first = asking(tmp_path)
        told = first.stdout.readline().strip()
        second = asking(tmp_path)
        again = answer(second)
        alive = deaf.poll() is None
        first.communicate("")
        deaf.kill()
    # THEN the first gets one answer, the second and the first again ask nobody
    assert told == f"({listening.pid},) True ()"
    assert again.startswith("() True ()")
    # AND one dump was written, and everybody lives
    (path,) = tmp_path.glob("snap-*.msgpack")
    assert len(read_dump(path).history) == 2
    assert alive and listening.poll() is None


def test_a_process_of_another_parent_is_left_alone(listening, tmp_path):
    # GIVEN somebody who asks from below a shell: its parent is another
    script = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    below = subprocess.Popen(
        [sys.executable, "-c", script, "-c", ASK, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    # THEN it asks nobody
    assert answer(below).startswith("() True ()")
    time.sleep(0.2)
    assert not list(tmp_path.glob("snap-*.msgpack"))


def test_who_raises_an_alarm_of_its_own_need_not_be_asked(tmp_path):
    # GIVEN a process that asked, which is what an alarm does first
    mine = Peers(DumpStore(tmp_path))
    assert mine.ask() == ()
    # THEN it holds the claim on itself, so that another rank's alarm does not ask it
    other = Peers(DumpStore(tmp_path))
    assert not other._claim(os.getpid())


class Scheduler:
    """As much of SGLang's as says which rank it is."""


def test_the_rank_is_what_sglang_says_and_what_it_does_not_know_is_left_out():
    # GIVEN schedulers as 0.5.14 and 0.5.12.post1 have them, and none
    new, old = Scheduler(), Scheduler()
    new.ps = Scheduler()
    new.draft_worker = Scheduler()
    new.ps.tp_rank, new.ps.tp_size, new.ps.pp_rank, new.ps.pp_size = 1, 2, 0, 1
    new.ps.dp_rank, new.ps.dp_size, new.draft_worker.tp_rank = None, 1, 1
    old.tp_rank, old.tp_size, old.pp_size = 3, 4, 1
    # THEN ranks come from either, and a rank that is None is not 0
    assert ranks(new) == {
        **{"tp": 1, "tp_size": 2, "pp": 0, "pp_size": 1},
        **{"dp_size": 1, "draft": 1},
    }
    assert ranks(old) == {"tp": 3, "tp_size": 4, "pp_size": 1}
    assert ranks(None) == {}
    assert several(ranks(new)) and not several(ranks(None)) and not several({"tp_size": 1})
