"""Text of a stranger, on its way to a terminal, a log, JSON, a page or generated code.

A file, a server's answer, a log line and an exception's text may hold escape sequences
that move a cursor, rename a window or turn the reading direction around. They are made
visible here, in the one place through which every command prints; nothing else of the
toolkit calls click.echo, and a rich console is made here too.
"""

from __future__ import annotations

import io
import json
import logging
import math
import sys
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

MAX_HEX_BYTES = 64


def printable(text: object) -> str:
    """`text` in one line, every character that is not printable written as an escape."""
    content = str(text)
    if content.isprintable():
        return content
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in content
    )


def printable_lines(text: object) -> str:
    """As `printable`, but lines stay lines and tabs tabs."""
    lines = str(text).split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines)


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text that may hold parts of a file or of an answer."""
    import click

    click.echo(printable_lines(text), err=err, nl=nl)


def accept_any_text() -> None:
    """From now on what a stream's encoding lacks (an accent, on an ASCII terminal) is escaped."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        if isinstance(stream, io.TextIOWrapper) and encoding != "utf8":
            stream.reconfigure(errors="backslashreplace")


def to_json(value: Any, indent: int | None = None) -> str:
    """Valid JSON of `value`: NaN and infinities as text, bytes as hex, arrays as lists."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: NaN and infinities as text, bytes as hex, arrays as lists."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        shown = bytes(value[:MAX_HEX_BYTES]).hex()
        return shown if len(value) <= MAX_HEX_BYTES else f"{shown}... ({len(value)} bytes)"
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # a numpy array or number; raw storage types give tuples
        return plain(value.tolist())
    return str(value)


def console(*, err: bool = False, soft_wrap: bool = False, file: IO[str] | None = None) -> Console:
    """A rich console whose text, whatever renders it, is printable."""
    from rich.console import Console
    from rich.segment import Segment

    class Printable(Console):
        def render(self, renderable: Any, options: Any = None) -> Any:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable_lines(text), style, control)

    return Printable(
        stderr=err, soft_wrap=soft_wrap, file=file, highlight=False, markup=False, emoji=False
    )


class _Printable(logging.Filter):
    """Makes the text of a record printable, its arguments included."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)
        record.msg, record.args = printable_lines(text), ()
        return True


def printable_log(name: str = "triage") -> logging.Logger:
    """The logger `name`, every record of which is printable from now on."""
    logger = logging.getLogger(name)
    if not any(isinstance(each, _Printable) for each in logger.filters):
        logger.addFilter(_Printable())
    return logger
