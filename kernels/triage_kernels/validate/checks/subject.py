"""What is being checked, and what a check says of it.

A `Subject` is one implementation of one kernel on one device in one dtype. A check is a
generator of `Finding`s; several cases give several findings, of which the runner keeps
the worst. Runs that several checks need are made once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from triage_kernels.core.errors import StrayWriteError
from triage_kernels.core.spec import (
    Args,
    Case,
    Exact,
    KernelSpec,
    Outputs,
    as_tuple,
    copy_args,
    to_device,
)
from triage_kernels.validate.checks.guarded import fenced, reach, under_guard

Status = Literal["PASS", "FAIL", "SKIP"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check on one case. `severity` orders findings of one status."""

    status: Status
    case: str
    detail: str
    severity: float = 0.0


def passed(case: str, detail: str, severity: float = 0.0) -> Finding:
    return Finding("PASS", case, detail, severity)


def failed(case: str, detail: str, severity: float = 1.0) -> Finding:
    return Finding("FAIL", case, detail, severity)


def skipped(case: str, reason: str) -> Finding:
    return Finding("SKIP", case, reason)


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: arguments as they were before it, outputs, exact answers."""

    case: Case
    args: Args
    outputs: Outputs
    exact: tuple[Exact, ...]


@dataclass(slots=True)
class Subject:
    """An implementation under test.

    Attributes:
        call: takes the arguments of `spec` by name, returns its outputs.
        cases: the cases to run, a subset of `spec.cases`.
        many_rows: whether to also run hundreds of rows, across the switch between grids.
        structural: the cases that checks of memory, strides and rows run on.
    """

    spec: KernelSpec
    call: Callable[..., Tensor | Outputs]
    device: str
    dtype: torch.dtype
    cases: tuple[Case, ...]
    many_rows: bool = True
    _trials: dict[Any, Trial] = field(default_factory=dict)

    @property
    def structural(self) -> tuple[Case, ...]:
        """The first case, one with another convention, head width and number of KV heads.

        Enough where widths of rows do not matter.
        """
        reads = tuple(c for c in self.cases[1:] if "reads" in c.name)[:1]
        several = tuple(c for c in self.cases[1:] if c.dims.get("HKV", 1) > 1)[:1]
        first = self.cases[0].dims.get("D")
        head = tuple(c for c in self.cases[1:] if c.dims.get("D") != first)[:1]
        chosen = self.cases[:1] + reads + several + head
        return tuple(dict.fromkeys(chosen))

    def rows(self, case: Case) -> int:
        """Enough rows for the error norm to be one of many elements; few on a CPU."""
        if self.device != "cpu":
            return 257
        if self.spec.judge == "routing":
            return 6
        dims = case.dims
        width = dims.get("N") or dims.get("K", 1) * 64
        if "D" in dims:
            width = dims["D"] * dims["HKV"]
        return max(3, min(24, 6144 // width))

    def make(self, case: Case, rows: int, seed: int = 0) -> Args:
        """Arguments of `case`, the same on every machine."""
        text = f"{self.spec.name}/{case.name}/{seed}"
        generator = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        return to_device(self.spec.make(case.dims, rows, self.dtype, generator), self.device)

    def run(self, args: Args, **more: Any) -> Outputs:
        """Call on fenced copies, so `args` stay what they were.

        Raises:
            StrayWriteError: something beside the copies or the call's own tensors was written.
        """
        copies, fences = fenced(args)
        outputs = self.on(copies, **more)
        for fence in fences:
            if damage := fence.damage():
                raise StrayWriteError(f"{damage} bytes beside the memory of {fence.names} written")
        return outputs

    def on(self, args: Args, **more: Any) -> Outputs:
        """Call on these very tensors, with what it allocates guarded."""
        guard = 4096 + reach(args)
        result, frames = under_guard(self.call, {**args, **more}, min(guard, 1 << 26))
        for frame in frames:
            if damage := frame.damage():
                raise StrayWriteError(f"{damage} elements beside {frame.name} written")
        return as_tuple(result)

    def eager(self, args: Args) -> Outputs:
        return as_tuple(self.spec.eager(**copy_args(args)))

    def trial(self, case: Case, rows: int | None = None, args: Args | None = None) -> Trial:
        """Run and judge; cached unless the arguments are given."""
        rows = self.rows(case) if rows is None else rows
        key = (case.name, rows)
        if args is None and key in self._trials:
            return self._trials[key]
        given = self.make(case, rows) if args is None else args
        outputs = self.run(given)
        trial = Trial(case, given, outputs, self.spec.oracle(given, outputs))
        if args is None:
            self._trials[key] = trial
        return trial

    def row_names(self, args: Args) -> list[str]:
        """Names of the [M, N] arguments given."""
        return [name for name in self.spec.rows if args.get(name) is not None]

    def by_row(self, args: Args, index: Tensor) -> Args:
        """The same call on a selection of the rows."""
        chosen = dict(args)
        for name in (*self.spec.rows, *self.spec.per_row):
            if chosen.get(name) is not None:
                chosen[name] = chosen[name][index.to(chosen[name].device)]
        return chosen

    def named(self, outputs: Outputs) -> list[tuple[str, Tensor]]:
        return [(o.name, t) for o, t in zip(self.spec.outputs, outputs, strict=False)]
