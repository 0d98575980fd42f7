"""A launch of a kernel that is compiled, without Triton's look at the arguments.

`kernel[grid](...)` finds out at each call which of its compiled forms the arguments need: for a
kernel of eighteen arguments that is 12 us of a host's time, and 1.5 us to hand the launch over.
Where one form serves every call, it is kept and handed over directly. Tensors go as
addresses: of those the driver is not asked either whether it knows them.

Not told of these launches: a profiler that has put itself into Triton's launch hooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import triton
from triton.runtime import driver

HANDED_OVER_THE_SAME_WAY = ("3.6", "3.7")
"""Releases of Triton whose `CompiledKernel.run` was read: grid, stream, function, metadata, three
hooks, then every argument, the constexpr ones too. Any other release gets ordinary launches."""


class DirectLaunch:
    """`kernel` of one compiled form, on `device`.

    Args:
        kernel: a function of `triton.jit`; no integer argument may be specialised.
        arguments: of a first launch, of one program, which does no harm and which compiles.
    """

    def __init__(self, kernel: Any, device: torch.device, arguments: Sequence[Any]) -> None:
        self._kernel = kernel
        self._index = device.index or 0
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            compiled = kernel[(1, 1)](*arguments)
        self._run: Any = None
        self._handle: tuple[Any, ...] = ()
        release = ".".join(triton.__version__.split(".")[:2])
        # The interpreter returns nothing, a compilation in the background something else.
        if release in HANDED_OVER_THE_SAME_WAY and hasattr(compiled, "packed_metadata"):
            self._run = compiled.run
            self._handle = (compiled.function, compiled.packed_metadata, None, None, None)
            self._stream_of = driver.active.get_current_stream

    @property
    def direct(self) -> bool:
        """Does a launch pass Triton's look at the arguments by?"""
        return self._run is not None

    def __call__(self, across: int, down: int, *arguments: Any) -> None:
        """Of `across` times `down` programs, on the device's current stream. No sync.

        arguments: all of the kernel's, in order, the constexpr ones too.
        """
        if self._run is None:
            self._kernel[(across, down)](*arguments)
        else:
            stream = self._stream_of(self._index)
            self._run(across, down, 1, stream, *self._handle, *arguments)
