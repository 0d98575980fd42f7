"""Install the traps and fixes that a Config asks for: all of them, or none with the reason.

This is the only module that changes SGLang. `install` is called once per
process, by the plugin; `state()` says what is bound and active.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from triage.config import DIRECTORY, WITNESS, Config
from triage.errors import InstallError, UnsupportedSGLang, log_own_error, type_and_place
from triage.sglang.binding.bypassed import hooked_methods
from triage.sglang.binding.hooks import Binding, Hook, inside, register
from triage.sglang.binding.names import swa_allocator_path
from triage.sglang.binding.patches import Patch, Patches
from triage.sglang.binding.shell import Shells

logger = logging.getLogger("triage")
UNLINKED = "several hooks on one target"
"""Where they cannot be linked, none of ours goes on: the others would see half of the events."""


@dataclass(slots=True)
class Installed:
    """What this process runs with. `applied` is False until SGLang has applied its hooks."""

    config: Config
    traps: Any = None
    state_hooks: Any = None
    scheduling: Any = None
    attention: Any = None
    packed_slots: Any = None
    fixes: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, Any] = field(default_factory=dict)
    fused: Any = None
    patches: Patches = field(default_factory=lambda: Patches(()))
    bindings: list[Binding] = field(default_factory=list)
    applied: bool = False
    own_shells: Shells = field(default_factory=Shells)

    @property
    def shells(self) -> Shells:
        """Of every hook of this process: the traps' where there are traps."""
        found: Shells = self.own_shells if self.traps is None else self.traps.reporter.shells
        return found

    @property
    def not_covered(self) -> dict[str, str]:
        """What is asked for and cannot be watched here: target, check or form -> why."""
        if self.traps is None:
            return dict(self.shells.failures)
        refused = {
            reason: f"{n} launches" for reason, n in self.traps.launches.watching.refused.items()
        }
        if self.config.kv != "none" and self.config.mode != "raise":
            refused["KV pages in dumps"] = f"mode {self.config.mode} reads nothing back"
        flash = self.traps.flash
        refused |= {why: f"{n} launches" for why, n in flash.not_covered.items()}
        unidentified = self.traps.launches.watching.unidentified
        refused |= {f"identity: {why}": f"{n} launches" for why, n in unidentified.items()}
        absent = self.attention.absent | self.state_hooks.absent | self.scheduling.absent
        absent |= flash.absent | self.packed_slots.not_covered
        witness = self.traps.witness
        if witness is not None:
            refused |= {f"output witness, {why}": str(n) for why, n in witness.left_out.items()}
        elif "I28" in self.traps.reporter.enabled:
            refused["I28"] = f"{WITNESS} says how often; it is not set"
        absent |= self.traps.replays.absent | self.traps.reporter.not_seen
        return {**absent, **refused, **self.shells.failures}

    @property
    def active(self) -> bool:
        return self.applied and all(binding.bound for binding in self.bindings)

    def remove(self) -> None:
        """Put back what we patched; SGLang's hooks stay bound and cost one attribute test each."""
        for target in self.patches.restore():
            logger.info("sglang-triage: %s was wrapped since and stays, disarmed", target)
        if self.state_hooks is not None:
            self.state_hooks.plain_writes.remove()
        self.disarm()

    def disarm(self) -> None:
        """Every hook goes straight on to SGLang."""
        if self.traps is not None:
            self.traps.armed = False
        for fix in self.fixes.values():
            fix.armed = False
        if self.fused is not None:
            self.fused.armed = False


_installed: Installed | None = None


def state() -> Installed | None:
    """The installation of this process, None if nothing was asked for."""
    return _installed


def install(config: Config) -> Installed:
    """Register every hook `config` asks for with SGLang's HookRegistry.

    Raises InstallError, having changed nothing, if a target is missing, a name is
    unknown, or something is installed already.
    """
    global _installed
    if _installed is not None:
        raise InstallError("sglang-triage is installed in this process already")
    try:
        import sglang
    except ImportError as error:
        raise UnsupportedSGLang(f"SGLang cannot be imported: {error}") from error
    made = Installed(config)
    hooks: list[Hook] = []
    patches: list[Patch] = []
    if config.debug:
        hooks, patches = _trap_hooks(made)
    wanted = (*config.fixes, *(("mm-piecewise-graphs",) if config.mm_graphs else ()))
    if wanted:
        from triage.sglang.fixes import plan
        from triage.sglang.launch.state_at_start import MOVED_BY

        planned = plan(wanted)
        made.fixes, made.skipped = planned.fixes, planned.skipped
        for name, fix in made.fixes.items():
            hooks += inside(made.shells.of(f"fix {name}"), fix.hooks())
        if made.state_hooks is not None:
            moving = [fix for name, fix in made.fixes.items() if name in MOVED_BY]
            made.state_hooks.state.moved = lambda: any(fix.armed for fix in moving)

    if config.fused:
        from triage.sglang.fixes.fused import FusedLayers

        made.fused = FusedLayers(config.fused, made.shells, watched=config.debug)
        hooks += made.fused.hooks()  # compiled with the model: each has its shell inside

    def verified(found: list[Binding]) -> None:
        made.bindings, made.applied = found, True
        if made.scheduling is not None:
            made.scheduling.hooked = hooked_methods(each.target for each in found if each.bound)
        _report(made, sglang.__version__)

    def failed(error: Exception) -> None:
        made.applied = False
        made.remove()
        log_own_error("sglang-triage is NOT active: %s", type_and_place(error), error=error)
        if config.strict:
            raise SystemExit(f"sglang-triage: {type_and_place(error)}") from error

    made.patches = Patches(patches)
    register(hooks, made.patches, verified, failed, made.shells.of(UNLINKED, made.disarm))
    _installed = made
    return made


