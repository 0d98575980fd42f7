"""What may be told of an exception: its type, and which of CUDA's errors it names.

An exception's text may hold a prompt. CUDA's own sentences are few and hold nothing of a
user's, and which of them ended a server is the first thing that a reader wants to know.
"""

from __future__ import annotations

import re

CUDA_ERRORS = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "device-side assert triggered",
    "misaligned address",
    "unspecified launch failure",
    "operation not supported on global/shared address space",
    "invalid device context",
    "invalid argument",
    "invalid configuration argument",
    "hardware stack error",
    "uncorrectable ECC error encountered",
    "out of memory",
    "the launch timed out and was terminated",
    "operation not permitted when stream is capturing",
)

WRONG_ADDRESS = CUDA_ERRORS[0], "operation not supported on global/shared address space"
"""What a read at an address that is no memory's ends in; the second where the address falls into
a window that the GPU keeps for shared or local memory."""

_LEFT = re.compile(
    r"[A-Za-z_]\w{0,80} left [A-Za-z_][\w. ]{0,80}( \((" + "|".join(CUDA_ERRORS) + r")\))?"
)
_TYPE = re.compile(r"[A-Za-z_]\w{0,80}")


def described(kind: str, text: str, where: str) -> str:
    """`RuntimeError left Scheduler.run_event_loop (an illegal memory access was encountered)`.

    Args:
        kind: the exception's type; text: what it says, of which only CUDA's sentence is told.
    """
    name = kind if _TYPE.fullmatch(kind) else "an exception"
    lower = text.lower()
    found = next((each for each in CUDA_ERRORS if each.lower() in lower), "")
    return f"{name} left {where}" + (f" ({found})" if found else "")


def is_ours(sentence: str) -> bool:
    """Was `sentence` made by `described`?"""
    return _LEFT.fullmatch(sentence) is not None
