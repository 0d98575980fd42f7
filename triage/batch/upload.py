"""The sender: `python -m triage.batch.upload SPOOL URL PID`, started beside a server.

It sends every dump of the spool, notes it, and looks again, until the process PID has ended and
nothing waits any more. One sender works on a spool at a time; the others wait for its lock, so
that the last server's dumps are sent too. What cannot be sent is tried again, later and later;
once the server has ended for `PATIENCE_S`, it is left for the next start. Sending twice what was
sent already writes the same bytes under the same name.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triage.batch.objects import why
from triage.dump.file import MAX_FILE_BYTES
from triage.dump.spool import LOCK, SENT, sent
from triage.dump.store import SUFFIX
from triage.errors import DumpError
from triage.files.reading import read_regular
from triage.files.writing import Directory, reason

LOOK_S, SLOWEST_S, PATIENCE_S = 1.0, 60.0, 600.0
_STORES = re.compile(r"(s3|gs|abfs|az)://")
"""Where an object is there whole or not at all; elsewhere it is moved into place."""


class Removed(Exception):
    """The dump is in the spool no more."""


class Sender:
    """alive: does the server still run? tell: takes one sentence each time that things change."""

    def __init__(
        self, spool: Path, url: str, alive: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        self.spool = Directory.open(spool, private=True)
        self.url = url.rstrip("/")
        self.alive = alive
        self.tell = tell
        self._sent = set(sent(spool))
        self._told = ""
        self._filesystem: Any = None

    def waiting(self) -> list[str]:
        """Whole dumps that are not noted as sent, oldest first."""
        found = [
            (facts.st_mtime_ns, name)
            for name, facts in self.spool.files()
            if name.endswith(SUFFIX) and not name.startswith(".") and name not in self._sent
        ]
        return [name for _, name in sorted(found)]

    def send_all(self) -> int:
        """Send what waits; returns how many could not be, and says why once."""
        failed = 0
        for name in self.waiting():
            try:
                size = self._send(name)
            except Removed:
                continue  # room was made for another, which the server's log tells
            except Exception as error:  # each store has a family of its own
                failed += 1
                self._say(f"not sent yet: {why(error)}")
                if not isinstance(error, DumpError):
                    return len(self.waiting())  # the store does not answer: not once per dump
                continue
            self._sent.add(name)
            try:
                self._note(name, size)
            except OSError as error:  # a full disk, say: what arrived is there all the same
                self._say(f"sending; what was sent cannot be noted: {reason(error)}")
                continue
            self._say("sending")
        return failed

    def run(self, wait: Callable[[float], None] = time.sleep) -> int:
        """Until the server has ended and nothing waits; returns how many are left."""
        pause, gone_for = LOOK_S, 0.0
        while True:
            alive = self.alive()  # asked first: what it wrote before it ended is seen below
            left = self.send_all()
            if not alive and (not left or gone_for > PATIENCE_S):
                return left
            pause = min(pause * 2, SLOWEST_S) if left else LOOK_S
            gone_for += 0.0 if alive else pause
            wait(pause)

    def _send(self, name: str) -> int:
        path = self.spool.path / name
        try:
            content = read_regular(path, MAX_FILE_BYTES)
        except DumpError as error:
            if self.spool.has(name):
                raise
            raise Removed(name) from error
        filesystem, target = self._store(), f"{self.url}/{name}"
        if _STORES.match(self.url):
            filesystem.pipe_file(target, content)
        else:
            partial = f"{self.url}/.{name}.{secrets.token_hex(8)}.partial"
            filesystem.makedirs(self.url, exist_ok=True)
            filesystem.pipe_file(partial, content)
            filesystem.mv(partial, target)
        filesystem.invalidate_cache()
        there = int(filesystem.info(target)["size"])
        if there != len(content):
            raise OSError(f"{there} bytes of {len(content)} arrived")
        return there

    def _store(self) -> Any:
        if self._filesystem is None:
            import fsspec

            self._filesystem = fsspec.core.url_to_fs(self.url)[0]
        return self._filesystem

    def _note(self, name: str, size: int) -> None:
        line = {"name": name, "url": f"{self.url}/{name}", "bytes": size, "at": int(time.time())}
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(SENT, flags, 0o600, dir_fd=self.spool.handle)
        try:
            os.write(handle, f"\n{json.dumps(line)}\n".encode())  # a line that was cut ends here
            os.fsync(handle)
        finally:
            os.close(handle)

    def _say(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            self.tell(sentence)


def lock(spool: Path, alive: Callable[[], bool]) -> int | None:
    """A descriptor that holds the spool; None where the server ended while another held it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(spool / LOCK, flags, 0o600)
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if not alive():
                os.close(handle)
                return None
        time.sleep(LOOK_S)


def server_alive(pid: int) -> Callable[[], bool]:
    """Tells whether the process that has `pid` now still runs, not another of that number."""
    born = _born(pid)
    return lambda: born is not None and _born(pid) == born


def _born(pid: int) -> str | None:
    """When it was started, in the kernel's ticks; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def main(spool: str, url: str, server: str) -> int:
    alive = server_alive(int(server))
    # SGLang ends with every process below it (kill_process_tree): be below it no more.
    if os.fork():
        os._exit(0)

    def tell(sentence: str) -> None:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {os.getpid()} {url}: {sentence}", flush=True)

    handle = lock(Path(spool), alive)
    if handle is None:
        return 0
    sender = Sender(Path(spool), url, alive, tell)
    left = sender.run()
    tell(f"ended; {left} left for the next start" if left else "ended; nothing is left to send")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
