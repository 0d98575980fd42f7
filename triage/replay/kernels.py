"""The kernels that replay knows: one table, from which CLI, engine and tests read.

A kernel is a function `(dump, fix) -> Verdict`. Only the emulator runs in the
calling process: it is numpy, and its verdict is a deduction.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from triage.dump.sections import Dump
from triage.errors import ReplayError, did_you_mean
from triage.replay.verdict import Basis, Verdict

KernelRun = Callable[[Dump, str], Verdict]


class Kernel(NamedTuple):
    """`entry` is "module:function"; `needs_gpu` names the GPU it needs, empty for none.

    packages: what its process imports; asked before one is started.
    """

    entry: str
    basis: Basis
    needs_gpu: str = ""
    packages: tuple[str, ...] = ()


KERNELS = {
    "emulator": Kernel("triage.replay.deduction:deduce", Basis.DEDUCED),
    "eager": Kernel("triage.replay.eager:run_eager", Basis.EXECUTED, packages=("torch",)),
    "triton": Kernel(
        "triage.replay.triton_paged:run_triton", Basis.EXECUTED, packages=("torch", "triton")
    ),
    "fa2": Kernel("triage.replay.flashinfer_kernels:run_fa2", Basis.EXECUTED, "sm_80 or newer"),
    "fa3": Kernel("triage.replay.flashinfer_kernels:run_fa3", Basis.EXECUTED, "sm_90"),
    "xqa": Kernel("triage.replay.flashinfer_kernels:run_xqa", Basis.EXECUTED, "sm_90/100/120"),
    "trtllm-gen": Kernel(
        "triage.replay.flashinfer_kernels:run_trtllm_gen", Basis.EXECUTED, "sm_100/103"
    ),
}

EMULATOR = "emulator"
ON_A_CPU = tuple(name for name, kernel in KERNELS.items() if not kernel.needs_gpu)

ALWAYS_SHOWN = "trtllm-gen"
"""The kernel that crashed: every replay says what it would take to run it."""


def select(names: Sequence[str]) -> list[str]:
    """The kernels asked for, in the table's order; `all` is every one.

    Raises:
        ReplayError: for a name that is not known, with the list of known ones.
    """
    unknown = [name for name in names if name not in KERNELS and name != "all"]
    if unknown:
        known = ", ".join([*KERNELS, "all"])
        raise ReplayError(
            f"unknown kernel {unknown[0]!r}{did_you_mean(unknown[0], KERNELS)}; known: {known}"
        )
    wanted = set(KERNELS) if "all" in names else {*names, ALWAYS_SHOWN}
    return [name for name in KERNELS if name in wanted]


def load(name: str) -> KernelRun:
    module, _, function = KERNELS[name].entry.partition(":")
    run: KernelRun = getattr(importlib.import_module(module), function)
    return run


def absent(packages: Sequence[str]) -> list[str]:
    """Those that are not installed. None is imported: a broken one is for its child to tell."""
    return [name for name in packages if not _installed(name)]


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a finder that refuses it; a module without a spec
        return False


def gpu_present() -> bool:
    """Is there an NVIDIA device at all? Asked of the driver's files, so that no torch is needed."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()
