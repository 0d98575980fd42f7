"""What every fix offers: a probe of the installed SGLang, hooks, and a switch to turn it off.

A probe asks SGLang's own code, on uninitialised objects of SGLang's own classes, what it
would do; version strings are never compared. It allocates nothing on a device and
must not initialise CUDA, since the plugin runs it in launcher processes too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from triage.sglang.binding.hooks import Hook


class Need(StrEnum):
    NEEDED = "NEEDED"
    ALREADY_FIXED = "ALREADY_FIXED"
    NOT_APPLICABLE = "NOT_APPLICABLE"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether the installed SGLang needs a fix, and what was seen that says so."""

    need: Need
    reason: str

    def __str__(self) -> str:
        return f"{self.need.value}: {self.reason}"


def needed(reason: str) -> Probe:
    return Probe(Need.NEEDED, reason)


def already_fixed(reason: str) -> Probe:
    return Probe(Need.ALREADY_FIXED, reason)


def not_applicable(reason: str) -> Probe:
    return Probe(Need.NOT_APPLICABLE, reason)


SHAPE_ERRORS = (AssertionError, AttributeError, ImportError, KeyError, TypeError)
"""What SGLang's code raises on uninitialised objects where a release differs from those known."""


class Fix(ABC):
    """One correction. Armed from construction on; `uses` counts the times it changed something.

    name, what: as the user writes it, and one line on what it does.
    automatic: part of `auto`, which holds the correctness fixes only.
    conflicts: names of fixes that must not be on at the same time.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    automatic: ClassVar[bool] = True
    conflicts: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.armed = True
        self.uses = 0

    @staticmethod
    @abstractmethod
    def probe() -> Probe:
        """Ask the installed SGLang, which this imports. May raise one of SHAPE_ERRORS."""

    @classmethod
    def ask(cls) -> Probe:
        """`probe`, where an SGLang of a shape that it does not know is NOT_APPLICABLE."""
        try:
            return cls.probe()
        except SHAPE_ERRORS as error:
            what = f"{type(error).__name__}: {error}".rstrip(": ")
            return not_applicable(f"this SGLang is not understood ({what})")

    @abstractmethod
    def hooks(self) -> list[Hook]:
        """Where the fix stands, on the installed SGLang. Called only where it is NEEDED."""
