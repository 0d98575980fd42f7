"""Writers of one store that are killed: nothing torn, nothing left after the next start."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from tests import dumps_fixture as dumps
from triage.dump.file import read_dump
from triage.dump.store import DumpStore

STAGES = ("open", "flock", "write", "fsync", "link", "unlink", "listdir")
"""System calls of a save; a writer dies before its first one of each."""


def kill_at_random(directory: Path, kills: int, seed: int = 0) -> dict[str, int]:
    """`kills` writers, each killed within its first milliseconds of saving."""
    rng, dump = random.Random(seed), dumps.make_dump(dumps.SMALL)
    for _ in range(kills):
        pid = os.fork()
        if pid == 0:
            store = DumpStore(directory, 8)
            while True:
                store.save(dump, "Killed")
        time.sleep(rng.random() * 0.006)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"kills": kills, **_after(directory)}


def kill_at_stages(directory: Path) -> dict[str, int]:
    """One writer killed before its first call of each of STAGES."""
    dump = dumps.make_dump(dumps.SMALL)
    for stage in STAGES:
        pid = os.fork()
        if pid == 0:
            import fcntl

            store = DumpStore(directory, 8)
            store.open()
            setattr(fcntl if stage == "flock" else os, stage, _die)
            store.save(dump, "Killed")
            os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), stage
    return {"kills": len(STAGES), **_after(directory)}


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _after(directory: Path) -> dict[str, int]:
    """What the next start leaves, and whether each dump can be read."""
    DumpStore(directory, 8).open()
    names = [path for path in directory.iterdir()]
    torn = 0
    for path in names:
        if path.suffix == ".msgpack":
            try:
                read_dump(path)
            except Exception:  # whatever the reader meets: the file is not whole
                torn += 1
    return {
        "files": len(names),
        "torn": torn,
        "leftovers": sum(path.suffix != ".msgpack" for path in names),
    }
