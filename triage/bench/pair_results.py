"""What servers side by side measured: kept as JSON lines, compared turn by turn.

Each result is one line the moment it is known, so that a later run with the same file goes on
where this one ended. A difference is that of one turn: a machine that is slow for a while is
slow for both.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MEASURES = ("tpot_ms", "ttft_ms", "tokens_per_s")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the answers of one side with those of the first, token by token, at temperature 0.

    equal: share of positions with the same token.
    differ: answers that differ anywhere, of `answers`.
    first: the earliest position at which one differs; None where none does.
    median_first: the median of those positions over the answers that differ.
    """

    answers: int
    differ: int
    equal: float
    first: int | None
    median_first: float | None

    @classmethod
    def of(cls, ours: Sequence[Sequence[int]], first: Sequence[Sequence[int]]) -> Agreement:
        """Answers of the same prompts, in the same order. Each pair has one length."""
        at, same, tokens = [], 0, 0
        for one, other in zip(ours, first, strict=True):
            equal = [a == b for a, b in zip(one, other, strict=True)]
            same, tokens = same + sum(equal), tokens + len(equal)
            if not all(equal):
                at.append(equal.index(False))
        median = statistics.median(at) if at else None
        return cls(len(ours), len(at), same / max(1, tokens), min(at, default=None), median)


@dataclass(frozen=True, slots=True)
class Result:
    """What one side measured in one turn. outputs: digests of the answers, to compare them.

    seconds: of the whole load. agreement: with the first side's answers; None for itself.
    """

    shape: str
    side: str
    load: str
    turn: int
    tpot_ms: float
    ttft_ms: float
    tokens_per_s: float
    outputs: tuple[str, ...]
    seconds: float = 0.0
    agreement: Agreement | None = None

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Result:
        agreement = plain.get("agreement")
        read = {"outputs": tuple(plain["outputs"])}
        return cls(**{**plain, **read, "agreement": agreement and Agreement(**agreement)})


class Results:
    """The JSON lines of one file: results, and notes of the run. Both are written through."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Result] = []
        self.notes: list[dict[str, Any]] = []
        if path.exists():
            for line in path.read_text().splitlines():
                plain = json.loads(line)
                if "turn" in plain:
                    self.all.append(Result.read(plain))
                else:
                    self.notes.append(plain)

    def add(self, result: Result) -> None:
        self.all.append(result)
        self.note(asdict(result))

    def note(self, plain: dict[str, Any]) -> None:
        if "turn" not in plain:
            self.notes.append(plain)
        with self.path.open("a") as lines:
            lines.write(json.dumps(plain) + "\n")

    def turns(self, shape: str, load: str, sides: Iterable[str]) -> int:
        """Turns of a load in which every side was measured."""
        done = [
            {one.turn for one in self.all if (one.shape, one.load, one.side) == (shape, load, side)}
            for side in sides
        ]
        return len(set.intersection(*done)) if done else 0


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one side against the first, of one load: per cent, by the turns that both played."""

    shape: str
    load: str
    side: str
    measure: str
    turns: int
    of_first: float
    median: float
    low: float
    high: float
    equal: float


def differences(results: Sequence[Result]) -> list[Difference]:
    """Every side against the first of its shape and load. `low` and `high`: the middle half.

    equal: share of answers that are token for token those of the first side.
    """
    found = []
    keys = list(dict.fromkeys((one.shape, one.load) for one in results))
    for shape, load in keys:
        of = [one for one in results if (one.shape, one.load) == (shape, load)]
        sides = list(dict.fromkeys(one.side for one in sorted(of, key=lambda one: one.turn)))
        by = {(one.side, one.turn): one for one in of}
        for side in sides[1:]:
            both = [
                (by[sides[0], turn], by[side, turn])
                for turn in sorted({one.turn for one in of})
                if (sides[0], turn) in by and (side, turn) in by
            ]
            if not both:
                continue
            pairs = [
                ours == theirs
                for a, b in both
                for ours, theirs in zip(a.outputs, b.outputs, strict=True)
            ]
            for measure_ in MEASURES:
                base = [getattr(a, measure_) for a, _ in both]
                change = sorted(
                    100 * (getattr(b, measure_) / getattr(a, measure_) - 1) for a, b in both
                )
                quarter = len(change) // 4
                found.append(
                    Difference(
                        shape, load, side, measure_, len(both), statistics.median(base),
                        statistics.median(change), change[quarter], change[-1 - quarter],
                        sum(pairs) / len(pairs),
                    )
                )  # fmt: skip
    return found


def markdown(found: Sequence[Difference]) -> str:
    """The differences as one Markdown table."""
    lines = [
        "| shape | load | side | measure | first side | difference | middle half | turns | equal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        unit = "tok/s" if one.measure == "tokens_per_s" else "ms"
        lines.append(
            f"| {one.shape} | {one.load} | {one.side} | {one.measure.removesuffix('_ms')} "
            f"| {one.of_first:.3g} {unit} | {one.median:+.2f} % "
            f"| {one.low:+.2f} to {one.high:+.2f} % | {one.turns} | {one.equal:.0%} |"
        )
    return "\n".join(lines)
