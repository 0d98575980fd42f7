"""Count what a stretch of code launches, and every point where it waits for the device.

A CPU shows no cost for a host read, so a hot path is proven free of them by
counting, not by timing. `count_syncs()` sees each operator that torch
dispatches and the few calls that bypass the dispatcher. On a GPU,
`torch.cuda.set_sync_debug_mode("error")` says the same about CUDA's own view.

What counts as a host read is decided as if every tensor lived on a GPU: a
copy to pinned memory with `non_blocking=True` does not wait, one without it
does; a result whose size depends on values (nonzero, unique, a boolean mask
as index) waits; `item`, `tolist`, `bool(t)` wait.

Not covered: what C++ code waits for without dispatching, and Triton launches
unless they are reported with `SyncCounts.launched`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

HOST_READS = frozenset(
    {
        "aten::_local_scalar_dense",
        "aten::item",
        "aten::nonzero",
        "aten::nonzero_static",
        "aten::masked_select",
        "aten::_unique",
        "aten::_unique2",
        "aten::unique_dim",
        "aten::unique_consecutive",
        "aten::is_nonzero",
        "aten::equal",
        "aten::bincount",
        "aten::repeat_interleave.Tensor",
    }
)
"""Operators whose result the host needs before it can go on."""

NO_LAUNCH = frozenset(
    {
        "aten::alias",
        "aten::as_strided",
        "aten::detach",
        "aten::empty.memory_format",
        "aten::empty_like",
        "aten::empty_strided",
        "aten::expand",
        "aten::lift_fresh",
        "aten::new_empty",
        "aten::permute",
        "aten::reshape",
        "aten::resize_",
        "aten::select.int",
        "aten::slice.Tensor",
        "aten::split.Tensor",
        "aten::squeeze.dim",
        "aten::t",
        "aten::transpose.int",
        "aten::unbind.int",
        "aten::unsqueeze",
        "aten::view",
        "aten::view.dtype",
        "aten::_unsafe_view",
    }
)
"""Operators that only make a view or reserve memory."""


@dataclass
class SyncCounts:
    """What happened inside one `count_syncs()`.

    host_reads: operators and calls that would wait for a GPU, by name.
    launches: operators that would launch work on a GPU, by name; Triton kernels
        as far as `launched` was told.
    """

    host_reads: Counter[str] = field(default_factory=Counter)
    launches: Counter[str] = field(default_factory=Counter)

    @property
    def total_host_reads(self) -> int:
        return self.host_reads.total()

    @property
    def total_launches(self) -> int:
        return self.launches.total()

    def launched(self, kernel: str) -> None:
        """Report a launch that torch does not dispatch, such as a Triton kernel."""
        self.launches[kernel] += 1


class HostRead(AssertionError):
    """A host read on a path that was declared free of them."""


class _Counting(TorchDispatchMode):
    def __init__(self, counts: SyncCounts, on_read: Callable[[str], None]) -> None:
        super().__init__()
        self._counts = counts
        self._on_read = on_read

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.name()
        reason = _host_read(name, args, kwargs or {})
        if reason is not None:
            self._on_read(reason)
        elif name not in NO_LAUNCH:
            self._counts.launches[name] += 1
        return func(*args, **(kwargs or {}))


def _host_read(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    if name in HOST_READS:
        return name
    if name.startswith(("aten::index.", "aten::index_put", "aten::_index_put")):
        indices = args[1]
        if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
            return f"{name} with a boolean mask"
    if name == "aten::copy_":
        target, source = args[0], args[1]
        non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if target.device.type == "cpu" and source.device.type == "cuda" and not non_blocking:
            return "blocking copy to the host"
    if name == "aten::_to_copy":
        device = kwargs.get("device")
        leaves = args[0].device.type == "cuda" and device is not None and device.type == "cpu"
        if leaves and not kwargs.get("non_blocking", False):
            return "blocking copy to the host"
    return None


_WAITING_CALLS: tuple[tuple[Any, str, str], ...] = (
    (torch.Tensor, "tolist", "Tensor.tolist"),
    (torch.Tensor, "numpy", "Tensor.numpy"),
    (torch.Tensor, "cpu", "Tensor.cpu"),
    (torch.cuda, "synchronize", "torch.cuda.synchronize"),
    (torch.cuda.Stream, "synchronize", "Stream.synchronize"),
    (torch.cuda.Event, "synchronize", "Event.synchronize"),
)


def _waiting(name: str, call: Callable[..., Any], on_read: Callable[[str], None]) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        on_read(name)
        with torch.utils._python_dispatch._disable_current_modes():
            return call(*args, **kwargs)

    return counted


@contextmanager
def count_syncs(
    *, forbid: bool = False, on_read: Callable[[str], None] | None = None
) -> Iterator[SyncCounts]:
    """Count host reads and launches of everything inside.

    Args:
        forbid: raise `HostRead` at the first host read, with the operator's name,
            so that the traceback points at the line.
        on_read: called with that name before the read; it may raise.
    Cost: some microseconds per operator; one counter at a time per thread is enough.
    Python calls that wait (tolist, numpy, cpu, synchronize) are replaced for the
    duration on their classes, so code in other threads is counted too.
    """
    counts = SyncCounts()

    def read(name: str) -> None:
        if on_read is not None:
            on_read(name)
        counts.host_reads[name] += 1
        if forbid:
            raise HostRead(f"{name} waits for the device on a path that must not")

    with ExitStack() as stack:
        for owner, attribute, name in _WAITING_CALLS:
            call = getattr(owner, attribute)
            stack.enter_context(mock.patch.object(owner, attribute, _waiting(name, call, read)))
        stack.enter_context(_Counting(counts, read))
        yield counts
