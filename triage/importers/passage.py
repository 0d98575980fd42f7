"""The lines that belong to one report: its first line and those that follow it.

Several ranks write into one log, so the next line need not be the report's next. The rule:
a report whose lines carry a rank goes on in lines of that rank; one that begins with a
logger's header goes on in lines without one, to the next header; one without either goes on
in lines without a rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from triage.dump.observation import MAX_TEXT_LINES
from triage.importers.lines import Line

MAX_FOLLOWING = 120


class Passage:
    """Lines `lines[at]` and after, as one report sees them."""

    def __init__(self, lines: Sequence[Line], at: int) -> None:
        self.lines = lines
        self.at = at
        self.head = lines[at]

    @property
    def rank(self) -> str:
        return self.head.rank or (self.head.since if not self._bare else "")

    @property
    def logged_rank(self) -> str:
        """Of text that the server's own logger wrote, perhaps over several lines."""
        return self.head.rank or self.head.since

    @property
    def _bare(self) -> bool:
        """A tool's own line, which no logger wrote."""
        return not self.head.header and not self.head.rank

    def following(self, limit: int = MAX_FOLLOWING) -> Iterator[tuple[int, Line]]:
        """(index, line) of the lines after the first that belong to it."""
        head, before = self.head, self.head.number
        for index in range(self.at + 1, min(self.at + 1 + 4 * limit, len(self.lines))):
            line = self.lines[index]
            if line.number - before > 40:
                return  # what lay between was not kept
            before = line.number
            if head.rank and not head.header:
                if line.rank == head.rank and not line.header:
                    yield index, line
                continue
            if line.header:
                return
            if not line.rank:
                yield index, line
            limit -= not line.rank
            if limit <= 0:
                return

    def joined(self, limit: int, until: re.Pattern[str] | None = None) -> str:
        """The first line and up to `limit` after it as one text: a client may have wrapped it."""
        parts = [self.head.text.strip()]
        for _, line in self.following(limit):
            if until is not None and until.search(line.text):
                break
            parts.append(line.text.strip())
        return " ".join(parts)


def shown(lines: Sequence[Line]) -> tuple[str, ...]:
    """The first lines of a report, to show."""
    return tuple(line.text.strip()[:300] for line in lines if line.text.strip())[:MAX_TEXT_LINES]
