"""The detection matrix for the terminal, as Markdown and as one HTML page.

One row a bug, one column a release: the invariant that caught it, `+n` where it did so n
launches or allocator calls after the first wrong state, `-` where the release does not
have the defect. The columns behind sum up the releases it was played on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import Any

Line = dict[str, Any]

SUMMED = ("bounds only", "explained", "with its fix", "false alarms")

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .3rem .6rem; border-bottom: 1px solid #ddd }
th { text-align: left; background: #f4f4f4 } .yes { color: #17682b } .no { color: #b3261e }
.na { color: #888 } td.what { max-width: 32rem }
"""


def columns(lines: Iterable[Line]) -> tuple[str, ...]:
    return ("bug", *releases(lines), *SUMMED)


def releases(lines: Iterable[Line]) -> tuple[str, ...]:
    """In the order in which they were played."""
    return tuple(dict.fromkeys(line["sglang"] for line in lines))


def rows(lines: Iterable[Line]) -> list[tuple[str, ...]]:
    """One row a bug, in the order of `columns`."""
    lines = list(lines)
    names = releases(lines)
    by_bug: dict[str, dict[str, Line]] = {}
    for line in lines:
        by_bug.setdefault(line["bug"], {})[line["sglang"]] = line
    return [(bug, *_row(played, names)) for bug, played in by_bug.items()]


def summary(lines: Iterable[Line]) -> str:
    """One sentence with the totals."""
    played = [line for line in lines if not line["not_applicable"]]
    caught = sum(line["caught"] for line in played)
    bounds = sum(bool(line["bounds"]) for line in played)
    right = sum(line["explained"] == "right" for line in played)
    wrong = sum(line["explained"] == "wrong" for line in played)
    false = sum(bool(line["false_alarm"]) for line in played)
    late = sum((line["delay"] or 0) > 1 for line in played)
    return (
        f"{caught} of {len(played)} caught, {late} later than one launch or allocator call; "
        f"bounds alone {bounds}; explained right {right}, wrong {wrong}; {false} false alarms"
    )


def markdown(lines: Iterable[Line]) -> str:
    lines = list(lines)
    head = columns(lines)
    table = [head, tuple("---" for _ in head), *rows(lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


def html(lines: list[Line]) -> str:
    """A self-contained page."""
    head = "".join(f"<th>{escape(name)}</th>" for name in (*columns(lines), "what"))
    known = {line["bug"]: line for line in lines}
    body = "\n".join(_html_row(row, known[row[0]]) for row in rows(lines))
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Detection matrix</title>"
        f"<style>{_STYLE}</style><h1>Detection matrix</h1><p>{escape(summary(lines))}</p>"
        f"<table><tr>{head}</tr>\n{body}\n</table></html>\n"
    )


def _row(by_release: dict[str, Line], names: Iterable[str]) -> tuple[str, ...]:
    played = [line for line in by_release.values() if not line["not_applicable"]]
    return (
        *(_caught(by_release[name]) if name in by_release else "" for name in names),
        _summed(line["bounds"] or "silent" for line in played),
        _summed(line["explained"] or "no dump" for line in played),
        _summed(line["fixed"] for line in played),
        _summed(line["false_alarm"] or _silence(line) for line in played),
    )


def _caught(line: Line) -> str:
    if line["not_applicable"]:
        return "-"
    if not line["caught"]:
        return f"MISSED ({line['caught_by'] or 'silent'})"
    return f"{line['caught_by']} +{line['delay']}" if line["delay"] else str(line["caught_by"])


def _silence(line: Line) -> str:
    """A released defect is in the release: there is no run without it to be silent."""
    return "released" if line["released"] else "none"


def _summed(values: Iterable[str]) -> str:
    """The one answer of all releases, or each with the number of releases that gave it."""
    counts = Counter(values)
    if len(counts) < 2:
        return "".join(counts)
    return ", ".join(f"{value} {n}x" for value, n in counts.most_common())


def _html_row(row: tuple[str, ...], line: Line) -> str:
    name, *others = row
    named = escape(name)
    if line["reference"].startswith("https://"):
        named = f"<a href='{escape(line['reference'])}'>{named}</a>"
    cells = "".join(f"<td class='{_class(text)}'>{escape(text)}</td>" for text in others)
    return f"<tr><td>{named}</td>{cells}<td class='what'>{escape(line['what'])}</td></tr>"


def _class(text: str) -> str:
    if text.startswith(("MISSED", "wrong")):
        return "no"
    return "na" if text in ("", "-") else "yes"
