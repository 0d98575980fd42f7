"""What a rule answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple


class Confidence(IntEnum):
    """HIGH: no other known class leaves this evidence. MEDIUM: one more fact would settle it."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Citation(NamedTuple):
    """One entry that shows the cause; `expected` is None where it is not known."""

    row: int
    column: int
    value: int
    expected: int | None
    tensor: str = "page_table"


@dataclass(frozen=True, slots=True)
class Cause:
    """One class of defect that fits the dump."""

    key: str
    name: str
    confidence: Confidence
    evidence: tuple[str, ...]
    refuted_by: tuple[str, ...]
    fix: str
    links: tuple[str, ...] = ()
    rows: tuple[Citation, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.name,
            "confidence": self.confidence.name.lower(),
            "evidence": list(self.evidence),
            "rows": [citation._asdict() for citation in self.rows],
            "refuted_by": list(self.refuted_by),
            "fix": self.fix,
            "links": list(self.links),
        }
