"""A driver: one Python file that plants one defect and says itself when the state is first wrong.

docs/how-to/blind-round.md is for those who write one.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from triage.errors import LabError

Harmed = Callable[[str], None]
"""Called by a driver's oracle at the first wrong event, with words of its own."""

_TEXTS = ("NAME", "REFERENCE", "SUBSYSTEM", "WHAT")
ANY_RELEASE = "all"


@dataclass(frozen=True, slots=True)
class Expected:
    """By what a person judges the cause that is named. keywords: one of them is in a right one."""

    sentence: str
    keywords: tuple[str, ...] = ()

    def meets(self, answer: str) -> bool:
        """Does a keyword stand in `answer`? A hint for the judge, no judgement."""
        folded = " ".join(answer.lower().split())
        return any(" ".join(word.lower().split()) in folded for word in self.keywords)


@dataclass(frozen=True, slots=True)
class Driver:
    """One defect, how it is planted, and what runs meanwhile.

    plant: a context in which SGLang has the defect; it is given `harmed`.
    applies: why it cannot be played on an SGLang, "" if it can.
    drive: a script instead of the workload, given a `Stage`, or None.
    corrected: a context that has upstream's fix, where the defect is in the release itself.
    """

    name: str
    reference: str
    subsystem: str
    what: str
    releases: tuple[str, ...]
    expected: Expected
    plant: Callable[[Harmed], AbstractContextManager[Any]]
    applies: Callable[[str], str]
    workload: Mapping[str, Any] = field(default_factory=dict)
    drive: Callable[[Any], None] | None = None
    corrected: Callable[[], AbstractContextManager[Any]] | None = None


def read(file: Path) -> Driver:
    """Import `file`, which runs it. Raises LabError naming what it lacks, or its own error."""
    module = _imported(file)
    texts = {name: _text(module, name, file) for name in _TEXTS}
    expected = getattr(module, "EXPECTED", None)
    if not isinstance(expected, dict) or not isinstance(expected.get("sentence"), str):
        raise LabError(f"{file.name}: EXPECTED has to be a dict with a 'sentence'")
    plant = getattr(module, "plant", None)
    if not callable(plant):
        raise LabError(f"{file.name} has no plant(harmed)")
    drive, workload = getattr(module, "drive", None), getattr(module, "WORKLOAD", None)
    if drive is None and workload is None:
        raise LabError(f"{file.name} has neither a WORKLOAD nor drive(lab)")
    return Driver(
        name=file.stem,
        reference=texts["REFERENCE"],
        subsystem=texts["SUBSYSTEM"],
        what=texts["WHAT"],
        releases=_several(getattr(module, "RELEASES", (ANY_RELEASE,))),
        expected=Expected(expected["sentence"], _several(expected.get("keywords", ()))),
        plant=plant,
        applies=getattr(module, "applies", lambda version: ""),
        workload=dict(workload or {}),
        drive=drive,
        corrected=getattr(module, "corrected", None),
    )


def releases_of(file: Path) -> tuple[str, ...]:
    """RELEASES as the file spells it, without running it: SGLang is imported once a process.

    Where it is no literal, or the file cannot be parsed: any release.
    """
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError):
        return (ANY_RELEASE,)  # the player says what is wrong
    for statement in body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "RELEASES" for target in statement.targets
        ):
            try:
                return _several(ast.literal_eval(statement.value))
            except ValueError:
                break
    return (ANY_RELEASE,)


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"blind_{file.stem.replace('-', '_')}", file)
    if spec is None or spec.loader is None:
        raise LabError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # somebody else's file: whatever it raises is its own
        raise LabError(
            f"{file.name} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    return module


def _text(module: ModuleType, name: str, file: Path) -> str:
    found = getattr(module, name, None)
    if not isinstance(found, str) or not found.strip():
        raise LabError(f"{file.name}: {name} has to be a text, not {found!r}")
    return found


def _several(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))
