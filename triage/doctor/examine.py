"""Everything the doctor knows, in one record: environment, stages, coverage and exit code."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triage import config
from triage.doctor.ask import Stages, ask
from triage.doctor.child import FOUND
from triage.doctor.in_time import ask_within
from triage.errors import ConfigError
from triage.sglang.launch.coverage import Served, not_checked, served

EVERY_TRAP_BINDS, ONE_DOES_NOT, BAD_ENVIRONMENT, NOTHING_TO_ASK = range(4)

_ON_TOP = ("hooks", "not_applicable", "left_out")
"""Facts of a stage that the report has beside the stages."""

WITHOUT_A_GPU = "sm_100"
"""The GPU that is answered for where there is none: the one this is about."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What `triage doctor` prints.

    refused: the sentence with which the plugin would end a server, "" if it would not.
    warnings: what it would say and go on.
    """

    refused: str
    warnings: list[str]
    asked: config.Config
    stages: Stages
    served: Served
    flags: tuple[str, ...]
    source: Path | None = None

    @property
    def exit_code(self) -> int:
        """`BAD_ENVIRONMENT` before all else: with it, or such flags, no server starts."""
        if self.refused or self.refused_flags:
            return BAD_ENVIRONMENT
        if self.sglang_absent:
            return NOTHING_TO_ASK
        return EVERY_TRAP_BINDS if self.traps_active else ONE_DOES_NOT

    @property
    def refused_flags(self) -> str:
        """What SGLang's own parser says against the flags, "" if nothing or it was not asked."""
        return str(self.stages["sglang"].get("refused_flags", ""))

    @property
    def sglang_absent(self) -> bool:
        if self.source:
            return False
        installed = self.stages["packages"].get("installed", {})
        return bool(installed) and not installed["sglang"]["present"]

    @property
    def traps_active(self) -> bool:
        """With a GPU the scheduler's hooks too, without which no exception comes in time."""
        served_here = self.stages["gpu"]["state"] == FOUND and not self.source
        blind = served_here and "no_scheduler" in self.stages["sglang"]
        return bool(self.stages["bind"].get("active")) and not blind

    @property
    def left_out_classes(self) -> list[dict[str, str]]:
        """Pools, allocators, stores and drafts of this release that are not covered, with `why`."""
        return list(self.stages.get("unhooked", {}).get("left_out", ()))

    @property
    def enabled(self) -> frozenset[str]:
        return config.invariants_of(self.asked.checks)

    def left_out(self, mode: str) -> tuple[list[str], list[str]]:
        """(everywhere, in CUDA graphs): what `mode` does not check of what is asked for."""
        reads = frozenset(self.stages["bind"].get("reads_device", ()))
        return not_checked(mode, self.enabled, reads)

    def json(self) -> dict[str, Any]:
        modes = {}
        for mode in config.MODES:
            everywhere, in_graphs = self.left_out(mode)
            modes[mode] = {"left_out": everywhere, "left_out_in_graphs": in_graphs}
        bind = self.stages["bind"]
        return {
            "exit_code": self.exit_code,
            "environment": {"refused": self.refused, "warnings": self.warnings},
            "traps_active": self.traps_active,
            "hooks": bind.get("hooks", []),
            "not_applicable": bind.get("not_applicable", {}),
            "not_covered": self.left_out_classes,
            "stages": {
                name: {key: facts[key] for key in facts if key not in _ON_TOP}
                for name, facts in self.stages.items()
            },
            "arch": self.served.arch,
            "flags": list(self.flags),
            "flags_assumed": self.served.assumed,
            "cuda_graphs": self.served.graphs,
            "pools_not_seen": list(self.served.pools),
            "flags_refused": self.refused_flags or self.served.refused,
            "launches": [{**asdict(each), "seen": each.seen} for each in self.served.launches],
            "modes": modes,
        }


def _here() -> Path | None:
    """The folder with the SGLang that would be imported, None if there is none."""
    try:
        found = importlib.util.find_spec("sglang")
    except (ImportError, ValueError):
        return None
    return Path(found.origin).parents[1] if found is not None and found.origin else None


def examine(
    environment: Mapping[str, str],
    *,
    release: str | None = None,
    source: Path | None = None,
    arch: str | None = None,
    flags: Sequence[str] = (),
    timeout_s: float = 120,
    wait: bool = True,
) -> Examined:
    """Ask the environment, the machine and its SGLang; raises LabError for an unknown release.

    source: a wheel or folder of an SGLang that is not installed; it is read, not imported.
    wait: however long importing SGLang takes; else an answer by its source is good enough,
        unless what is asked for (a release, flags, fixes, fused ops) needs the import.
    """
    refused, asked = "", config.Config()
    try:
        asked = config.from_environment(environment)
    except ConfigError as error:
        refused = str(error)
    here = None if wait or release or source or flags or asked.fixes or asked.fused else _here()
    if here is not None:
        stages = ask_within(environment, here, timeout_s=timeout_s)
    else:
        stages = ask(environment, release, timeout_s, source, flags)
    if not refused:
        refused = stages["requested"].get("refused", "")
    return Examined(
        refused=refused,
        warnings=[
            each
            for each in config.warnings(environment)
            if each.partition("=")[0] != re.split("[=:]", refused)[0]  # said already
        ],
        asked=asked,
        stages=stages,
        served=served(flags, arch or stages["gpu"].get("arch", WITHOUT_A_GPU)),
        flags=tuple(flags),
        source=source,
    )
