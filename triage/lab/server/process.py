from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Server:
    """One server of the installed SGLang, in a session of its own. A context manager.

    env: variables added to this process's environment.
    flags: arguments of `sglang.launch_server` beside --model-path and --port.
    plugin_paths: folders put first on the server's PYTHONPATH.
    """

    def __init__(
        self,
        model_path: Path,
        port: int,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        plugin_paths: Sequence[Path] = (),
    ) -> None:
        self.model_path, self.port, self.log_path = model_path, port, log_path

    def start(self, timeout_s: float = 600) -> float:
        """Start, wait for /health; returns the seconds it took.

        Raises PortInUse, ServerDied (reason from its own log) or ServerNotHealthy.
        """
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        raise NotImplementedError

    def stop(self) -> None:
        """End the server and every process it started; nothing else. May be called twice."""
        raise NotImplementedError

    def log_tail(self, lines: int = 20) -> str:
        raise NotImplementedError

    def death_reason(self) -> str:
        """Why the server ended, one sentence from its own log."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
