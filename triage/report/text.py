"""Lines of a terminal view: nothing from a dump is taken for markup or for a control sequence."""

from __future__ import annotations

import os
import re
import textwrap
from typing import TYPE_CHECKING

from rich.text import Text

from triage import config
from triage.files.text import printable

if TYPE_CHECKING:
    from rich.console import Console

_LABEL = re.compile(r"\s*(?:[a-z|][a-z -]{0,12}\s{2,}|refuted by |\s)(?=\S)")
"""What stands before the text of a line: spaces, or a word in a column of its own."""
NARROWEST = 24


def line(content: object, style: str = "") -> Text:
    return Text(printable(content), style=style)


def to_try(fix: str) -> str:
    """A cause's fix as a reader is told it: a release may have it already, or not be concerned."""
    asks = fix.startswith(f"{config.FIXES}=")
    return f"{fix}, where `triage fixes` says NEEDED" if asks else fix


def say(console: Console, text: Text, *, whole: bool = False) -> None:
    """Print one line, in as many as the terminal needs, each under where its text begins.

    A pipe gets it as one line, unless COLUMNS says how wide it is. A path or a link is never
    cut, nor is what is whole: a command.
    """
    narrow = console.is_terminal or bool(os.environ.get("COLUMNS"))
    if narrow and not whole:
        label = _LABEL.match(text.plain)
        indent = label.end() if label is not None else 2
        wide = console.width - indent
        if len(text) > console.width and wide >= NARROWEST:
            head, body = text[: label.end() if label else 0], text[label.end() if label else 0 :]
            rows = _rows(body, wide)
            text = Text("\n").join(
                (head if index == 0 else Text(" " * indent)) + row for index, row in enumerate(rows)
            )
    console.print(text, soft_wrap=True)


def _rows(text: Text, width: int) -> list[Text]:
    """`text` in lines of `width`, cut at spaces alone: rich would cut a link."""
    plain, at, rows = text.plain, 0, []
    for row in textwrap.wrap(
        plain, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    ):
        at = plain.index(row, at)
        rows.append(text[at : at + len(row)])
        at += len(row)
    return rows
