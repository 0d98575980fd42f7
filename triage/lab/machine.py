"""Lifecycles drawn by Hypothesis: what breaks is shrunk to a short script.

The rules admit, step and abort requests over SGLang's real pools, in the
pool driver with every draft and in the ScheduleBatch driver with SGLang's own prefix
caches, with every family of traps armed and the lab's oracles beside them.
A failure is a sequence of rule calls that Hypothesis makes as short as it can;
`Failure.script` can be pasted and run. The long run (`soak.py`) is this machine.

Long because a rule, what it drives and what is asked after it are one state machine.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from triage.errors import LabError, TriageError
from triage.lab.combinations import TOKEN_WISE, Combination, breaks_pages, of_release, pads
from triage.lab.process import LabProcess, start
from triage.lab.rig import Bench
from triage.lab.runtime import Geometry
from triage.lab.scenarios import Scenario

ROWS = 4
LONGEST_PROMPT, LONGEST_OUTPUT = 96, 48  # of drawn units; see Lifecycles._tokens

_HEADER = """from pathlib import Path
from triage.lab.combinations import Combination
from triage.lab.machine import Lifecycles, begin
begin(Path("/tmp/trtllm_mha_debug"))
"""

_process: LabProcess | None = None
_combinations: tuple[Combination, ...] = ()


@dataclass(slots=True)
class Tally:
    """What one search played, failing and shrunk examples included."""

    examples: int = 0
    steps: Counter[Combination] = field(default_factory=Counter)
    settings: Counter[str] = field(default_factory=Counter)  # steps under each that was drawn
    free_lists: int = 0  # to be compared with the ledger: those of every step
    launches: int = 0
    allocator_events: int = 0
    ledger_audits: int = 0  # free lists found equal to the ledger
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """What broke, the shortest way there that was found, and what the oracles say of it.

    oracle: "silent" if the same calls without traps are right by the lab's oracles, which
        makes the trap's answer a false alarm; otherwise what they saw.
    """

    error: str
    script: str
    oracle: str

    @property
    def false_alarm(self) -> bool:
        return self.oracle == "silent"


_tally = Tally()


def begin(directory: Path, mode: str = "raise", number: int = 0) -> LabProcess:
    """The process every machine runs in, all families of traps armed. `number`: of the search."""
    from triage.lab.matrix import EVERYTHING

    global _process, _combinations
    _process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING, mode=mode)
    known = of_release(_process.version)
    # What a search tries first is the simplest to it: each begins elsewhere.
    first = number * 7 % len(known)
    _combinations = known[first:] + known[:first]
    return _process


class Lifecycles(RuleBasedStateMachine):
    """One set of pools; requests come, step together and go."""

    traps = True

    def __init__(self) -> None:
        super().__init__()
        self.bench: Bench | None = None
        self.combination: Combination | None = None
        self.admitted = 0

    @initialize(
        combination=st.deferred(lambda: st.sampled_from(_combinations)),
        window_pages=st.integers(1, 4),
        beyond=st.booleans(),
        chunk_pages=st.integers(1, 5),
        spare_pages=st.integers(0, 6),
        keeps=st.booleans(),
        overlap=st.booleans(),
        shared_kv=st.booleans(),
        graphs=st.booleans(),
        queued=st.booleans(),
        fp8=st.booleans(),
        seed=st.integers(0, 3),
    )
    def pools(
        self,
        combination: Combination,
        window_pages: int,
        beyond: bool,
        chunk_pages: int,
        spare_pages: int,
        keeps: bool,
        overlap: bool,
        shared_kv: bool,
        graphs: bool,
        queued: bool,
        fp8: bool,
        seed: int,
    ) -> None:
        if _process is None:
            raise LabError("call begin() first: it binds the traps of this process")
        _process.arm(traps=self.traps, fixes=(), directory=_process.directory)
        self.combination, page = combination, combination.page
        unit = page if page > 1 else 16
        longest = self._tokens(LONGEST_PROMPT) + LONGEST_OUTPUT + 32
        breaks = beyond and breaks_pages(combination, _process.version)
        full = -(-longest // page) * (ROWS - 1) + spare_pages + 1
        scenario = Scenario(
            name="machine",
            what="drawn by Hypothesis",
            geometry=Geometry(
                page_size=page,
                swa_pages=full,
                full_pages=full + spare_pages,
                window=unit * window_pages + (unit // 2 if breaks else 0),
                num_layers=6,
                full_every=3,
                kv_shared_layers=2 if shared_kv else 0,
                context_len=-(-longest // page) * page,
                max_requests=ROWS,
            ),
            requests=0,
            concurrency=ROWS,
            prompt_tokens=self._tokens(LONGEST_PROMPT),
            output_tokens=LONGEST_OUTPUT,
            chunk=unit * chunk_pages,
            draft=combination.draft,
            cache=combination.cache,
            backend=combination.backend,
            graphs=graphs and pads(combination, _process.version),
            queued=queued,
            fp8=fp8,
            keeps_rejected=keeps or _process.version in TOKEN_WISE,
        )
        self.bench = Bench(
            _process,
            scenario,
            seed=seed,
            overlap=overlap or combination.draft == "frozen",
            audit=True,
        )

    def _tokens(self, units: int) -> int:
        """Prompts grow with the page, so that every page size has rows of up to six pages."""
        page = self.combination.page if self.combination else 16
        return units * max(page, 16) // 16

    @precondition(lambda self: self.bench is not None and self.bench.driver.rows < ROWS)
    @rule(
        prompt=st.integers(1, LONGEST_PROMPT),
        output=st.integers(1, LONGEST_OUTPUT),
        common=st.integers(0, LONGEST_PROMPT),
    )
    def admit(self, prompt: int, output: int, common: int) -> None:
        """common: units of the prompt that any other request may share; a tree matches them."""
        assert self.bench is not None
        self.admitted += 1
        tokens = self._tokens(prompt)
        shared = min(self._tokens(common), tokens)
        self.bench.driver.enqueue(self.admitted, tokens, output, shared)
        self._tick()

    @precondition(lambda self: self.bench is not None and self.bench.driver.rows > 0)
    @rule(count=st.integers(1, 16))
    def step(self, count: int) -> None:
        assert self.bench is not None
        for _ in range(count):
            if self.bench.driver.rows:
                self._tick()

    def _tick(self) -> None:
        """One step; behind it the ledger and both free lists must say the same."""
        assert self.bench is not None
        self.bench.driver.tick()
        self.bench.audit_ledger()

    @precondition(lambda self: self.bench is not None and self.bench.driver.rows > 0)
    @rule(which=st.integers(0, ROWS - 1))
    def abort(self, which: int) -> None:
        assert self.bench is not None
        self.bench.driver.abort(which)

    @invariant()
    def oracles_are_silent(self) -> None:
        if self.bench is not None:
            assert self.bench.wrong is None, self.bench.wrong

    @invariant()
    def nothing_is_logged(self) -> None:
        """What is told without an exception is an alarm too; so is an error of the toolkit."""
        if self.bench is None or not self.traps or _process is None or _process.traps is None:
            return
        reporter = _process.traps.reporter
        told, errors = reporter.violations, reporter.shells.internal_errors
        if told or errors:
            raise LabError(f"logged and not raised: {dict(told)}; errors of the toolkit: {errors}")

    def teardown(self) -> None:
        if self.bench is None or self.combination is None:
            return
        steps, scenario = self.bench.driver.step, self.bench.scenario
        _tally.examples += 1
        _tally.steps[self.combination] += steps
        _tally.free_lists += steps * (1 if self.combination.pool == "mha" else 2)
        drawn = {
            "overlap": self.bench.driver.overlap,
            "frees inside a queued forward": scenario.queued and self.bench.driver.overlap,
            "padded graphs": scenario.graphs,
            "fp8 cache": scenario.fp8,
            "shared KV": scenario.geometry.kv_shared_layers > 0,
            "rejected kept": scenario.keeps_rejected and scenario.draft != "none",
        }
        _tally.settings.update({name: steps for name, on in drawn.items() if on})
        _tally.launches += self.bench.gpu.launches
        _tally.allocator_events += self.bench.audit.events
        if self.traps and _process is not None:
            _tally.ledger_audits += _process.installed.state_hooks.books.agreed
        self.bench.close()


class Untrapped(Lifecycles):
    """The same calls with the traps disarmed: what do the oracles alone say?"""

    traps = False


_EXPECTED = (
    *(TriageError, AssertionError, RuntimeError, LookupError, ValueError, MemoryError),
    *(TypeError, AttributeError),
)


def search(
    examples: int, rules: int, directory: Path, *, number: int = 0, mode: str = "raise"
) -> tuple[Tally, Failure | None]:
    """Play `examples` lifecycles of up to `rules` calls; the first failure, shrunk, or None.

    number: of the search; the draws follow from it.
    mode: of the traps. In `raise` the ledger is compared with the free lists after each step;
        in the others what is freed lands inside the forward that is queued.
    """
    global _tally
    begin(directory, mode, number)
    _tally = Tally()
    started = time.perf_counter()
    chosen = settings(
        max_examples=examples,
        stateful_step_count=rules,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    failure = None
    try:
        run_state_machine_as_test(seed(number)(Lifecycles), settings=chosen)
    except _EXPECTED as error:
        failure = _failure(error)
    _tally.seconds = time.perf_counter() - started
    return _tally, failure


def _failure(error: BaseException) -> Failure:
    """Hypothesis leaves the rule calls in the error's notes."""
    notes = "\n".join(getattr(error, "__notes__", []))
    calls = [line for line in notes.splitlines() if line.startswith("state")]
    oracle = str(error) if isinstance(error, AssertionError) else _without_traps(calls)
    return Failure(f"{type(error).__name__}: {error}", _HEADER + "\n".join(calls) + "\n", oracle)


def _without_traps(calls: list[str]) -> str:
    """Play a shrunk script again, traps disarmed: the oracles' sentence, or "silent"."""
    names: dict[str, Any] = {"Lifecycles": Untrapped, "Combination": Combination}
    try:
        for call in calls:
            exec(call, names)
            state = names["state"]
            if state.bench is not None and state.bench.wrong is not None:
                return str(state.bench.wrong)
    except _EXPECTED as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if "state" in names and names["state"].bench is not None:
            names["state"].bench.close()
    return "silent"
