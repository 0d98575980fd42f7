"""How fast the kernels are on this GPU, beside eager, torch.compile, SGLang and a plain copy.

From 1024 rows on the question is bandwidth: a call is compared with a device copy of as
many bytes, timed the same way. Up to 64 rows it is latency: microseconds over an empty
kernel, and beside `chain`, which copies as many bytes with as many reductions in between
that wait for each other and no other arithmetic. Calls that are shorter than what lies
between two events are timed inside a graph, whatever their rows. One `Measurement` is made
per op, shape and contender and handed on at once; what a file already holds is not
measured again, but ours, the copy and the empty kernel are timed anew beside whatever is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from triage_kernels.core.errors import no_such
from triage_kernels.core.spec import Case, KernelSpec
from triage_kernels.perf.contenders import contender_calls, inputs
from triage_kernels.perf.timing import Call, Timing, cold, replayed
from triage_kernels.validate.providers import Unavailable
from triage_kernels.validate.registry import OURS, select
from triage_kernels.validate.results import CRASHES

ROWS = (8192, 1, 64, 16, 1024)
CONTENDERS = ("ours", "compile", "sglang", "sglang-unfused", "eager", "copy", "chain", "empty")
BANDWIDTH_FROM, LATENCY_TO = 1024, 64
# An empty kernel between two events takes 8 us on an H200, in which it moves half of this.
_COLD_FROM_BYTES = 64 << 20
# Rotating sets of inputs are many enough to leave the cache, or this many.
_MOST_SETS = 48
_PREFERRED = ("26B-A4B", "31B", "E4B", "12B", "E2B")
# Timed in every round: the ratios need them beside each other.
_BESIDE = ("ours", "copy", "empty")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender on one shape.

    Attributes:
        microseconds: median per call; None where it did not run, `note` says why.
        bytes_moved: inputs read once, outputs written once, for the fused form.
        gb_per_s: those bytes over the time.
        of_copy: the copy's time over this time, so 1 is the copy's bandwidth.
        over_empty: this time minus the empty kernel's, at few rows.
        generated_kernels: kernels torch.compile made of it.
    """

    op: str
    case: str
    variant: str
    rows: int
    dtype: str
    contender: str
    protocol: str
    microseconds: float | None
    low: float | None
    high: float | None
    bytes_moved: int
    gb_per_s: float | None
    of_copy: float | None
    over_empty: float | None
    generated_kernels: int | None
    note: str

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        return self.op, self.case, self.rows, self.dtype, self.contender


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to measure; empty means everything, in an order that puts the likely questions first."""

    ops: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    rows: tuple[int, ...] = ROWS
    contenders: tuple[str, ...] = CONTENDERS
    dtype: torch.dtype = torch.bfloat16
    budget_seconds: float = 600.0
    every_case: bool = False

    def require_known(self) -> None:
        """Raise UnknownNameError for a kernel, variant or contender that there is not."""
        select(self.ops)
        for kind, names, known in (
            ("variant", self.variants, _PREFERRED),
            ("contender", self.contenders, CONTENDERS),
        ):
            for name in names:
                if name not in known:
                    raise no_such(kind, name, known)


def bench_cases(spec: KernelSpec, plan: BenchPlan) -> list[Case]:
    """Cases of the wanted variants, the largest models first.

    By default the 26B and 31B models, or the largest that has the op, and of each one
    case per head width: conventions of rounding move the same bytes.
    """
    wanted = [c for c in spec.cases if not plan.variants or c.variant in plan.variants]
    wanted.sort(key=lambda c: _PREFERRED.index(c.variant))
    if plan.every_case or plan.variants or not wanted:
        return wanted
    large = [c for c in wanted if c.variant in _PREFERRED[:2]]
    large = large or [c for c in wanted if c.variant == wanted[0].variant]
    chosen: dict[tuple[str, int | None], Case] = {}
    for case in large:
        chosen.setdefault((case.variant, case.dims.get("D")), case)
    return list(chosen.values())


def _measurement(
    base: Measurement, timings: dict[str, Timing], name: str, kernels: int | None
) -> Measurement:
    timing = timings[name]
    copy, empty = timings.get("copy"), timings.get("empty")
    return replace(
        base,
        contender=name,
        microseconds=timing.median,
        low=timing.low,
        high=timing.high,
        gb_per_s=base.bytes_moved / timing.median / 1e3 if base.rows >= BANDWIDTH_FROM else None,
        of_copy=copy.median / timing.median if copy and base.rows >= BANDWIDTH_FROM else None,
        over_empty=timing.median - empty.median if empty and base.rows <= LATENCY_TO else None,
        generated_kernels=kernels,
    )


def measure_shape(
    spec: KernelSpec, case: Case, rows: int, dtype: torch.dtype, contenders: Sequence[str]
) -> Iterator[Measurement]:
    """All contenders on one shape; one that cannot run yields its reason."""
    bytes_moved = spec.traffic(case.dims, rows, dtype.itemsize).fused
    few = rows < BANDWIDTH_FROM or bytes_moved < _COLD_FROM_BYTES
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    count = min(_MOST_SETS, 1 + 2 * l2 // bytes_moved) if few else 1
    sets = inputs(spec, case, rows, dtype, count)
    base = Measurement(
        spec.name, case.name, case.variant, rows, str(dtype).removeprefix("torch."), "",
        "graph" if few else "cold", None, None, None, bytes_moved, None, None, None, None,
        f"{count} input sets, {count * bytes_moved} bytes" if few else "",
    )  # fmt: skip
    ready: dict[str, list[Call]] = {}
    kernels: dict[str, int | None] = {}
    for name in contenders:
        try:
            made = contender_calls(name, spec, sets, bytes_moved, rows)
        except CRASHES as error:
            first = (str(error).splitlines() or [""])[0]
            made = Unavailable(f"{type(error).__name__}: {first}")
        if isinstance(made, Unavailable):
            yield replace(base, contender=name, note=made.reason)
            continue
        ready[name], kernels[name] = made
    if few:
        timings = _replay_each(ready)
    else:
        timings = cold({name: calls[0] for name, calls in ready.items()})
    for name in ready:
        if name in timings:
            yield _measurement(base, timings, name, kernels[name])
        else:
            yield replace(base, contender=name, note="cannot be captured in a graph")


def _replay_each(ready: dict[str, list[Call]]) -> dict[str, Timing]:
    """Replay together; a contender that cannot be captured is left out."""
    capturable = {}
    for name, calls in ready.items():
        try:
            replayed({name: calls}, rounds=1)
        except CRASHES:
            torch.cuda.synchronize()
            continue
        capturable[name] = calls
    return replayed(capturable)


def bench(plan: BenchPlan, done: frozenset[tuple[Any, ...]] = frozenset()) -> Iterator[Measurement]:
    """Measure shape by shape until done or out of time.

    Row counts are the outer loop: every op at 8192 rows comes before any at one row. All
    shapes get ours, the copy and the empty kernel first, since a compilation by torch
    takes longer than all of those together; a later measurement of a contender replaces
    an earlier one. A shape is not begun if one as slow as the slowest would not fit.
    """
    started = time.monotonic()
    dtype = str(plan.dtype).removeprefix("torch.")
    finished = set(done)
    for contenders in (tuple(n for n in _BESIDE if n in plan.contenders), plan.contenders):
        slowest = 0.0
        for rows, spec, case in _shapes(plan):
            missing = [
                n for n in contenders if (spec.name, case.name, rows, dtype, n) not in finished
            ]
            if not missing:
                continue
            began = time.monotonic()
            if began - started + slowest > plan.budget_seconds:
                return
            for measurement in _shape_or_reason(spec, case, rows, plan, missing):
                finished.add(measurement.key)
                yield measurement
            torch.cuda.empty_cache()
            slowest = max(slowest, time.monotonic() - began)


def measurement_count(plan: BenchPlan) -> int:
    """How many measurements `bench` makes of `plan`, if the time suffices."""
    return sum(1 for _ in _shapes(plan)) * len(plan.contenders)


def _shapes(plan: BenchPlan) -> Iterator[tuple[int, KernelSpec, Case]]:
    for rows in plan.rows:
        for spec in OURS:
            if not plan.ops or spec.name in plan.ops:
                for case in bench_cases(spec, plan):
                    yield rows, spec, case


def _shape_or_reason(
    spec: KernelSpec, case: Case, rows: int, plan: BenchPlan, missing: list[str]
) -> Iterator[Measurement]:
    names = [*missing, *(n for n in _BESIDE if n not in missing)]
    try:
        for measurement in measure_shape(spec, case, rows, plan.dtype, names):
            if measurement.contender in plan.contenders:
                yield measurement
    except CRASHES as error:
        first = (str(error).splitlines() or [""])[0]
        dtype = str(plan.dtype).removeprefix("torch.")
        for name in missing:
            yield Measurement(
                spec.name, case.name, case.variant, rows, dtype, name, "-", None, None, None, 0,
                None, None, None, None, f"{type(error).__name__}: {first}",
            )  # fmt: skip
