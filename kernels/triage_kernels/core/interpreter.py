"""Choosing between Triton's CPU interpreter and its compiler.

Triton reads `TRITON_INTERPRET` when a kernel is decorated, so the choice must
fall before `triton` is first imported and cannot be taken back in one process.
"""

from __future__ import annotations

import os
import sys

from triage_kernels.core.errors import InterpreterError

VARIABLE = "TRITON_INTERPRET"


def interpreting() -> bool:
    """Whether kernels decorated now would be interpreted."""
    return os.environ.get(VARIABLE, "0") == "1"


def use_device(device: str) -> None:
    """Prepare this process for running kernels on `device` ("cpu" or "cuda").

    Raises:
        InterpreterError: triton was imported before, in the other mode.
    """
    wanted = device == "cpu"
    if wanted == interpreting():
        return
    if "triton" in sys.modules:
        mode = "compiled" if wanted else "interpreted"
        raise InterpreterError(
            f"triton is already loaded for {mode} kernels, device {device!r} needs the other mode; "
            f"start a fresh process {'with' if wanted else 'without'} {VARIABLE}=1"
        )
    if wanted:
        os.environ[VARIABLE] = "1"
    else:
        os.environ.pop(VARIABLE, None)
