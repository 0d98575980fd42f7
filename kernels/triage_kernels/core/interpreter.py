"""Choosing between Triton's CPU interpreter and its compiler.

Triton reads `TRITON_INTERPRET` when a kernel is decorated, so the choice must
fall before `triton` is first imported and cannot be taken back in one process.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

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


@functools.cache
def patch_once_a_launch() -> None:
    """Let Triton's interpreter patch its language once a launch, not at each helper's call.

    A launch patches `triton.language` for as long as it runs; every call of a helper from
    within it does so again, which is most of the time of a kernel that has helpers. Where
    the interpreter is built otherwise than in 3.7 nothing is changed.
    """
    from triton.runtime import interpreter

    kind = getattr(interpreter, "InterpretedFunction", None)
    if kind is None or not hasattr(interpreter, "_patch_lang") or not hasattr(kind, "rewrite"):
        return

    language = sys.modules["triton.language"]
    original = kind.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        # Triton's own helpers see the language under another name, and patch that.
        if any(value is language.core for value in self.fn.__globals__.values()):
            return original(self, *args, **kwargs)
        try:
            return self.rewrite()(*args, **kwargs)
        except Exception as error:  # as Triton's own: whatever a kernel raises is wrapped
            raise interpreter.InterpreterError(repr(error)) from error

    kind.__call__ = call
