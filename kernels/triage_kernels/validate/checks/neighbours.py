"""Check of dependent launches: what a kernel owes the one that still runs in front of it.

A kernel that is launched to overlap (`core.dependent`) and reads or writes too early is right
nearly always: the kernel in front is over by then. Here it is not. It lets the next one in at
once, waits, and only then does its copy: of what the call reads into place, or of what the call
overwrites out of the way. On the stream, and in a graph, where the edge between both is another.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.dependent import dependent_launches, why_not
from triage_kernels.core.launch import recording
from triage_kernels.core.spec import Args, Outputs, as_tuple, copy_args
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import same_bits

ROWS = (1, 5)
# Longer than a launcher takes on the host; inside a graph nothing has to be waited for but the
# launch itself.
_ON_STREAM_NS, _IN_GRAPH_NS = 2_000_000, 100_000
# Few programs: the next kernel finds room beside them.
_PROGRAMS, _WORDS = 8, 1024
_ALIGNED_BYTES = 256


@triton.jit
def _late_copy_kernel(source, target, COUNT, DELAY_NS, BLOCK: tl.constexpr):
    tl.extra.cuda.gdc_launch_dependents()
    begin = tl.extra.cuda.globaltimer()
    now = begin
    while now - begin < DELAY_NS:
        now = tl.extra.cuda.globaltimer()
    for first in range(tl.program_id(0) * BLOCK, COUNT, tl.num_programs(0) * BLOCK):
        at = first + tl.arange(0, BLOCK)
        tl.store(target + at, tl.load(source + at, mask=at < COUNT), mask=at < COUNT)


def late_copy(source: Tensor, target: Tensor, delay_ns: int) -> None:
    """Launch a copy of int32 words that lets the next launch in first, and then waits so long."""
    _late_copy_kernel[(_PROGRAMS,)](
        source, target, source.numel(), delay_ns, BLOCK=_WORDS, num_warps=4
    )


def in_one_buffer(args: Args, outside: tuple[str, ...]) -> tuple[Args, Tensor]:
    """The call with copies of all tensors but those `outside` in one buffer of int32 words."""
    places: dict[int, int] = {}
    total = 0
    moved = {n: t for n, t in args.items() if isinstance(t, Tensor) and n not in outside}
    for value in moved.values():
        storage = value.untyped_storage()
        if storage.data_ptr() not in places:
            places[storage.data_ptr()] = total
            total += -(-storage.nbytes() // _ALIGNED_BYTES) * _ALIGNED_BYTES
    device = next(iter(moved.values())).device
    buffer = torch.zeros(total // 4, dtype=torch.int32, device=device)
    given = dict(args)
    for name, value in moved.items():
        size, begin = value.element_size(), places[value.untyped_storage().data_ptr()]
        offset = begin // size + value.storage_offset()
        view = torch.empty(0, dtype=value.dtype, device=device)
        given[name] = view.set_(buffer.untyped_storage(), offset, value.shape, value.stride())
        given[name].copy_(value)
    return given, buffer


def waits_for_previous(subject: Subject) -> Iterator[Finding]:
    """Behind a kernel that is late, a dependent launch gives the bits of a plain one."""
    if subject.device == "cpu" or (reason := why_not()):
        yield skipped("-", "kernels are interpreted" if subject.device == "cpu" else reason)
        return
    for case in subject.structural:
        for rows in ROWS:
            args = subject.make(case, rows, seed=19)
            with dependent_launches(), recording() as launches:
                subject.call(**copy_args(args))
            if not any(launch.launch_pdl for launch in launches):
                yield skipped(case.name, "makes no dependent launch")
                continue
            where = f"{case.name}, {rows} rows"
            yield from _reads(subject, where, args)
            yield from _writes(subject, where, args)


def _reads(subject: Subject, where: str, args: Args) -> Iterator[Finding]:
    """The kernel in front writes everything that may not be read early."""
    want = as_tuple(subject.call(**copy_args(args)))
    given, live = in_one_buffer(args, subject.spec.early)
    right = live.clone()

    def call(delay_ns: int) -> Outputs:
        late_copy(right, live, delay_ns)
        return as_tuple(subject.call(**given))

    for way, got in _runs(call, live.zero_):
        for (output, mine), other in zip(subject.named(got), want, strict=False):
            difference = same_bits(mine, other)
            make = failed if difference.count else passed
            yield make(
                f"{where}, {way}, {output}", f"behind a late writer: {difference.describe()}"
            )


def _writes(subject: Subject, where: str, args: Args) -> Iterator[Finding]:
    """The kernel in front still reads what the call overwrites."""
    written = dict(args)
    if "out" in inspect.signature(subject.call).parameters:
        written["out"] = torch.full_like(args[subject.spec.rows[0]], 2.0)
    elif not subject.spec.in_place:
        return
    given, live = in_one_buffer(written, subject.spec.early)
    before, seen = live.clone(), torch.empty_like(live)

    def call(delay_ns: int) -> Outputs:
        late_copy(live, seen, delay_ns)
        subject.call(**given)
        return (seen,)

    for way, (got,) in _runs(call, lambda: live.copy_(before)):
        changed = int((got != before).sum())
        make = failed if changed else passed
        yield make(f"{where}, {way}", f"{changed} words overwritten under a late reader")


def _runs(
    call: Callable[[int], Outputs], reset: Callable[[], object]
) -> Iterator[tuple[str, Outputs]]:
    """What a dependent call gives on a stream and in a graph, each after a reset."""
    with dependent_launches():
        call(0)  # compiled and loaded: the next one is launched while the copy waits
        torch.cuda.synchronize()
        reset()
        torch.cuda.synchronize()
        got = call(_ON_STREAM_NS)
        torch.cuda.synchronize()
        yield "on a stream", got
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            got = call(_IN_GRAPH_NS)
    reset()
    torch.cuda.synchronize()
    graph.replay()
    torch.cuda.synchronize()
    yield "in a graph", got
