"""A long run of small random workloads in which nothing may fire.

Every workload is drawn from a seed: page size, window, pool sizes, draft kind,
overlap, how rejected tokens are kept, lengths and concurrency up to four rows.
Traps are on and the lab's own oracles beside them, so the run tells three
things apart: clean, a false alarm (a trap fired and no oracle agrees), and a
finding (an oracle agrees). Combinations in which a release is known to be wrong
are left out and listed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from triage.errors import LabError, TrapError
from triage.lab.bench import Bench
from triage.lab.floor2 import CACHES
from triage.lab.gpu import EmulatedFault
from triage.lab.process import LabProcess, start
from triage.lab.runtime import DRAFTS, Geometry
from triage.lab.scenarios import Scenario

Progress = Callable[[int, int], None]

ALL = "reads,writes,allocator,lifecycle,tree,graph,spec,geometry"
PAGE_SIZES = (16, 32, 64)


@dataclass(slots=True)
class SoakReport:
    """What happened. `alarms` are false, `findings` are not; both say how to run them again."""

    sglang: str
    seed: int
    steps: int = 0
    launches: int = 0
    allocator_events: int = 0
    workloads: int = 0
    ledger_audits: int = 0  # free lists found equal to the ledger
    seconds: float = 0.0
    mix: Counter[str] = field(default_factory=Counter)
    alarms: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {**asdict(replace(self, mix=Counter())), "mix": dict(self.mix)}


def soak(
    steps: int, seed: int, directory: Path, progress: Progress = lambda done, total: None
) -> SoakReport:
    """Run workloads until `steps` decode steps are done."""
    process = start(traps=True, fixes=(), directory=directory, checks=ALL)
    report = SoakReport(process.version, seed, left_out=_known_wrong(process.version))
    rng = np.random.default_rng(seed)
    caches = _caches()
    started = time.perf_counter()
    while report.steps < steps:
        scenario, overlap = draw(rng, process.version, caches)
        workload = int(rng.integers(1 << 31))
        _run(process, scenario, overlap, workload, report, directory)
        progress(min(report.steps, steps), steps)
    report.seconds = round(time.perf_counter() - started, 1)
    return report


def draw(rng: np.random.Generator, version: str, caches: tuple[str, ...]) -> tuple[Scenario, bool]:
    """A random workload, and whether the scheduler overlaps; `caches` of the second floor."""
    page = int(rng.choice(PAGE_SIZES))
    window = page * int(rng.integers(1, 5)) + int(rng.choice((0, 0, 1, page // 2)))
    prompt = int(rng.integers(page // 2, page * 8))
    output = int(rng.integers(4, page * 2))
    chunk = page * int(rng.integers(1, 6))
    concurrency = int(rng.integers(1, 5))
    draft = str(rng.choice([kind for kind in DRAFTS if not _is_known_wrong(kind, version)]))
    overlap = draft == "frozen" or bool(rng.integers(2))
    cache = str(rng.choice(("", *caches))) if draft == "none" else ""
    output = output if draft != "none" else max(output // 2, 4)
    longest = -(-(prompt + output + 32) // page) + 1
    full = longest * concurrency + int(rng.integers(2, 8))
    scenario = Scenario(
        name=f"{cache or draft}, page {page}, window {window}, {'' if overlap else 'no '}overlap",
        what="drawn",
        geometry=Geometry(
            page_size=page,
            swa_pages=full - int(rng.integers(0, 3)),
            full_pages=full,
            window=window,
            num_layers=6,
            full_every=3,
            kv_shared_layers=int(rng.choice((0, 2))),
            context_len=longest * page,
            max_requests=concurrency,
        ),
        requests=concurrency + int(rng.integers(0, 3)),
        concurrency=concurrency,
        prompt_tokens=prompt,
        output_tokens=output,
        chunk=chunk,
        draft=draft,
        cache=cache,
        mean_accept=float(rng.uniform(1.0, 4.0)),
        keeps_rejected=bool(rng.integers(2)) or version in _TOKEN_WISE,
    )
    return scenario, overlap


def _run(
    process: LabProcess,
    scenario: Scenario,
    overlap: bool,
    seed: int,
    report: SoakReport,
    directory: Path,
) -> None:
    process.arm(traps=True, fixes=(), directory=directory)
    bench, trapped = _drive(process, scenario, overlap, seed)
    report.workloads += 1
    report.steps += bench.driver.step
    report.launches += bench.gpu.launches
    report.allocator_events += bench.audit.events
    audits = process.installed.lifecycle.books.agreed
    if trapped is None and audits < 2 * bench.driver.step:
        raise LabError(f"{audits} audits of the ledger in {bench.driver.step} steps of two pools")
    report.ledger_audits += audits
    report.mix[scenario.cache or scenario.draft] += bench.driver.step
    report.mix[f"page {scenario.geometry.page_size}"] += bench.driver.step
    oracle = bench.audit.wrong or bench.gpu.first_wrong
    if trapped is None and oracle is None:
        return
    if oracle is None:  # a trap stops before the launch: let the same run go on without it
        process.arm(traps=False, fixes=(), directory=directory)
        bench, _ = _drive(process, scenario, overlap, seed)
        oracle = bench.audit.wrong or bench.gpu.first_wrong
    found = {
        "workload": scenario.name,
        "seed": seed,
        "overlap": overlap,
        "scenario": asdict(scenario),
        "trap": str(trapped) if trapped else "silent",
        "oracle": str(oracle) if oracle else "silent",
    }
    (report.findings if oracle else report.alarms).append(found)


def _drive(
    process: LabProcess, scenario: Scenario, overlap: bool, seed: int
) -> tuple[Bench, TrapError | None]:
    bench = Bench(process, scenario, seed=seed, overlap=overlap, audit=True)
    try:
        bench.driver.run(lambda done, total: None)
    except TrapError as error:
        return bench, error
    except EmulatedFault:
        pass  # the oracle has it as first_wrong
    finally:
        bench.close()
    return bench, None


def _caches() -> tuple[str, ...]:
    """The prefix caches the lab drives: 0.5.23 has one class, and only its tree side here."""
    gone = find_spec("sglang.srt.mem_cache.swa_radix_cache") is None
    return tuple(kind for kind in CACHES if not gone or kind == "unified")


_TOKEN_WISE = ("0.5.12.post1", "0.5.13.post1")


def _is_known_wrong(draft: str, version: str) -> bool:
    return draft == "eagle" and version == "0.5.12.post1"


def _known_wrong(version: str) -> list[str]:
    """Combinations the catalogue has as live defects of this release."""
    known = ["frozen-KV draft without overlap: the page at the window's edge is evicted (I1)"]
    if version in _TOKEN_WISE:
        known.append("pages of rejected tokens freed: their mapping is cleared by token (I6)")
    if _is_known_wrong("eagle", version):
        known.append("EAGLE draft with its own pool: translated through the target's mapping (I2)")
    return known
