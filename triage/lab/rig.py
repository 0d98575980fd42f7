"""One run's objects together: runtime, emulated GPU, oracle of the books, driver."""

from __future__ import annotations

import torch

from triage.lab.audit import Audit
from triage.lab.computing_gpu import ComputingGpu
from triage.lab.drivers.overlap import OverlapScheduler
from triage.lab.drivers.pools import Driver
from triage.lab.drivers.schedule_batch import Scheduler
from triage.lab.emulated_gpu import EmulatedGpu
from triage.lab.plain_pools import PlainRuntime
from triage.lab.process import LabProcess
from triage.lab.reads import BuilderGpu
from triage.lab.runtime import Runtime
from triage.lab.scenarios import Scenario
from triage.lab.steps import NoSteps, ShelledSteps


class Bench:
    """Fresh pools and backends for one run in `process`. `close()` it before the next.

    audit: check the allocator's books after every call as well (slow; small pools only).
    computes: keys and values are drawn, and launches answer attention (`computing_gpu.py`).
    """

    def __init__(
        self,
        process: LabProcess,
        scenario: Scenario,
        *,
        seed: int = 0,
        overlap: bool = True,
        audit: bool = False,
        computes: bool = False,
    ) -> None:
        self.process = process
        self.computes = computes
        self.scenario = scenario
        self.runtime = self._runtime()
        try:
            self._equip(seed, overlap=overlap, audit=audit)
        except BaseException:  # a trap may fire here, and nobody has a bench to close
            self.close()
            raise

    def _runtime(self) -> Runtime:
        scenario = self.scenario
        dtype = torch.float8_e4m3fn if scenario.fp8 else torch.float16
        if scenario.cache == "radix":
            return PlainRuntime(scenario.geometry, "mha", scenario.backend, scenario.chunk, dtype)
        return Runtime(
            scenario.geometry,
            draft_tokens=scenario.draft_tokens,
            draft_steps=scenario.draft_steps,
            draft=scenario.draft,
            backend=scenario.backend,
            chunk=scenario.chunk,
            dtype=dtype,
        )

    def _equip(self, seed: int, *, overlap: bool, audit: bool) -> None:
        process, scenario = self.process, self.scenario
        self.gpu: EmulatedGpu = self._gpu()
        process.gpu = self.gpu
        self.audit = Audit(self.runtime.token_to_kv_pool_allocator)
        if audit and not scenario.cache:  # a tree frees at the sub-allocators, below the oracle
            self.audit.attach()
        traps = process.traps if process.traps is not None and process.traps.armed else None
        books = getattr(process.installed, "state_hooks", None)
        guard = ShelledSteps(traps.steps, books.step_books) if traps and books else NoSteps()
        self.gpu.on_wrong = lambda moment: self.note(str(moment))
        self.audit.on_wrong = self.note
        self.wrong: tuple[int, str] | None = None
        self.driver: Driver | Scheduler
        inside = traps is None or not traps.reporter.reads_device
        if scenario.cache and scenario.queued:
            self.driver = OverlapScheduler(
                scenario, self.runtime, self.gpu, seed, guard, lands_inside=inside
            )
        elif scenario.cache:
            self.driver = Scheduler(scenario, self.runtime, self.gpu, seed, guard)
        else:
            self.driver = Driver(
                scenario, self.runtime, self.gpu, seed, overlap, guard, lands_inside=inside
            )

        if self.computes:
            self.driver.forwards.draw(seed)
        if traps is not None:
            traps.reporter.holders.note(self.driver)

    def _gpu(self) -> EmulatedGpu:
        """What receives the launches: FlashInfer's calls, or the reads of the other backends."""
        if self.scenario.backend == "trtllm_mha":
            return ComputingGpu(self.runtime) if self.computes else EmulatedGpu(self.runtime)
        gpu = BuilderGpu(self.runtime)
        self.runtime.reads = gpu.read
        return gpu

    @property
    def moment(self) -> int:
        """Launches and allocator calls so far: the clock by which a delay is measured."""
        return self.gpu.launches + self.audit.calls

    def check_books(self, where: str) -> None:
        """Ask the oracle now, outside an allocator call, and let the traps see a boundary."""
        for sentence in self.audit.faults(where):
            self.note(sentence)
        self.audit_ledger()

    def audit_ledger(self) -> None:
        """A step boundary for the traps: the backends without metadata hooks have no other."""
        lifecycle = getattr(self.process.installed, "state_hooks", None)
        traps = self.process.traps
        kept = traps is not None and traps.reporter.reads_device and traps.reporter.whole("I5")
        if lifecycle is not None and traps.armed and kept:
            allocator = self.runtime.token_to_kv_pool_allocator
            if hasattr(allocator, "full_attn_allocator"):
                lifecycle.books.boundary(allocator)
            else:  # of one kind: one free list, and no mapping
                lifecycle.books.audit(allocator)
            lifecycle.step_books.hooked_step()

    def close(self) -> None:
        self.process.gpu = None
        self.runtime.close()

    def note(self, sentence: str) -> None:
        if self.wrong is None:
            self.wrong = (self.moment, sentence)
