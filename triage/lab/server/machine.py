"""What a server would find on this machine: the GPU, its free memory, SGLang's release.

Asked without importing torch or SGLang into this process: `nvidia-smi` for the GPU, and
where there is none of it, torch in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import dataclass

from triage.errors import LabError
from triage.lab.server import flags

OLDEST = "0.5.12"
"""The first SGLang with plugins and Gemma-4's MTP assistant."""

_ASK_TORCH = """
import json, torch
free, total = torch.cuda.mem_get_info()
print(json.dumps([torch.cuda.get_device_name(), torch.cuda.get_device_capability(), free, total]))
"""


class CannotServe(LabError):
    """No server can run here: one sentence with the reason. Exit code 3 of the command line."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first visible GPU. Memory in bytes."""

    name: str
    capability: tuple[int, int]
    free: int
    total: int

    @property
    def arch(self) -> str:
        return f"sm_{self.capability[0]}{self.capability[1]}"


@dataclass(frozen=True, slots=True)
class Machine:
    """The GPU and the releases that a server here would run with."""

    gpu: Gpu
    sglang: str
    flashinfer: str | None


def examine() -> Machine:
    """This machine. Raises CannotServe without SGLang, with one too old, or without a GPU."""
    sglang = _version("sglang")
    if sglang is None:
        raise CannotServe(
            "no SGLang is installed here, so there is no server to start: pip install sglang"
        )
    if flags.release(sglang) < flags.release(OLDEST):
        raise CannotServe(
            f"SGLang {sglang} is too old: plugins and Gemma-4's assistant came with {OLDEST}"
        )
    return Machine(gpu(), sglang, _version("flashinfer-python"))


def elsewhere(arch: str) -> Machine:
    """A machine with a GPU of this architecture, the releases of this one, and memory enough.

    arch: "sm_90" and so on. Raises LabError for anything else.
    """
    number = arch.removeprefix("sm_")
    if not number.isdecimal() or len(number) < 2 or number == arch:
        raise LabError(f"{arch!r} is no GPU architecture; such as sm_90, sm_100, sm_120")
    unlimited = 2**60
    there = Gpu("a GPU elsewhere", (int(number[:-1]), int(number[-1])), unlimited, unlimited)
    return Machine(there, _version("sglang") or "0.5.18", _version("flashinfer-python"))


def gpu() -> Gpu:
    """The first visible GPU. Raises CannotServe where there is none."""
    found = _from_nvidia_smi() or _from_torch()
    if found is None:
        raise CannotServe(
            "no NVIDIA GPU is visible here; `triage lab run` drives SGLang's classes on a CPU"
        )
    return found


def gpus() -> int:
    """How many GPUs a server here would see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([each for each in visible.split(",") if each.strip() not in ("", "-1")])
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 1  # one was found; of others only torch could tell
    return max(len(done.stdout.splitlines()), 1)


def need_memory(gpu: Gpu, needed: int) -> None:
    """Raise CannotServe unless `needed` bytes are free on the GPU."""
    if gpu.free < needed:
        raise CannotServe(
            f"{gpu.name} has {gpu.free / 2**30:.1f} of {gpu.total / 2**30:.1f} GiB free, and this "
            f"model needs about {needed / 2**30:.1f}: free some, or serve it --small"
        )


def _from_nvidia_smi() -> Gpu | None:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return None
    which = ["-i", visible.split(",")[0].strip()] if visible else []
    query = "--query-gpu=name,compute_cap,memory.free,memory.total"
    try:
        done = subprocess.run(
            ["nvidia-smi", *which, query, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=30,
        )
        name, capability, free, total = done.stdout.splitlines()[0].rsplit(",", 3)
        major, minor = capability.strip().split(".")
        mib = 2**20
        return Gpu(name.strip(), (int(major), int(minor)), int(free) * mib, int(total) * mib)
    except (OSError, subprocess.TimeoutExpired, LookupError, ValueError):
        return None


def _from_torch() -> Gpu | None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, timeout=120
        )
        name, (major, minor), free, total = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, LookupError, ValueError):
        return None
    return Gpu(name, (major, minor), free, total)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
