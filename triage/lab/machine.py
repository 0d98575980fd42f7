"""Lifecycles drawn by Hypothesis: what breaks is shrunk to a short script.

The rules admit, step and abort requests over SGLang's real pools, with every
trap armed and the lab's oracles beside them. A failure is a sequence of rule
calls that Hypothesis makes as short as it can; `Failure.script` can be pasted
and run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from triage.errors import TriageError
from triage.lab.bench import Bench
from triage.lab.process import LabProcess, start
from triage.lab.request import LabRequest
from triage.lab.runtime import Geometry
from triage.lab.scenarios import Scenario

_HEADER = """from pathlib import Path
from triage.lab.machine import Lifecycles, begin
begin(Path("/tmp/trtllm_mha_debug"))
"""

_process: LabProcess | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """What broke, and the shortest way there that was found."""

    error: str
    script: str


def begin(directory: Path) -> LabProcess:
    """The process every machine runs in, all families of traps armed."""
    from triage.lab.matrix import EVERYTHING

    global _process
    _process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING)
    return _process


class Lifecycles(RuleBasedStateMachine):
    """One set of pools; requests come, step together and go."""

    def __init__(self) -> None:
        super().__init__()
        self.bench: Bench | None = None
        self.admitted = 0

    @initialize(
        draft=st.sampled_from(("frozen", "eagle", "none")),
        page=st.sampled_from((16, 32)),
        window_pages=st.integers(1, 3),
        keeps=st.booleans(),
        seed=st.integers(0, 3),
    )
    def pools(self, draft: str, page: int, window_pages: int, keeps: bool, seed: int) -> None:
        assert _process is not None, "call begin() first"
        _process.arm(traps=True, fixes=(), directory=_process.directory)
        geometry = Geometry(
            page_size=page,
            swa_pages=40,
            full_pages=44,
            window=page * window_pages,
            num_layers=3,
            full_every=3,
            kv_shared_layers=0,
            context_len=page * 16,
            max_requests=4,
        )
        scenario = Scenario(
            name="machine",
            what="drawn by Hypothesis",
            geometry=geometry,
            requests=0,
            concurrency=4,
            prompt_tokens=page * 4,
            output_tokens=page * 2,
            chunk=page * 2,
            draft=draft,
            keeps_rejected=keeps,
        )
        self.bench = Bench(_process, scenario, seed=seed, audit=True)

    @precondition(lambda self: self.bench is not None and len(self.bench.driver.running) < 4)
    @rule(prompt=st.integers(1, 100), output=st.integers(1, 30))
    def admit(self, prompt: int, output: int) -> None:
        assert self.bench is not None
        self.admitted += 1
        self.bench.driver.waiting.append(LabRequest(self.admitted, prompt, output))
        self.bench.driver._admit()

    @precondition(lambda self: self.bench is not None and bool(self.bench.driver.running))
    @rule(count=st.integers(1, 6))
    def step(self, count: int) -> None:
        driver: Any = self.bench.driver if self.bench else None
        for _ in range(count):
            if driver.running:
                driver._decode_step()
                driver.step += 1

    @precondition(lambda self: self.bench is not None and bool(self.bench.driver.running))
    @rule(which=st.integers(0, 3))
    def abort(self, which: int) -> None:
        driver: Any = self.bench.driver if self.bench else None
        driver._finish(driver.running[which % len(driver.running)])

    @invariant()
    def oracles_are_silent(self) -> None:
        if self.bench is not None:
            assert self.bench.wrong is None, self.bench.wrong

    def teardown(self) -> None:
        if self.bench is not None:
            self.bench.close()


def search(examples: int, steps: int, directory: Path) -> Failure | None:
    """Run drawn lifecycles; the first failure, shrunk, or None."""
    begin(directory)
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(Lifecycles, settings=chosen)
    except (TriageError, AssertionError, RuntimeError, LookupError, ValueError) as error:
        return _failure(error)
    return None


def _failure(error: BaseException) -> Failure:
    """Hypothesis leaves the rule calls in the error's notes."""
    notes = "\n".join(getattr(error, "__notes__", []))
    lines = [line for line in notes.splitlines() if line.startswith(("state", "Falsifying"))]
    calls = [line for line in lines if not line.startswith("Falsifying")]
    return Failure(f"{type(error).__name__}: {error}", _HEADER + "\n".join(calls) + "\n")
