"""Where and under what a dump was made: versions, process, device, environment."""

from __future__ import annotations

import functools
import os
import platform
import socket
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "AUTH")
_ENVIRONMENT = ("SGLANG_", "FLASHINFER_", "CUDA_", "TRITON_", "NCCL_", "TORCH_", "PYTORCH_")
_PACKAGES = ("sglang", "flashinfer-python", "torch", "triton", "sglang-triage", "transformers")


def provenance() -> dict[str, Any]:
    """Versions, process, device and the environment minus anything that looks secret."""
    facts: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "rank": os.environ.get("RANK", ""),
        "python": platform.python_version(),
        "command": Path(sys.argv[0]).name,
        "versions": {name: found for name in _PACKAGES if (found := _version(name))},
        "environment": {
            name: text
            for name, text in sorted(os.environ.items())
            if name.startswith(_ENVIRONMENT) and not any(word in name for word in _SECRET)
        },
    }
    facts.update(_gpu())
    return facts


@functools.cache
def _gpu() -> dict[str, Any]:
    """Asked once, before anything went wrong: a lost device answers no more."""
    if not torch.cuda.is_available():
        return {"gpu": "none"}
    device = torch.cuda.current_device()
    major, minor = torch.cuda.get_device_capability(device)
    return {
        "gpu": torch.cuda.get_device_name(device),
        "arch": f"sm_{major}{minor}",
        "sm_count": torch.cuda.get_device_properties(device).multi_processor_count,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
