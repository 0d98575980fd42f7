"""What a rule answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from triage.evidence import Violation


class Confidence(IntEnum):
    """How sure a named class is.

    HIGH: every fact that the class needs or is told by was recorded and agrees, nothing that
        another tool saw leads away from it, and no other known class leaves these facts.
    MEDIUM: the facts that it needs agree, but one that would tell it from another class is not
        recorded, or another class fits as well.
    LOW: nothing contradicts it, and nothing but exposure speaks for it.
    """

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Citation(NamedTuple):
    """One entry that shows the cause; `expected` is None where it is not known.

    request: row of `req_to_token`, None where not recorded. request_id: whose it was, as it
        may be told; empty where not recorded.
    of_table: an entry of the launch's table; False for one that a check reported.
    """

    row: int
    column: int
    value: int
    expected: int | None
    tensor: str = "block_tables"
    request: int | None = None
    request_id: str = ""
    of_table: bool = True

    @classmethod
    def of(cls, seen: Violation) -> Citation:
        return cls(
            *(seen.row, seen.column, seen.value, seen.expected, seen.tensor),
            *(seen.req_pool_index, seen.request_id, False),
        )


@dataclass(frozen=True, slots=True)
class Cause:
    """One class of defect that fits the dump.

    not_recorded: facts that would make it surer and that the dump does not hold.
    rows: every entry that shows it, one of each row of a launch, or those that the fault kept.
    rows_total: how many there were, where not all were kept; 0 where `rows` is all of them.
    missing: facts that the class needs and that the dump does not hold; it is not named then.
    """

    key: str
    name: str
    confidence: Confidence
    evidence: tuple[str, ...]
    refuted_by: tuple[str, ...]
    fix: str
    links: tuple[str, ...] = ()
    rows: tuple[Citation, ...] = ()
    not_recorded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    rows_total: int = 0
    of_table: bool = True  # False: the class says that the table does not lead to the fault

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.name,
            "confidence": self.confidence.name.lower(),
            "evidence": list(self.evidence),
            "rows": [citation._asdict() for citation in self.rows],
            "rows_total": max(self.rows_total, len(self.rows)),
            "refuted_by": list(self.refuted_by),
            "fix": self.fix,
            "links": list(self.links),
            "not_recorded": list(self.not_recorded),
            "missing": list(self.missing),
        }
