"""The global memory of interpreted launches, watched: what Triton's GSan looks for, on a CPU.

Two programs of a launch at one address, of which one writes, race: a GPU runs them in any order.
An access outside every tensor of the launch is told and not made; GSan leaves those to
others. Programs of a launch are never ordered here: what atomics order is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from triage_kernels.core.errors import KernelError
from triage_kernels.validate.interpreted import replaced


@dataclass
class Memory:
    """What the launches under `watched_memory` did.

    Attributes:
        findings: a sentence for each kind of wrong access, at its first address.
    """

    launches: int = 0
    programs: int = 0
    accesses: int = 0
    findings: list[str] = field(default_factory=list)


@contextmanager
def watched_memory() -> Iterator[Memory]:
    """Watch the global memory of interpreted launches: see the first lines here."""
    from triton.runtime import interpreter

    seen = Memory()
    log: list[tuple[bool, int, Any, int]] = []  # written, program, addresses, bytes of each
    storages: list[tuple[int, int]] = []
    builder, executor = interpreter.InterpreterBuilder, interpreter.GridExecutor
    load, store, run = builder.create_masked_load, builder.create_masked_store, executor.__call__

    def note(self: Any, written: bool, ptrs: Any, mask: Any) -> bool:
        where = np.broadcast_to(mask.data, np.broadcast_shapes(ptrs.data.shape, mask.data.shape))
        at = np.unique(np.broadcast_to(ptrs.data, where.shape)[where.astype(bool)])
        x, y, z = self.grid_idx
        _, ny, nz = self.grid_dim
        size = max(1, ptrs.get_element_ty().primitive_bitwidth // 8)
        log.append((written, (x * ny + y) * nz + z, at.astype(np.int64), size))
        return _inside(at.astype(np.int64), size, storages, written, seen)

    def loaded(self: Any, ptrs: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not note(self, False, ptrs, mask):
            raise KernelError(seen.findings[-1])
        return load(self, ptrs, mask, *rest, **named)

    def stored(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        if not note(self, True, ptrs, mask):
            raise KernelError(seen.findings[-1])
        return store(self, ptrs, value, mask, *rest, **named)

    def launched(self: Any, *args: Any, **named: Any) -> Any:
        log.clear()
        storages[:] = _storages((*args, *named.values()))
        seen.launches += 1
        result = run(self, *args, **named)
        seen.programs += len({program for _, program, _, _ in log})
        seen.accesses += sum(len(at) for _, _, at, _ in log)
        race = _race(log)
        if race:
            seen.findings.append(race)
        return result

    with (
        replaced(builder, create_masked_load=loaded, create_masked_store=stored),
        replaced(executor, __call__=launched),
    ):
        yield seen


def _storages(values: tuple[Any, ...]) -> list[tuple[int, int]]:
    found = []
    for value in values:
        if isinstance(value, tuple):
            found += _storages(value)
        elif isinstance(value, Tensor):
            storage = value.untyped_storage()
            found.append((storage.data_ptr(), storage.data_ptr() + storage.nbytes()))
    return found


def _inside(
    at: Any, size: int, storages: list[tuple[int, int]], written: bool, seen: Memory
) -> bool:
    known = np.zeros(at.shape, dtype=bool)
    for first, end in storages:
        known |= (at >= first) & (at + size <= end)
    if known.all():
        return True
    verb = "written" if written else "read"
    seen.findings.append(
        f"{int((~known).sum())} addresses {verb} outside every tensor of the launch"
    )
    return False


def _race(log: list[tuple[bool, int, Any, int]]) -> str | None:
    """Two programs at one address, of which one writes; None where there are none."""
    if not log:
        return None
    at = np.concatenate([a for _, _, a, _ in log])
    program = np.concatenate([np.full(len(a), p) for _, p, a, _ in log])
    written = np.concatenate([np.full(len(a), w) for w, _, a, _ in log])
    order = np.argsort(at, kind="stable")
    at, program, written = at[order], program[order], written[order]
    starts = np.flatnonzero(np.r_[True, at[1:] != at[:-1]])
    apart = np.maximum.reduceat(program, starts) != np.minimum.reduceat(program, starts)
    racing = apart & np.logical_or.reduceat(written, starts) if len(at) else np.zeros(0, bool)
    if not racing.any():
        return None
    first = starts[np.flatnonzero(racing)[0]]
    ends = np.r_[starts[1:], len(at)]
    members = slice(first, ends[np.flatnonzero(racing)[0]])
    writers = sorted(set(program[members][written[members]].tolist()))
    others = sorted(set(program[members].tolist()) - set(writers[:1]))
    return (
        f"a race at {int(racing.sum())} addresses: the first is written by program {writers[0]} "
        f"and used by program {others[0]}"
    )
