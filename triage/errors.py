"""The error family, and how an error of our own code is told. Imports nothing of ours.

TriageError
├── ConfigError           an environment variable does not parse
├── InstallError          a trap or fix that was asked for cannot be bound
│   └── UnsupportedSGLang the installed SGLang is missing or not understood
├── TrapError             an invariant does not hold; carries the evidence
│   ├── OutOfBounds       an index lies outside its half-open range     (I1, I20)
│   ├── WrongIndexSpace   an index belongs to another pool              (I2)
│   ├── TableForm         a table or lengths the kernel would misread   (I12, I26)
│   ├── StaleSWAState     a backend's SWA state is not its pool's
│   ├── WrongOutput       a kernel's output is not that of what it read (I28)
│   └── BrokenLifecycle   a page, row or state moved as it must not     (all others)
├── DumpError             a file is not a dump we can read, or cannot be written
├── ReplayError           a replay was asked for something it does not know
└── LabError              a lab scenario was asked for something it does not know
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from triage.evidence import Evidence


class TriageError(Exception):
    """Base of everything this toolkit raises on purpose."""


class ConfigError(TriageError):
    """An environment variable does not parse: names variable, value and what is accepted."""


class InstallError(TriageError):
    """A trap or fix that was asked for cannot be bound; nothing was changed."""


class UnsupportedSGLang(InstallError):
    """SGLang is missing or of a shape we do not understand: names what was found."""


class TrapError(TriageError):
    """An invariant does not hold; `evidence` says which, where and by how much.

    note: further lines for the reader. dump: path of the dump, "" if none was written.
    """

    def __init__(self, evidence: Evidence, note: str = "", dump: str = "") -> None:
        super().__init__(evidence, note, dump)  # args rebuild the error, so it survives pickling
        self.evidence = evidence
        self.note = note
        self.dump = dump

    def __str__(self) -> str:
        parts = (self.evidence.headline(), self.evidence.whose_hand(), self.note)
        return "\n".join(part for part in parts if part)


class OutOfBounds(TrapError):
    """An index lies outside its half-open range (I1, I20)."""


class WrongIndexSpace(TrapError):
    """An index is in range but belongs to another pool, request or position (I2)."""


class TableForm(TrapError):
    """A table or length tensor that the kernel would misread: form (I26), lengths (I12)."""


class StaleSWAState(TrapError):
    """A backend's cached SWA state is not that of the pool it is about to read."""


class WrongOutput(TrapError):
    """A kernel's output is not what the pages that it read give (I28)."""


class BrokenLifecycle(TrapError):
    """A page, a row or a piece of state moved in a way that contradicts what went before."""


class DumpError(TriageError):
    """The file is not a dump we can read, or cannot be written; says why in one sentence."""


class ReplayError(TriageError):
    """A replay was asked for something it does not know; lists what it knows."""


class LabError(TriageError):
    """The lab was asked for something it does not know; lists what it knows."""


def type_and_place(error: BaseException) -> str:
    """Its type and where in our code it came from; not its text, which may be anybody's."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "triage" in code.co_filename:
            where = f" in {code.co_qualname} (line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}{where}"


def log_own_error(message: str, *values: object, error: BaseException) -> None:
    """At ERROR with the traceback; a log that cannot be written to changes nothing."""
    try:
        logging.getLogger("triage").error(message, *values, exc_info=error)
    except Exception:  # a handler of somebody's: nothing is left to tell it to
        return


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ " (did you mean X?)" where a name of `known` is close to `name`, else nothing."""
    import difflib  # for an error only: a server that asks for nothing imports as little

    by_case = {each.lower(): each for each in known}
    asked = name.strip().lower()
    close = difflib.get_close_matches(asked, by_case, n=1, cutoff=0.6)
    close = close or [each for each in by_case if len(asked) > 2 and asked in each][:1]
    return f" (did you mean {by_case[close[0]]}?)" if close else ""
