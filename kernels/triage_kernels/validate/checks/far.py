"""Checks of what lies far: rows past a 32-bit offset, positions up to 2^31.

The memory between is address space alone: it is mapped without being reserved, and only
the pages that hold something exist.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import torch
from torch import Tensor

from triage_kernels.core.spec import Args, Outputs, as_tuple, copy_args
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import against_exact, same_bits

# Row 2 of a view with this stride starts where a 32-bit offset turns negative. A larger
# stride would not do: Triton passes 2^31 and above as 64-bit.
STRIDE = 2**30
_BEFORE = 2**31
# Where a position stops being exact as int8, fp16, int16, uint16 and fp32, and the last of
# int32; further apart than a row of the table is wide.
POSITIONS = (0, 1000, 2049, 40_001, 70_001, 2**24 + 1, 2**31 - 1)
_NORESERVE = 0x4000  # MAP_NORESERVE of Linux


def sparse(count: int, dtype: torch.dtype, device: str) -> Tensor | None:
    """So many zeros, of which only those written take memory; None where there is no room."""
    try:
        if device != "cpu":
            return torch.empty(count, dtype=dtype, device=device)
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE
        return torch.frombuffer(mmap.mmap(-1, count * dtype.itemsize, flags=flags), dtype=dtype)
    except (RuntimeError, MemoryError, OSError):
        return None


def positions_to_2_31(subject: Subject) -> Iterator[Finding]:
    """A position up to 2^31 - 1, of either integer type, reads its own row of the table."""
    for case in subject.structural:
        args = subject.make(case, len(POSITIONS), seed=16)
        if "positions" not in args:
            yield skipped(case.name, "no positions")
            continue
        if subject.device != "cpu":
            yield skipped(case.name, "a table of 2^31 rows needs address space that costs nothing")
            return
        wide = args["cos_sin"].shape[1]
        # Rows overlap: row p begins at element p, and those that are read lie apart.
        flat = sparse(2**31 + wide, torch.float16, subject.device)
        if flat is None:
            yield skipped(case.name, "the address space for it could not be had")
            return
        table = flat.as_strided((2**31, wide), (1, 1))
        angles = torch.linspace(0.1, 3.0, len(POSITIONS) * wide // 2).view(len(POSITIONS), -1)
        angles[:, args.get("rotary_angles", wide // 2) :] = 0  # as every table of such a layer
        for row, position in enumerate(POSITIONS):
            table[position] = torch.cat((angles[row].cos(), angles[row].sin())).half()
        for dtype in (torch.int64, torch.int32):
            given = {**args, "cos_sin": table, "positions": torch.tensor(POSITIONS, dtype=dtype)}
            used = {**copy_args({k: v for k, v in given.items() if k != "cos_sin"})}
            got = as_tuple(subject.call(**{k: used.get(k, table) for k in given}))
            exact = subject.spec.oracle(given, got)
            for (name, mine), answer in zip(subject.named(got), exact, strict=False):
                comparison = against_exact(mine, answer)
                make = passed if comparison.within_bound else failed
                where = f"{case.name}, {name}, positions {str(dtype).removeprefix('torch.')}"
                yield make(where, comparison.describe(), comparison.excess)


def _far_rows(value: Tensor, rows: int) -> Tensor | None:
    """The rows at `STRIDE` apart, with as much readable memory before them as they span."""
    width = value.shape[1]
    count = _BEFORE + (rows - 1) * STRIDE + width
    whole = sparse(count, value.dtype, value.device.type)
    if whole is None:
        return None
    far = whole.as_strided((rows, width), (STRIDE, 1), _BEFORE)
    far.copy_(value)
    # What a wrapped offset would hit: painted, so that it is neither read nor written unseen.
    whole[:width].fill_(torch.nan if value.is_floating_point() else 0)
    return far


def _memory_for(value: Tensor) -> str | None:
    """Why the far view does not fit, None where it does."""
    need = (_BEFORE + 3 * STRIDE) * value.element_size()
    if value.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return None if free > need + 2**30 else f"needs {need >> 30} GiB, {free >> 30} GiB free"
    # On a CPU untouched pages cost nothing; address space and overcommit decide.
    return None


def int32_overflow(subject: Subject) -> Iterator[Finding]:
    """Rows and cache slots whose offset does not fit in 32 bits give the bits of packed ones."""
    case = subject.cases[0]
    rows = 3
    packed: Args = subject.make(case, rows, seed=13)
    want = subject.run(packed)
    for name in subject.row_names(packed):
        if reason := _not_far(subject, packed[name]):
            yield skipped(name, reason)
            continue
        far = _far_rows(packed[name], rows)
        if far is None:
            yield skipped(name, "the address space for it could not be had")
            continue
        got = _call_with(subject, packed, {name: far})
        yield from _same(subject, f"{case.name}, {name} strided 2^30", got, want)
        del far, got
    yield from _far_slots(subject, case.name, packed)


def _far_slots(subject: Subject, case: str, packed: Args) -> Iterator[Finding]:
    caches = {n: t for n, t in packed.items() if n in ("k_cache", "v_cache") and t is not None}
    for name, cache in caches.items():
        if reason := _not_far(subject, cache):
            yield skipped(name, reason)
            continue
        slots = torch.tensor((0, 2, 3), device=subject.device)
        short = {n: t[: len(slots) + 1].clone() for n, t in caches.items()}
        want = subject.run({**packed, **short, "slots": slots})
        far = _far_rows(short[name].flatten(1), len(slots) + 1)
        if far is None:
            yield skipped(name, "the address space for it could not be had")
            continue
        for dtype in (torch.int32, torch.int64):
            far.copy_(short[name].flatten(1))
            given = {**packed, **short, "slots": slots.to(dtype)}
            got = _call_with(subject, given, {name: far.unflatten(1, cache.shape[1:])})
            where = f"{case}, slots of {name} 2^30 apart, {str(dtype).removeprefix('torch.')}"
            yield from _same(subject, where, got, want)
        del far, got


def _not_far(subject: Subject, value: Tensor) -> str | None:
    if value.element_size() > 4 or subject.dtype == torch.float32:
        return "run in 16 bits: the offset counts elements, not bytes"
    return _memory_for(value)


def _call_with(subject: Subject, args: Args, far: Args) -> Outputs:
    used = copy_args({k: v for k, v in args.items() if k not in far})
    return as_tuple(subject.call(**{k: far[k] if k in far else used[k] for k in args}))


def _same(subject: Subject, where: str, got: Outputs, want: Outputs) -> Iterator[Finding]:
    for (output, mine), other in zip(subject.named(got), want, strict=False):
        difference = same_bits(mine, other)
        make = failed if difference.count else passed
        yield make(f"{where}, {output}", difference.describe())
