"""Text from a dump, safe on a terminal."""

from __future__ import annotations


def printable(text: object) -> str:
    """`text` with control characters escaped: a dump may not move a reader's cursor."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )
