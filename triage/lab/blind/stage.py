"""What a driver's own script is given: the lab's objects, SGLang's settings, steps, a clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from triage.errors import LabError
from triage.lab.blind.driver import Driver
from triage.lab.blind.workload import workload
from triage.lab.process import LabProcess
from triage.lab.rig import Bench
from triage.lab.settings import Published


class Stage:
    """One run of one driver. `close()` it.

    Attributes:
        version: SGLang's.
        seed: of the workload.
        harms: how often the driver has called `harmed`.
        first: (moment, words) of the first such call.
    """

    def __init__(self, process: LabProcess, driver: Driver) -> None:
        self.process, self.driver = process, driver
        self.version = process.version
        self.seed = int(driver.workload.get("seed", 0))
        self.harms = 0
        self.first: tuple[int, str] | None = None
        self._bench: Bench | None = None
        self._events = 0

    # -- for scripts -------------------------------------------------------------------

    def bench(self, **fields: Any) -> Bench:
        """WORKLOAD's pools, backends and driver, with `fields` changed, not run yet."""
        if self._bench is not None:
            raise LabError("a script has one bench at a time: SGLang's settings are global")
        asked = workload({**self.driver.workload, **fields})
        self._bench = Bench(
            self.process, asked.scenario, seed=asked.seed, overlap=asked.overlap, audit=True
        )
        return self._bench

    @contextmanager
    def server_args(self, **fields: Any) -> Iterator[Any]:
        """SGLang's default ServerArgs, with `fields`, published where the release reads them."""
        published = Published(**{"device": "cpu", **fields})
        try:
            yield published.server_args
        finally:
            published.withdraw()

    def event(self, text: str = "") -> None:
        """The next event begins; `text` is for who reads the script."""
        self._events += 1

    def step(self, scheduler: Any = None) -> None:
        """Between two steps, where a server's scheduler is about to queue the next one.

        scheduler: what the script has of SGLang's Scheduler, by its attribute names.
        """
        traps = self.process.traps
        if traps is None or not traps.armed:
            return
        hooks = self.process.installed.state_hooks
        if scheduler is not None:
            traps.reporter.holders.note(scheduler)
            hooks.sizes.hooked_start(scheduler)
        if self._bench is not None:
            self._bench.audit_ledger()
            return
        hooks.step_books.hooked_step()
        allocator = getattr(scheduler, "token_to_kv_pool_allocator", None)
        if hasattr(allocator, "full_attn_allocator") and traps.reporter.whole("I5"):
            hooks.books.boundary(allocator)

    # -- for who plays it --------------------------------------------------------------

    def run(self) -> None:
        if self.driver.drive is not None:
            self.driver.drive(self)
        else:
            self.bench().driver.run(lambda done, total: None)

    def harmed(self, text: str = "") -> None:
        self.harms += 1
        if self.first is None:
            self.first = (self.moment, str(text) or "harmed")

    @property
    def moment(self) -> int:
        """The script's events; else launches and allocator calls that are over, of which a prefix
        cache's are not counted; else calls of `harmed`. So an alarm in the call that is wrong, or
        before the launch that would be, is no later than the harm."""
        if self._events:
            return self._events
        if self._bench is None:
            return self.harms
        return self._bench.gpu.launches + self._bench.audit.events

    def close(self) -> None:
        if self._bench is not None:
            self._bench.close()
