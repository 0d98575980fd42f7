"""Who called: SGLang's own frames above a hook, each distinct chain kept once.

The failure: evidence names a page, and nobody knows which of twenty callers of the
allocator gave it out. The rule: a chain of frames is a small number; what it says is
looked up when an error is made.

Cost: 2 to 3 us a call; no sync, legal under capture. Memory: one entry for each chain
of calls that ever occurred, `MOST` at most.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

FRAMES = 6
MOST = (1 << 15) - 1
"""Numbers of chains; the last one stands for all that came when the table was full."""

_DEEPEST = 60  # frames that are looked at
_PACKAGE = str(Path(__file__).resolve().parents[2]) + os.sep
_LAB = _PACKAGE + "lab" + os.sep
_AUDIT = _LAB + "audit.py"  # stands around the allocator as the hooks do
_NOBODYS = (f"{os.sep}sglang{os.sep}srt{os.sep}plugins{os.sep}", f"{os.sep}torch{os.sep}", "<")

_REQUEST = "req"
_NAMES = (_REQUEST, "batch", "schedule_batch")
"""What a caller of the allocator calls the request, or the batch, that it acts for."""

Chain = tuple[int, ...]  # id of code, instruction, id of code, ... innermost first


Requests = tuple[tuple[str, ...], tuple[int, ...]]
"""Ids of an event's requests, and how many of its slots are of each; () where not known."""


@dataclass(slots=True)
class Caller:
    """One look up the stack: the chain's number, and the request or the batch that the nearest
    frame which knows one acts for."""

    site: int
    request: Any
    batch: Any
    _known: tuple[int, Requests] | None = None

    def requests(self, slots: int) -> Requests:
        """Of an event of so many slots. Looked up once: a call moves them in both pools."""
        known = self._known
        if known is None or known[0] != slots:
            known = self._known = slots, _requests_of(self, slots)
        return known[1]


def _requests_of(caller: Caller, slots: int) -> Requests:
    if caller.request is not None:
        rid = getattr(caller.request, "rid", None)
        return ((str(rid),), (slots,)) if rid is not None else ((), ())
    requests = getattr(caller.batch, "reqs", None)
    if not requests:
        return (), ()
    try:
        ids = tuple([each.rid for each in requests])
    except AttributeError:
        ids = tuple([str(getattr(each, "rid", "")) for each in requests])
    if len(ids) == 1:
        return ids, (slots,)
    if len(ids) == slots:
        return ids, _ones(slots)
    lengths = getattr(caller.batch, "extend_lens", None) or ()
    if len(lengths) == len(ids) and sum(lengths) == slots:
        return ids, tuple(lengths)
    return ids, ()


@lru_cache(maxsize=1024)
def _ones(count: int) -> tuple[int, ...]:
    return (1,) * count


class CallSites:
    """The chains of a process. Number 0 is nobody's: nothing was recorded."""

    def __init__(self) -> None:
        self._numbers: dict[Chain, int] = {}
        self._chains: list[Chain] = [()]
        # By the code's id, and the code is kept: its hash goes through all of its instructions.
        self._kinds: dict[int, tuple[bool, str, CodeType]] = {}

    def caller(self, frame: FrameType | None = None) -> Caller:
        """Who called the function that asks, and for which requests if a frame says so.

        frame: the frame of a function that asks later, while it still runs.
        """
        kinds = self._kinds
        chain: list[int] = []
        request = batch = None
        above: FrameType | None = sys._getframe(1) if frame is None else frame
        left = FRAMES
        for _ in range(_DEEPEST):
            if above is None or not left:
                break
            code = above.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = kinds[id(code)] = (*_kind_of(code), code)
            if kind[0]:
                left -= 1
                chain.append(id(code))
                chain.append(above.f_lasti)
                name = kind[1]
                if name and request is None and batch is None:
                    known = above.f_locals.get(name)
                    if name == _REQUEST:
                        request = known
                    else:
                        batch = known
            above = above.f_back
        return Caller(self._number(tuple(chain)), request, batch)

    def frames(self, number: int) -> tuple[str, ...]:
        """`mem_cache/common.py:321 alloc_for_decode`, innermost first; empty if not recorded."""
        if number >= MOST:
            return ("more chains of calls than are kept",)
        if not 0 <= number < len(self._chains):
            return ()
        chain = self._chains[number]
        return tuple(
            f"{_short(code.co_filename)}:{_line(code, at)} {code.co_qualname}"
            for number, at in zip(chain[::2], chain[1::2], strict=True)
            for code in (self._kinds[number][2],)
        )

    def _number(self, chain: Chain) -> int:
        number = self._numbers.get(chain)
        if number is None:
            if len(self._chains) >= MOST:
                return MOST
            number = self._numbers[chain] = len(self._chains)
            self._chains.append(chain)
        return number


def _kind_of(code: CodeType) -> tuple[bool, str]:
    """Is it a frame to tell of, and which argument of it names whom it acts for?"""
    name = code.co_filename
    ours = name.startswith(_PACKAGE) and (not name.startswith(_LAB) or name == _AUDIT)
    if ours or any(part in name for part in _NOBODYS):
        return False, ""
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known = next((each for each in _NAMES if each in arguments), "")
    if not known and arguments[:1] == ("self",) and code.co_qualname.startswith("ScheduleBatch."):
        known = "self"
    return True, known


def _short(path: str) -> str:
    """Below SGLang's `srt`, else below the package, else the file's name: no path of a machine."""
    for mark in (f"{os.sep}sglang{os.sep}srt{os.sep}", _PACKAGE):
        _, found, below = path.rpartition(mark)
        if found:
            return below
    return Path(path).name


def _line(code: CodeType, instruction: int) -> int:
    lines: Callable[[], Any] = code.co_lines
    for start, stop, line in lines():
        if start <= instruction < stop and line is not None:
            return int(line)
    return code.co_firstlineno
