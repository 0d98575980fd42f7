"""The store: bounded over processes and restarts, and a save that never raises."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tests import dumps_fixture as dumps
from triage.dump.file import read_dump
from triage.dump.sections import Dump
from triage.dump.store import DumpStore
from triage.evidence import Evidence
from triage.sglang.traps import Traps

SMALL = dumps.make_dump(dumps.SMALL)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def in_a_child(what):
    """Run `what` in a forked child and wait for it."""
    pid = os.fork()
    if pid == 0:
        try:
            what()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_the_caps_hold_over_processes_and_restarts_and_the_first_of_each_kind_stays(tmp_path):
    # GIVEN three processes, one after the other, each with a store of its own
    first, why = DumpStore(tmp_path, 4).save(SMALL, "A-swa")
    assert why == ""

    def more():
        store = DumpStore(tmp_path, 4)
        for signature in ("B-full", *("A-swa",) * 5):
            store.save(SMALL, signature)

    in_a_child(more)
    in_a_child(more)
    # THEN the cap holds, the first of each signature is there, and so is the newest
    left = DumpStore(tmp_path, 4).stored()
    assert len(left) == 4 and left[0].name == first.name
    assert {each.signature for each in left} == {"A-swa", "B-full"}
    newest, _ = DumpStore(tmp_path, 4).save(SMALL, "A-swa")
    assert newest.exists() and first.exists() and len(names(tmp_path)) == 4


def test_only_files_of_a_store_are_ever_removed(tmp_path):
    kept = tmp_path / "A-swa-of-somebody.msgpack"
    kept.write_bytes(b"theirs")
    store = DumpStore(tmp_path, 1)
    for signature in "ABC":
        store.save(SMALL, signature)
    assert kept.exists() and len(names(tmp_path)) == 2


def test_the_byte_cap_holds_and_what_does_not_fit_is_said(tmp_path):
    big = replace(SMALL, kv={"k": np.random.default_rng(0).bytes(1) and np.arange(1 << 16)})
    store = DumpStore(tmp_path, 32, 40_000)
    path, why = store.save(replace(big, kv={"k": _noise(50_000)}), "A")
    assert read_dump(path).kv is None and read_dump(path).provenance["left_out"] == ["kv"]
    assert "left out: kv" in why and "cap of 40000" in why
    for _ in range(40):
        store.save(SMALL, "A")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000
    path, why = DumpStore(tmp_path, 32, 100).save(SMALL, "A")
    assert path is None and "nothing was written" in why


def _noise(size):
    return np.frombuffer(np.random.default_rng(0).bytes(size), dtype=np.uint8)


def test_a_full_disk_is_told_with_what_was_left_out(tmp_path, monkeypatch):
    real, room = os.write, 30_000

    def write(handle, content):
        if len(content) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, content)

    monkeypatch.setattr(os, "write", write)
    store = DumpStore(tmp_path)
    path, why = store.save(replace(SMALL, kv={"k": _noise(50_000)}), "A")
    assert read_dump(path).provenance["left_out"] == ["kv"]
    assert why == "left out: kv (No space left on device)"
    # AND where there is no room at all, nothing is left and nothing is claimed
    room = 0
    path, why = store.save(SMALL, "A")
    assert path is None and "No space left on device; nothing was written" in why
    assert len(names(tmp_path)) == 1


@pytest.mark.parametrize("error", [OSError(errno.EIO, "x"), MemoryError(), RuntimeError("x")])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "listdir", "stat", "unlink"])
def test_no_failure_of_the_system_leaves_save(tmp_path, monkeypatch, call, error):
    store = DumpStore(tmp_path, 1)
    store.save(SMALL, "A")
    real = getattr(os, call)

    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(os, call, fail)
    path, why = store.save(SMALL, "A")
    monkeypatch.setattr(os, call, real)
    assert (path is None) == bool(why)
    assert path is None or read_dump(path).fault == SMALL.fault
    DumpStore(tmp_path).open()
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_a_directory_that_a_cleaner_keeps_removing_costs_dumps_and_nothing_else(tmp_path):
    place, stop = tmp_path / "dumps", threading.Event()

    def clean():
        while not stop.is_set():
            shutil.rmtree(place, ignore_errors=True)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        store = DumpStore(place, 3)
        answers = [store.save(SMALL, "A") for _ in range(100)]
    finally:
        stop.set()
        cleaner.join()
    assert all((path is None) == bool(why) for path, why in answers)
    path, why = store.save(SMALL, "A")
    assert path.exists(), why


def test_writers_of_one_process_number_and_second_do_not_overwrite_each_other(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101T000000")
    paths = set()
    for _ in range(8):
        store = DumpStore(tmp_path)
        path, why = store.save(SMALL, "A")
        assert why == ""
        paths.add(path)
    assert len(paths) == len(names(tmp_path)) == 8


def test_a_writer_that_was_killed_leaves_nothing_behind_after_the_next_start(tmp_path):
    def killed():
        os.link = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        DumpStore(tmp_path).save(SMALL, "A")

    def listening():
        held = _listen(tmp_path)
        assert held
        killed()

    in_a_child(listening)
    left = [name for name in names(tmp_path) if name.endswith(".partial") or "armed." in name]
    assert len(left) == 2
    DumpStore(tmp_path).open()
    assert names(tmp_path) == []


def _listen(directory):
    listening = Traps(DumpStore(directory), mode="log").history.listening()
    listening.__enter__()
    return listening


def test_a_forked_child_owns_nothing_of_its_parents(tmp_path):
    # GIVEN a process that listens
    traps = Traps(DumpStore(tmp_path), mode="log")
    with traps.history.listening():
        marker = tmp_path / f"armed.{os.getpid()}"
        assert marker.exists()
        # WHEN a forked child saves, and unwinds through the loop it was forked in
        pid = os.fork()
        if pid == 0:
            try:
                traps.reporter.store.save(SMALL, "C")
                raise SystemExit
            except SystemExit:
                traps.history._unmark(None)
            os._exit(0)
        os.waitpid(pid, 0)
        # THEN the parent's mark is there, and the child's dump bears the child's number
        assert marker.exists()
        assert [name for name in names(tmp_path) if f"-{pid}-" in name]
    assert not marker.exists()


def test_a_forked_child_that_unwinds_leaves_the_parents_mark(tmp_path):
    traps = Traps(DumpStore(tmp_path), mode="log")
    marker = tmp_path / f"armed.{os.getpid()}"
    parent = os.getpid()
    try:
        with traps.history.listening():
            pid = os.fork()
            if pid == 0:
                raise SystemExit
            os.waitpid(pid, 0)
            assert marker.exists()
    except SystemExit:
        if os.getpid() != parent:
            os._exit(0)
        raise


def test_a_signal_during_a_snapshot_is_answered_after_it(tmp_path, monkeypatch):
    traps = Traps(DumpStore(tmp_path), mode="log")
    history, nested = traps.history, iter((True, True, False, False, False))
    real = history.save

    def save(*arguments):
        if next(nested):
            os.kill(os.getpid(), signal.SIGUSR2)
        return real(*arguments)

    monkeypatch.setattr(history, "save", save)
    with history.listening():
        os.kill(os.getpid(), signal.SIGUSR2)
    assert len([name for name in names(tmp_path) if name.startswith("snap-")]) == 3


def test_a_planted_mark_or_dump_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    place = tmp_path / "dumps"
    place.mkdir(mode=0o700)
    (place / f"armed.{os.getpid()}").symlink_to(victim)
    with Traps(DumpStore(place), mode="log").history.listening():
        assert not victim.exists()


def test_a_directory_that_is_not_private_is_said_and_not_written_to(tmp_path):
    tmp_path.chmod(0o777)
    store = DumpStore(tmp_path)
    assert "may be written by others" in store.problem()
    path, why = store.save(Dump(Evidence("", "x", "x")), "A")
    assert path is None and "may be written by others" in why
    assert names(tmp_path) == []
