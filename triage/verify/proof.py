"""What a verification found, and the one table that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Proof:
    """One fix on one release: the failure without it, its absence with it, and the comparison.

    red: the failure showed without the fix. green: it did not with it. equal: what SGLang
    did is what the reference did; None where the remedy is not meant to reach it (clamp).
    """

    fix: str
    sglang: str
    without: str
    with_fix: str
    reference: str
    red: bool
    green: bool
    equal: bool | None
    cost: str = ""

    @property
    def holds(self) -> bool:
        return self.red and self.green and self.equal is not False

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*self.__slots__, "holds")}


HEADER = ("fix", "SGLang", "without it", "with it", "compared with", "holds")


def rows(proofs: list[Proof]) -> list[tuple[str, ...]]:
    """The table's cells, row by row, in the order of HEADER."""
    return [
        (
            proof.fix,
            proof.sglang,
            proof.without,
            proof.with_fix + (f"; cost: {proof.cost}" if proof.cost else ""),
            f"{_EQUAL[proof.equal]}: {proof.reference}",
            "yes" if proof.holds else "NO",
        )
        for proof in proofs
    ]


_EQUAL = {True: "equal", False: "DIFFERENT", None: "not equal, as expected"}


def markdown(proofs: list[Proof]) -> str:
    lines = [HEADER, ("---",) * len(HEADER), *rows(proofs)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
