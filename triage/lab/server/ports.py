"""Is a TCP port of this machine free, and if not, whose is it?"""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

_LISTENING = "0A"

HIGHEST_PORT = 55_000
"""SGLang 0.5.14 and later ask that ten thousand above a server's own is a port, too."""


def in_use(port: int) -> bool:
    """Can nothing be bound to `port` on the loopback interface? A port in TIME_WAIT is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def owner(port: int) -> str:
    """The process that listens on `port`, as a phrase; Linux only, and only one's own."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if any(str(handle.readlink()) in inodes for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return "a process that this user may not see"


def free_port() -> int:
    """A port that nothing listens on now, up to HIGHEST_PORT."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        if port <= HIGHEST_PORT:
            return port
