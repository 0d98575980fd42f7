"""The report as one HTML file: no network, no other file, nothing in it runs but our own script.

Every text passes `shown` before it reaches template or script, whoever wrote it: what is not
printable becomes visible there and what is too long is cut. The template escapes, the script
sets text and never markup, and the page's policy (CSP) forbids whatever is not in it.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from triage.files.text import plain, printable, printable_lines, to_json
from triage.report.drawing import drawn

MAX_TEXT, MAX_NAME = 2_000, 80  # characters of one text, of one key
MAX_ALL_TEXT = 200_000  # of all dumps, as much again of everything else: the page is to be < 2 MB
MAX_ITEMS = 2_000  # of one list or map
_PACKED = frozenset(
    {"states", "ids", "expected", "requests", "lengths", "visible_low", "visible_high"}
)
"""Keys of a map whose text is base64 of our own, bounded where it is made."""


def html(contents: dict[str, Any]) -> bytes:
    """The page of what `triage.report.contents` gathered.

    Raises ModuleNotFoundError without jinja2 (the extra `report`).
    """
    from jinja2 import Environment, StrictUndefined

    held = shown({**contents, "dumps": [drawn(dump) for dump in contents["dumps"]]})
    style, script = asset("page.css"), asset("page.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(asset("page.html.jinja")).render(
        report=held,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src '{csp_hash(style)}'; "
        f"script-src '{csp_hash(script)}'; base-uri 'none'; form-action 'none'",
        embedded=_embedded({"dumps": [_for_script(dump) for dump in held["dumps"]]}),
    )
    return page.encode()


def shown(contents: dict[str, Any]) -> dict[str, Any]:
    """`contents` as it may be shown: every text printable and bounded, every list bounded.

    Each dump has its share of the room, so that none takes the words of another.
    """
    held = plain(contents)
    share = MAX_ALL_TEXT // max(len(held["dumps"]), 1)
    dumps = [_shown(dump, [share]) for dump in held.pop("dumps")]
    return {**_shown(held, [MAX_ALL_TEXT // 2]), "dumps": dumps}


def _shown(value: Any, left: list[int]) -> Any:
    if isinstance(value, str):
        text = printable_lines(value[:MAX_TEXT]) + (" ... (cut)" if len(value) > MAX_TEXT else "")
        if left[0] < len(text):
            return "(left out: too much text for one page)"
        left[0] -= len(text)
        return text
    if isinstance(value, list):
        return [_shown(each, left) for each in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {
            printable(name[:MAX_NAME]): item if _is_packed(name, value) else _shown(item, left)
            for name, item in list(value.items())[:MAX_ITEMS]
        }
    return value


def _is_packed(name: str, owner: dict[str, Any]) -> bool:
    return name in _PACKED and "legend" in owner


def _for_script(dump: dict[str, Any]) -> dict[str, Any]:
    hands = [
        {**each, "events": [event["sentence"] for event in each["events"]]}
        for each in dump["hands"]
    ]
    return {"map": dump["map"], "timeline": dump["timeline"]["launches"], "hands": hands}


def _embedded(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = to_json(value)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def asset(name: str) -> str:
    """A file of `triage/report/assets`."""
    return (resources.files("triage.report") / "assets" / name).read_text(encoding="utf-8")


def csp_hash(text: str) -> str:
    """How a page's policy names the one script or style that may be in it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
