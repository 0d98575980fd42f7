"""Which calls are a hook's own, and the error that is raised at them.

To show that an error of ours changes nothing of what SGLang does, one is raised at a call
that a hook makes. Which those are is read off the stack: a function of this toolkit that was
entered below a shell, unless SGLang's own function was called in between.
"""

from __future__ import annotations

from pathlib import Path
from types import FrameType

import triage

HERE = str(Path(triage.__file__).parent) + "/"
LAB = HERE + "lab/"
WRAPPER = "<sglang-triage around "
SHELLS = ("shelled", "_context")
TO_HOLD = ("binding/shell.py", "binding/verdicts.py")
LINKS = "_chain.<locals>.around"
"""What catches, and so is not spoiled itself: these files, and what links hooks of one target."""
JUDGED = "trap_error"
"""Everything runs below it from the moment a check has found something."""
STANDS_FOR_HOOKS = LAB + "steps.py"
DEEPEST = 80


class Injected(RuntimeError):
    """An error that none of our code expects."""


def is_ours(frame: FrameType) -> bool:
    """Is this frame a call that a hook of ours makes?"""
    name = frame.f_code.co_filename
    if not name.startswith(HERE) or name.startswith(LAB):
        return False
    if name.endswith(TO_HOLD) or frame.f_code.co_qualname == LINKS:
        return False
    above = frame.f_back
    for _ in range(DEEPEST):
        if above is None:
            return False
        name = above.f_code.co_filename
        if above.f_code.co_name in SHELLS or name.startswith(WRAPPER):
            return True
        lab = name.startswith(LAB) and name != STANDS_FOR_HOOKS
        if lab or above.f_code.co_qualname == "Original.__call__":
            return False
        above = above.f_back
    return False


def is_judged(frame: FrameType | None) -> bool:
    """Has a check found something by now, further up the stack?"""
    while frame is not None:
        if frame.f_code.co_name == JUDGED:
            return True
        frame = frame.f_back
    return False
