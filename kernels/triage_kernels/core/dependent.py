"""Programmatic dependent launch (PDL): a kernel begins while the one before it still runs.

At few rows a kernel is shorter than what lies between it and its neighbours. Launched this way
(sm_90 and later) it is put on the processors as the kernel before it leaves them, computes its
addresses and reads its weights, and then waits. What holds for every kernel here:

- `wait_for_previous` runs in every program, and before anything is written and anything but
  weights is read. Nothing that the kernel before writes is read early, and nothing that it
  still reads is written early.
- The next kernel is let in right behind that wait and no sooner: it may count on all kernels
  but its neighbour being over. A kernel let in before the wait could not, and others' attention
  kernels read what was written two launches before theirs.
- Since everybody waits, who waits for its neighbour has waited for all before it.
- Weights are read ahead of the wait, so the launch in front must not have written them. A
  tensor that the launcher itself has just copied (`alignment.aligned`) is marked, and a launch
  that has one is a plain one. The same holds for a server: between an update of its weights and
  a norm lie launches of others.

Off until asked for. The interpreter, older GPUs and `torch.compile` have the plain launch; both
give the same bits, since the arithmetic is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.interpreter import interpreting

OLDEST = (9, 0)
"""Compute capability of the first GPUs with such launches."""

_COPIED = "_triage_kernels_just_copied"
_on = False


@triton.jit
def wait_for_previous(PDL: tl.constexpr):
    """Wait until the launch before is over and its writes are seen; then let the next one in."""
    if PDL:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


def switch_dependent_launches(on: bool) -> None:
    """Launch this way from now on, in the whole process, where the GPU has it; or no longer."""
    global _on
    _on = on


@contextmanager
def dependent_launches(on: bool = True) -> Iterator[None]:
    """The same for a while. Graphs captured meanwhile stay as they were captured."""
    before = _on
    switch_dependent_launches(on)
    try:
        yield
    finally:
        switch_dependent_launches(before)


def switched_on() -> bool:
    """Were dependent launches asked for? Whether there are any, `why_not` says."""
    return _on


@functools.cache
def why_not() -> str:
    """Why no launch can be dependent here; empty where one can. Asks the GPU, once."""
    if interpreting():
        return "kernels are interpreted"
    if torch.version.cuda is None or not torch.cuda.is_available():
        return "no CUDA device"
    oldest = min(map(torch.cuda.get_device_capability, range(torch.cuda.device_count())))
    if oldest < OLDEST:
        return f"the GPU is sm_{oldest[0]}{oldest[1]}, dependent launches begin with sm_90"
    if not hasattr(tl.extra.cuda, "gdc_wait"):
        return f"Triton {triton.__version__} has no gdc_wait"
    return ""


def mark_copied(tensor: Tensor) -> Tensor:
    """`tensor`, which a launch has written that may still run when the next one begins."""
    setattr(tensor, _COPIED, True)
    return tensor


def may_overlap(args: Sequence[Any]) -> bool:
    """Is a launch with these arguments to be dependent? Host only: asks no stream."""
    if not _on or torch.compiler.is_compiling():
        return False
    return not any(isinstance(arg, Tensor) and hasattr(arg, _COPIED) for arg in args)
