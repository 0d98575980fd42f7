"""The traps of one process, put together.

The checks are `triage/invariants/`. Who reports is `reporter.py`, what stands before a
launch `launch/guard.py`, at the allocator `allocator/slot_checks.py`, at a step's end
`scheduler/steps.py`; the families beyond these are hooked by `state_hooks.py`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from triage.dump.store import DumpStore
from triage.invariants.catalogue import DEFAULT
from triage.sglang.allocator.slot_checks import SlotChecks
from triage.sglang.launch.flash_attention import FlashTables
from triage.sglang.launch.graph_replays import GraphReplays
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.order import Order
from triage.sglang.packed_slots.watching import PackedSlotWatching
from triage.sglang.reporter import Reporter
from triage.sglang.scheduler.history import History
from triage.sglang.scheduler.steps import Steps
from triage.sglang.witness.witness import Witness

REPLAYS = "replays of graphs"


class Traps:
    """The parts, and what is asked of them together.

    Args:
        checks: families or invariants. mode: `raise`, `contain` or `log`.
        strict: refuse to start where no launch could be checked.
        kv: "touched" to store the pages that a launch reads.
        witness: steps from one whose outputs are computed again to the next; 0 for none.
    """

    def __init__(
        self,
        store: DumpStore,
        checks: tuple[str, ...] = (DEFAULT,),
        mode: str = "raise",
        strict: bool = True,
        kv: str = "none",
        witness: int = 0,
    ) -> None:
        self.reporter = Reporter(store, checks, mode)
        self.launches = LaunchGuard(self.reporter, strict=strict, with_kv=kv == "touched")
        self.packed_slots = PackedSlotWatching(self.launches)
        self.flash = FlashTables(self.launches)
        self.slots = SlotChecks(self.reporter, self.launches.entries)
        self.history = History(self.reporter, self.launches.watching)
        self.steps = Steps(self.reporter, self.launches.watching, self.history)
        self.steps.recorded_slots = self.packed_slots.recorded
        self.steps.with_rows = lambda recorded, entry: self.flash.rows.beside(recorded, entry)
        self.reporter.step_now = lambda: self.steps.current
        hot, entries = self.launches.hot, self.launches.entries
        self.replays = GraphReplays(hot, self.reporter.shells.of(REPLAYS))
        self.order: Order | None = None
        if "I18" in self.reporter.enabled:
            self.order = self.steps.order = Order(lambda: self.steps.current)
            self.replays.listeners.append(self.order)
        self.witness: Witness | None = None
        if witness:
            self.witness = self.steps.witness = Witness(self.reporter, entries, witness)
            self.replays.listeners.append(self.witness)
        self.launches.watching.on_recorded = self.replays.note_backend

    def restart(self, directory: Path) -> None:
        """Forget every backend, table and count, as in a new process; dumps go to `directory`."""
        self.reporter.restart(directory)
        self.launches.restart()
        self.packed_slots.restart()
        self.flash.restart()
        self.history.restart()
        self.steps.restart()
        self.replays.restart()
        if self.order is not None:
            self.order.restart()
        if self.witness is not None:
            self.witness.restart()

    @property
    def counts(self) -> Counter[str]:
        return self.reporter.counts

    @property
    def armed(self) -> bool:
        """False: every hook and wrapper goes straight on."""
        return self.reporter.armed

    @armed.setter
    def armed(self, armed: bool) -> None:
        self.reporter.armed = armed
        self.launches.hot.armed = armed and self.reporter.launch_shell.on
