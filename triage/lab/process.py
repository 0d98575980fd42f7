"""What a process of the lab has once: SGLang imported, the stand-in FlashInfer, hooks bound.

The plugin is installed the way a server installs it: environment variables,
then SGLang's own `load_plugins()`. SGLang's hooks stay bound for the life of a
process, so later runs in the same process arm and disarm what the first bound.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from triage import config
from triage.errors import LabError
from triage.lab import bootstrap

_process: LabProcess | None = None


class LabProcess:
    """Get it with `start`. `gpu` receives every FlashInfer call; replace it before each run."""

    def __init__(self, version: str) -> None:
        from triage.lab.builders import stand_in_sgl_kernel
        from triage.lab.flashinfer_stub import StandInFlashInfer

        stand_in_sgl_kernel()  # before the hooks look for FlashAttention's backend
        self.version = version
        self.gpu: Any = None
        self.directory = config.DEFAULT_DIRECTORY
        self.installed: Any = None
        self._held: AbstractContextManager[None] | None = None
        self._checks: tuple[str, ...] = ()
        StandInFlashInfer(lambda call: self.gpu.launch(call)).install()

    def bind(
        self, traps: bool, fixes: Sequence[str], directory: Path, checks: str, mode: str
    ) -> None:
        self.installed = _load_plugins(traps, fixes, directory, checks, mode)
        self._checks = self.installed.config.checks if self.traps is not None else ()

    def reinject(self, defect: str) -> None:
        """Bring a historical defect back for the rest of this process."""
        from triage.lab import reinject

        self._held = reinject.reinject(defect)  # the context undoes itself when it is collected
        self._held.__enter__()

    @property
    def traps(self) -> Any:
        return getattr(self.installed, "traps", None)

    @property
    def fixes(self) -> dict[str, Any]:
        return getattr(self.installed, "fixes", {})

    def arm(
        self, *, traps: bool, fixes: Sequence[str], directory: Path, checks: Sequence[str] = ()
    ) -> None:
        """Have exactly these active. Raises LabError for what this process did not bind.

        A fix that SGLang does not need is bound nowhere, and arming it changes nothing;
        `auto` stands for all that are bound.

        checks: families or invariants; empty for those the process was started with.
        """
        unneeded = getattr(self.installed, "skipped", {})
        fixes = list(self.fixes) if "auto" in fixes else fixes
        absent = [name for name in fixes if name not in self.fixes and name not in unneeded]
        if absent or (traps and self.traps is None):
            what = ", ".join(absent) or "the traps"
            raise LabError(f"{what} were not bound by the first run of this process")
        self.directory = directory
        if self.traps is not None:
            self.traps.restart(directory)
            self.traps.armed = traps
            self.traps.reporter.ask(tuple(checks) or self._checks)
            self.installed.state_hooks.restart()
        for name, fix in self.fixes.items():
            fix.armed = name in fixes


def start(
    *,
    traps: bool,
    fixes: Sequence[str],
    directory: Path,
    checks: str = "",
    mode: str = "raise",
    reinject: str | None = None,
) -> LabProcess:
    """The process of the lab, made on the first call, with `checks` and `mode` for its life.

    `reinject` names a defect to bring back before anything is bound.
    """
    global _process
    version = bootstrap.prepare()
    if _process is None:
        _process = LabProcess(version)
        if reinject is not None:
            _process.reinject(reinject)
        _process.bind(traps, fixes, directory, checks, mode)
    if _process.installed is not None or traps or fixes:
        _process.arm(traps=traps, fixes=fixes, directory=directory)
    return _process


def _load_plugins(
    traps: bool, fixes: Sequence[str], directory: Path, checks: str, mode: str
) -> Any:
    """Set the environment a server would have and call SGLang's loader."""
    wanted = {
        config.DEBUG: "1" if traps else "0",
        config.DIRECTORY: str(directory),
        config.FIXES: ",".join(fixes),
        config.CHECKS: checks,
        config.MODE: mode,
        "SGLANG_PLUGINS": "sglang_triage",
    }
    os.environ.update(wanted)
    logging.getLogger("sglang.srt.plugins").setLevel(logging.WARNING)
    from sglang.srt.plugins import load_plugins

    from triage.sglang.binding.one_search import one_search_for_all
    from triage.sglang.install import state

    # What the lab replaces anyway (the scheduler) is no news; findings are errors.
    logging.getLogger("triage").setLevel(logging.ERROR)
    with one_search_for_all():
        load_plugins()
    installed = state()
    if (traps or fixes) and (installed is None or not installed.active):
        raise LabError(
            "SGLang did not load the plugin `sglang_triage`: install the project into this "
            "environment (pip install -e .), its entry point is how SGLang finds it"
        )
    return installed