def _trap_hooks(made: Installed) -> tuple[list[Hook], list[Patch]]:
    from triage.dump import spool
    from triage.dump.store import DumpStore
    from triage.sglang.reporter import SNAPSHOTS
    from triage.sglang.traps import Traps

    config = made.config
    store = DumpStore(
        config.directory,
        config.max_dumps,
        config.max_bytes,
        config.identity,
        spooled=bool(config.upload),
    )
    problem = store.problem()
    if config.upload and not problem:
        problem = spool.start(config.directory, config.upload)
    if problem:
        if config.strict:
            raise InstallError(f"{problem}; {DIRECTORY} names another one")
        logger.error("sglang-triage: %s; a fault will be reported without a dump", problem)
    traps = made.traps = Traps(
        store, config.checks, config.mode, config.strict, config.kv, config.witness
    )

    from triage.sglang.launch.attention import AttentionHooks
    from triage.sglang.launch.whole_tables import WholeTables
    from triage.sglang.packed_slots.hooks import PackedSlotHooks
    from triage.sglang.scheduler.scheduling import Scheduling
    from triage.sglang.state_hooks import StateHooks

    scheduling = made.scheduling = Scheduling(traps.steps, traps.history, traps.launches.hot)
    state_hooks = made.state_hooks = StateHooks(traps, config.every, config.page_history)
    allocator = swa_allocator_path()
    attention = made.attention = AttentionHooks(traps.launches, traps.witness, traps.order)
    slots_read = made.packed_slots = PackedSlotHooks(traps.packed_slots)
    reporter, slots = traps.reporter, traps.slots
    before, behind = state_hooks.history_hooks()
    hooks = [
        *before,
        *inside(reporter.launch_shell, attention.hooks()),
        *inside(reporter.launch_shell, slots_read.hooks()),
        *inside(reporter.launch_shell, traps.flash.hooks()),
        *inside(
            reporter.group("slots handed out (I20)"),
            [
                Hook(f"{allocator}.alloc_extend", slots.around("alloc_extend"), "allocator trap"),
                Hook(f"{allocator}.alloc_decode", slots.around("alloc_decode"), "allocator trap"),
            ],
        ),
        *(
            shelled
            for hook in state_hooks.hooks()
            for shelled in inside(reporter.group(hook.group), [hook])
        ),
        *behind,
        *inside(reporter.launch_shell, scheduling.hooks()),
        *inside(reporter.shells.of(SNAPSHOTS), scheduling.loop_hooks()),
    ]
    return hooks, [
        *attention.patches(),
        *WholeTables(traps.launches).patches(),
        *slots_read.patches(),
        *traps.flash.patches(),
        *state_hooks.patches(),
        *scheduling.patches(),
        *traps.replays.patches(),
    ]


def _report(made: Installed, version: str) -> None:
    missing = [binding for binding in made.bindings if not binding.bound]
    if missing:
        text = "not bound: " + "; ".join(f"{b.target} ({b.why})" for b in missing)
        logger.error("sglang-triage is NOT active on SGLang %s: %s", version, text)
        if made.config.strict:
            raise SystemExit(f"sglang-triage: {text}")
        made.disarm()
        return
    if made.traps is not None:
        logger.info(
            "sglang-triage traps armed on SGLang %s: %d hooks bound, mode %s%s, dumps in %s%s",
            version,
            len(made.bindings),
            made.config.mode,
            " (contain inside CUDA graphs)" if made.config.mode == "raise" else "",
            made.config.directory,
            f", uploaded to {made.config.upload}" if made.config.upload else "",
        )
        for what, why in made.not_covered.items():
            logger.warning("sglang-triage does not cover %s: %s", what, why)
    for name in made.fixes:
        logger.info("sglang-triage fix %s applied on SGLang %s", name, version)
    if made.fused is not None:
        logger.info("sglang-triage fused ops: %s", ", ".join(sorted(made.fused.ops)) or "none")
    for name, probe in made.skipped.items():
        logger.info("sglang-triage fix %s not applied on SGLang %s: %s", name, version, probe)
