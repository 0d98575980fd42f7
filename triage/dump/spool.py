"""The spool: dumps that wait for an object store, and the process that sends them.

The rule: a server writes to its own disk and waits for nothing else. What sends is a process of
its own (`triage/batch/upload.py`), in its own session; it reads the directory, so a dump needs no
word from one to the other, and what an earlier server or sender left is found at the next start.
A sent dump stays where it is, for the path that an error named is still to be read; its name is
noted in `sent`. Needs neither torch nor fsspec.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from triage.errors import DumpError
from triage.files.reading import read_lines
from triage.files.writing import Directory, reason

SENT, LOCK, LOG = "sent", "sending", "upload.log"
MAX_SENT_BYTES = 64 << 20
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "file": "fsspec"}
"""Protocol -> what fsspec needs for it."""

logger = logging.getLogger("triage")
_senders: list[subprocess.Popen[bytes]] = []
"""Held, so that Python does not say that nobody waited for it: the sender forks, and its first
process ends once it has."""


def start(spool: Path, url: str) -> str:
    """Start the sender of this process; returns why it could not be, "" if it was.

    Cost: one process is started (about a millisecond here), nothing is waited for; whether the
    store answers is the sender's to find out, and stands in `upload.log` of the spool.
    """
    package = PACKAGES[url.partition("://")[0]]
    if importlib.util.find_spec(package) is None:
        return f"dumps cannot be sent to {url}: {package} is not installed (pip install {package})"
    command = [sys.executable, "-m", "triage.batch.upload", str(spool), url, str(os.getpid())]
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        log = os.open(spool / LOG, flags, 0o600)
        try:
            _senders.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C for the server is not for what it left
                )
            )
        finally:
            os.close(log)
    except OSError as error:
        return f"dumps cannot be sent to {url}: {reason(error)}"
    return ""


def unsent(spool: Directory, names: Iterable[str]) -> set[str]:
    """Those of `names` that no sender has noted as sent."""
    return set(names) - set(sent(spool.path))


def sent(spool: Path) -> Iterator[str]:
    """The names that were noted; a last line that was cut counts as not noted."""
    if not (spool / SENT).exists():
        return
    try:
        for line in read_lines(spool / SENT, MAX_SENT_BYTES):
            try:
                yield str(json.loads(line)["name"])
            except (ValueError, KeyError, TypeError):
                continue
    except DumpError:
        return  # sent twice is harmless: the object is the same


def tell_lost(name: str, max_bytes: int) -> None:
    """A dump that was removed before it was sent, for want of room."""
    logger.error(
        "sglang-triage: %s was removed before it could be uploaded: the spool holds %d bytes; "
        "%s in it says why nothing was sent",
        *(name, max_bytes, LOG),
    )
