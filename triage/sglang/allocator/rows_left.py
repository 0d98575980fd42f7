"""I17: a request that goes on keeps its row of the request table.

The failure: a request gives its row back between two chunks of its prompt. Another request of
the next batch gets the row and writes its own slots into it, while the queued forward of the
first chunk still reads the row (sgl-project/sglang#17850). The rule: a row is given back by a
request that has ended, or is retracted; whoever gets a row again without either gave up one
that it was using.

Told where the request is given a row again, which is before anybody can write into the old
one. Host integers of the request alone. Not covered: requests of diffusion models, which give
their rows back between two blocks.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.sglang.holders import row_of

RETRACTIONS = "retraction_count"
"""Counted up by `Req.reset_for_retract`, after the row was given back."""


class RowsLeft:
    """Rows that requests gave back and have not ended since. Keeps no request alive."""

    def __init__(self) -> None:
        self._left: dict[int, tuple[weakref.ref[Any], int, int]] = {}

    def clear(self) -> None:
        self._left.clear()

    def left(self, request: Any, row: int) -> None:
        """`request` gave `row` back; noted unless it has ended or is none of SGLang's own."""
        count = getattr(request, RETRACTIONS, None)
        if not isinstance(count, int) or _ended(request) or _in_blocks(request):
            return
        key = id(request)
        try:
            gone = weakref.ref(request, lambda _: self._left.pop(key, None))
        except TypeError:  # of a class that takes no weak reference
            return
        self._left[key] = gone, row, count

    def given_again(self, requests: Iterable[Any]) -> Iterator[Evidence]:
        """Evidence for each of `requests` that is about to get a row and never ended."""
        for request in requests:
            noted = self._left.pop(id(request), None)
            if noted is None or noted[0]() is not request or row_of(request) is not None:
                continue
            _, row, count = noted
            if getattr(request, RETRACTIONS, None) == count and not _ended(request):
                yield Evidence(
                    "I17",
                    f"row {row} of req_to_token was given back by a request that goes on, neither "
                    "ended nor retracted: another request may overwrite the row while a forward "
                    "that is queued still reads it",
                    "ReqToTokenPool.alloc",
                    total=1,
                    rows_affected=1,
                    facts={"row": row, "retractions": count},
                    kind=Found.ROW_LEFT_WHILE_RUNNING,
                )


def _ended(request: Any) -> bool:
    return getattr(request, "finished_reason", None) is not None


def _in_blocks(request: Any) -> bool:
    asked = getattr(request, "is_dllm", None)
    return bool(asked()) if callable(asked) else getattr(request, "dllm_config", None) is not None
