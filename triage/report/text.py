"""Lines of a terminal view: nothing from a dump is taken for markup or for a control sequence."""

from __future__ import annotations

from rich.text import Text

from triage.files.text import printable


def line(content: object, style: str = "") -> Text:
    return Text(printable(content), style=style)
