"""How many calls of our own a piece of SGLang's work makes: a cost that every machine counts alike.

A figure in microseconds varies by half from run to run on a machine that others use. The number
of Python functions entered does not vary at all, and a call is about a tenth of a microsecond.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGE = str(Path(__file__).resolve().parents[1])
_BENCH = str(Path(__file__).resolve().parent)
_WRITTEN_OUT = "<sglang-triage"


def own_calls(call: Callable[[], Any]) -> int:
    """Functions of this package that `call()` enters, those of the benchmarks left out.

    Generators count each time they go on. Not from inside a profiler: it is put aside meanwhile.
    """
    entered = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal entered
        name = frame.f_code.co_filename
        if event == "call" and name.startswith((_PACKAGE, _WRITTEN_OUT)):
            entered += not name.startswith(_BENCH)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return entered
