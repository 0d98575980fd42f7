"""The lab in a test: SGLang's real classes on the CPU, the attention kernel emulated.

One SGLang per process, whose hooks stay bound: the first test of a session binds every family
in mode `raise`, and each run arms and disarms them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that came to its end: nothing fired.

    launches: of attention. wrong_launches: those that read what they must not by the lab's own
    oracle; 0, or the traps missed something. counts: what the traps checked.
    """

    sglang: str
    launches: int
    wrong_launches: int
    steps: int
    counts: dict[str, int]


class Lab:
    """What the fixture `triage_lab` gives. `directory`: where the dumps of this test go."""

    def __init__(self, directory: Path) -> None:
        from triage.invariants.catalogue import FAMILIES
        from triage.lab.bootstrap import prepare
        from triage.lab.process import start
        from triage.lab.reinject import stale_swa_state

        self.directory = directory
        prepare()
        with stale_swa_state():  # a fix binds only where it is needed
            self.process: Any = start(
                traps=True, fixes=("auto",), directory=directory, checks=",".join(FAMILIES)
            )
        self.disarm()

    @property
    def sglang(self) -> str:
        """The version of the SGLang that runs."""
        return str(self.process.version)

    def disarm(self) -> None:
        self.process.arm(traps=False, fixes=(), directory=self.directory)

    def play(
        self, scenario: Any = None, *, steps: int | None = None, seed: int = 0, fixes: Any = ()
    ) -> Ran:
        """Serve the requests of `scenario` from fresh pools, traps armed.

        Args:
            scenario: the name of one (`triage lab list`) or a `Scenario`; four short requests
                of a small hybrid model if left out.
            steps: forwards to stop behind. fixes: of ours that are active.
        Raises:
            TrapError: an invariant does not hold; the launch did not run, `dump` is its file.
            EmulatedFault: a launch would have faulted on a GPU, and no trap saw it coming.
            LabError: there is no such scenario.
        """
        from triage.lab.bugs.bug import SMALL
        from triage.lab.rig import Bench
        from triage.lab.scenarios import find

        asked = SMALL if scenario is None else scenario
        asked = find(asked) if isinstance(asked, str) else asked
        self.process.arm(traps=True, fixes=fixes, directory=self.directory)
        bench = None
        try:
            bench = Bench(self.process, asked, seed=seed)
            bench.driver.run(lambda done, total: None, steps)
            counts = dict(self.process.traps.counts)
            gpu, driver = bench.gpu, bench.driver
            return Ran(self.sglang, gpu.launches, gpu.wrong_launches, driver.step, counts)
        finally:
            self.disarm()
            if bench is not None:
                bench.close()

    def play_bug(self, name: str, *, reverted: bool = True) -> Ran:
        """Play the workload of a catalogued defect (`triage lab bugs`).

        reverted: with the upstream fix taken out, below our hooks; False is SGLang as it is.
        Raises as `play` does, and LabError where this SGLang cannot have the defect.
        """
        from triage.errors import LabError
        from triage.lab.bugs import find
        from triage.lab.bugs.bug import untouched
        from triage.lab.rig import Bench

        bug = find(name)
        if why := bug.applies():
            raise LabError(f"{name} cannot be played on SGLang {self.sglang}: {why}")
        self.process.arm(traps=True, fixes=(), directory=self.directory)
        bench = None
        try:
            with (bug.inject if reverted else untouched)(lambda: None):
                bench = Bench(self.process, bug.scenario, overlap=bug.overlap)
                bug.play(bench)
            counts = dict(self.process.traps.counts)
            gpu = bench.gpu
            return Ran(self.sglang, gpu.launches, gpu.wrong_launches, bench.driver.step, counts)
        finally:
            self.disarm()
            if bench is not None:
                bench.close()

    @contextmanager
    def replaced(self, owner: Any, name: str, make: Any) -> Iterator[None]:
        """Inside, `owner.name` is `make(original)`, below the hooks that stand on it.

        What `monkeypatch.setattr` would do, but seen by the traps as SGLang's own.
        """
        from triage.lab.patching import replaced

        with replaced(owner, name, make):
            yield
