"""Opt-in corrections of SGLang state, one per file. Each probes whether it is needed.

`SGLANG_TRIAGE_FIXES=name,...` asks for fixes by name, `auto` for every correctness fix
that probes as NEEDED. A fix that is not NEEDED binds nothing: one that SGLang has already
is reported as such, one that does not apply is an error if it was asked for by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from triage.errors import InstallError, did_you_mean
from triage.sglang.fixes.draft_own_pool import DraftOwnPool
from triage.sglang.fixes.fix import Fix, Need, Probe
from triage.sglang.fixes.free_swa_pages import FreeSwaPages
from triage.sglang.fixes.keep_locked_prefix import KeepLockedPrefix
from triage.sglang.fixes.mm_graphs import MultimodalGraphs
from triage.sglang.fixes.optional_kv import OptionalKV
from triage.sglang.fixes.packed_query import PackedQuery
from triage.sglang.fixes.slotless_draft import SlotlessDraft
from triage.sglang.fixes.state_swap import StateSwap
from triage.sglang.fixes.swa_ratio import SwaRatio

FIXES: dict[str, type[Fix]] = {
    fix.name: fix
    for fix in (
        StateSwap,
        DraftOwnPool,
        FreeSwaPages,
        KeepLockedPrefix,
        OptionalKV,
        PackedQuery,
        SlotlessDraft,
        SwaRatio,
        MultimodalGraphs,
    )
}

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class FixPlan:
    """The fixes to bind, and those that were asked for and are not needed, with the reason."""

    fixes: dict[str, Fix] = field(default_factory=dict)
    skipped: dict[str, Probe] = field(default_factory=dict)


def check_names(names: tuple[str, ...], known: dict[str, type[Any]] | None = None) -> list[str]:
    """The names without `auto`, each once. Raises InstallError for the first that is not known."""
    known = FIXES if known is None else known
    named = [name for name in dict.fromkeys(names) if name != AUTO]
    for name in named:
        if name not in known:
            raise InstallError(
                f"no fix {name!r}{did_you_mean(name, known)}; "
                "SGLANG_TRIAGE_FIXES, and --fix of the lab, accept: "
                f"{', '.join(known)}, {AUTO}"
            )
    return named


def plan(names: tuple[str, ...], known: dict[str, type[Any]] | None = None) -> FixPlan:
    """Decide over `names`. Raises InstallError, having changed nothing.

    Raises for a name that is not known (with the list), two fixes that conflict (with both
    names), and a fix asked for by name that does not apply to the installed SGLang.
    """
    known = FIXES if known is None else known
    named = check_names(names, known)
    wanted = list(named)
    if AUTO in names:
        wanted += [name for name in known if known[name].automatic and name not in named]
    probes = {name: known[name].ask() for name in wanted}
    chosen = [name for name in wanted if probes[name].need is Need.NEEDED]
    for name in named:
        if probes[name].need is Need.NOT_APPLICABLE:
            raise InstallError(f"fix {name} does not apply here: {probes[name].reason}")
    for name in chosen:
        for other in chosen:
            if other in known[name].conflicts:
                raise InstallError(f"fixes {name} and {other} conflict; ask for one of them")
    return FixPlan(
        {name: known[name]() for name in chosen},
        {name: probes[name] for name in wanted if name not in chosen},
    )
