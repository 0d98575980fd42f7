"""Run one scenario in this process and report what happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from triage import config
from triage.errors import TrapError
from triage.lab.builders import REPLACED as REPLACED_BY
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.process import start
from triage.lab.rig import Bench
from triage.lab.runtime import REPLACED
from triage.lab.scenarios import Scenario

Progress = Callable[[int, int, str], None]
"""Told after each decode step: requests done, requests, the step."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to run: scenario, seed, the defect to re-inject, traps on or off, fixes."""

    scenario: Scenario
    seed: int = 0
    reinject: str | None = None
    traps: bool = True
    fixes: tuple[str, ...] = ()
    directory: Path = config.DEFAULT_DIRECTORY
    max_steps: int | None = None
    overlap: bool = True
    checks: str = ""
    mode: str = "raise"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome: "clean", "trapped" (before the launch), "contained" or "fault" (as on a GPU)."""

    scenario: str
    backend: str
    sglang: str
    seed: int
    reinject: str | None
    traps: bool
    fixes: tuple[str, ...]
    outcome: str
    steps: int
    launches: int
    finished: int
    requests: int
    wrong_launches: int
    first_wrong: dict[str, Any] | None
    fault: dict[str, Any] | None
    trapped: dict[str, Any] | None
    ring: str | None
    peak_swa_fill: float
    tables_digest: str
    trap_counts: dict[str, int]
    fix_counts: dict[str, int]
    seconds: dict[str, float]
    replaced: tuple[str, ...] = field(default=())

    def json(self) -> dict[str, Any]:
        return asdict(self)


def run(request: Request, progress: Progress = lambda done, total, now: None) -> Report:
    """Drive the scenario to its end, to the first trap, or to the emulated fault."""
    started = time.perf_counter()
    process = start(
        traps=request.traps,
        fixes=request.fixes,
        directory=request.directory,
        checks=request.checks,
        mode=request.mode,
        reinject=request.reinject,
    )
    bench = Bench(process, request.scenario, seed=request.seed, overlap=request.overlap)
    built = time.perf_counter()
    outcome, trapped, ring = "clean", None, None

    def tell(done: int, total: int) -> None:
        progress(done, total, f"decode step {bench.driver.step}")

    try:
        bench.driver.run(tell, request.max_steps)
    except TrapError as error:
        contained = "output" in error.evidence.facts
        outcome = "contained" if contained else "trapped"
        trapped = _describe(error, bench.gpu)
    except EmulatedFault as error:
        outcome = "fault"
        if process.traps is not None and process.traps.armed:
            ring = process.traps.history.leaving(error, "the lab's driver")
    finally:
        bench.close()
    gpu, driver, scenario = bench.gpu, bench.driver, request.scenario
    seconds = {part: round(spent, 3) for part, spent in driver.seconds.items()}
    seconds["construct"] = round(built - started, 3)
    seconds["drive"] = round(time.perf_counter() - built, 3)
    return Report(
        scenario=scenario.name,
        backend=scenario.backend,
        sglang=process.version,
        seed=request.seed,
        reinject=request.reinject,
        traps=request.traps,
        fixes=request.fixes,
        outcome=outcome,
        steps=driver.step,
        launches=gpu.launches,
        finished=driver.finished,
        requests=scenario.requests,
        wrong_launches=gpu.wrong_launches,
        first_wrong=gpu.first_wrong.json() if gpu.first_wrong else None,
        fault=gpu.fault.json() if gpu.fault else None,
        trapped=trapped,
        ring=None if ring is None else str(ring),
        peak_swa_fill=round(gpu.peak_swa_fill, 4),
        tables_digest=gpu.tables_digest,
        trap_counts=dict(process.traps.counts) if process.traps else {},
        fix_counts={name: fix.uses for name, fix in process.fixes.items()},
        seconds=seconds,
        replaced=REPLACED_BY.get(scenario.backend, REPLACED),
    )


def _describe(error: TrapError, gpu: Any) -> dict[str, Any]:
    evidence = error.evidence
    return {
        "error": type(error).__name__,
        "invariant": evidence.invariant,
        "message": str(error),
        "launch": gpu.launches + 1,
        "step": gpu.step,
        "layer_id": evidence.layer_id,
        "pool": evidence.pool,
        "forward_mode": evidence.forward_mode,
        "violations": evidence.total,
        "rows": evidence.rows_affected,
        "swa_fill": round(gpu._fill("swa"), 4),
        "dump": error.dump or None,
    }
