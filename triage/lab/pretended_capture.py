"""A CUDA graph capture pretended on the CPU, in which a read of the device raises.

The failure: a check that brings a number to the host inside a capture ends the server
("Cannot copy between CPU and CUDA tensors during CUDA graph capture"), and on a CPU the
same line passes without a sound. The rule: inside `pretended_capture()` every tensor counts
as one on the device, and whatever of ours would wait for it, or copy to it from pageable
host memory, raises `HostRead` with the line that did it.

Judged is who asks: the innermost frame that is neither torch's, numpy's nor Triton's. SGLang
may read what it likes, since in the lab its tensors of the host and of the device are all on
the CPU; the eager twins stand for kernels and read by design.

Not covered: an index given as a Python list, and a device tensor mixed with one of the host.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from triage.device import capture
from triage.device.syncs import HostRead, SyncCounts, count_syncs

_OURS = Path(__file__).resolve().parent.parent
_TWINS = str(_OURS / "device" / "checker_eager.py"), "record_eager"
"""The eager twins of our kernels: a file, and a function beside its kernel."""
_FROM_HOST = ("tensor", "as_tensor", "from_numpy", "scalar_tensor")
_LIBRARIES = ("torch", "numpy", "triton", "contextlib", "unittest")


@contextmanager
def pretended_capture() -> Iterator[SyncCounts]:
    """`triage.device.capture.capturing()` is true inside, and a read by our code raises HostRead.

    The counts are of reads and launches by anybody; reads of ours raise before they count.
    """

    def judge(name: str) -> None:
        place = asked_by_us()
        if place:
            raise HostRead(f"{name} under a capture, at {place}")

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(capture, "capturing", _yes))
        for name in _FROM_HOST:
            made = getattr(torch, name)
            stack.enter_context(mock.patch.object(torch, name, _judged(name, made, judge)))
        yield stack.enter_context(count_syncs(on_read=judge))


def _yes() -> bool:
    return True


def _judged(name: str, call: Callable[..., Any], judge: Callable[[str], None]) -> Any:
    def made(*args: Any, **kwargs: Any) -> Any:
        if not (args and isinstance(args[0], torch.Tensor)):
            judge(f"torch.{name} of host memory")
        return call(*args, **kwargs)

    return made


def asked_by_us() -> str:
    """Where our code asks, as "file:line in function"; "" where somebody else or a twin does."""
    frame = sys._getframe(1)
    found = ""
    while frame is not None:
        code = frame.f_code
        path = code.co_filename
        if path in _TWINS or code.co_name in _TWINS:
            return ""
        if not found and path != __file__ and not _is_library(frame.f_globals.get("__name__", "")):
            found = f"{path}:{frame.f_lineno} in {code.co_name}"
            # The lab plays SGLang's part, the compiled wrappers ours.
            ours = path.startswith(str(_OURS)) and not path.startswith(str(_OURS / "lab"))
            if not ours and not path.startswith("<sglang-triage"):
                return ""
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES or module == "triage.device.syncs"
