"""Opt-in corrections of SGLang state, one per file. Each probes whether it is needed."""

from __future__ import annotations

from typing import Any

from triage.errors import InstallError
from triage.sglang.fixes.state_swap import StateSwap

FIXES: dict[str, type[Any]] = {"state-swap": StateSwap}


def build(names: tuple[str, ...]) -> dict[str, Any]:
    """The fixes called `names`; `auto` stands for all. Raises InstallError with the known ones."""
    wanted = list(FIXES) if "auto" in names else list(names)
    for name in wanted:
        if name not in FIXES:
            raise InstallError(f"no fix {name!r}; known: {', '.join(FIXES)}, auto")
    return {name: FIXES[name]() for name in wanted}
