"""The detection matrix as a table for the terminal, as Markdown lines and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

COLUMNS = ("bug", "sglang", "caught by", "delay", "bounds only", "explained", "fix", "false alarms")

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .3rem .6rem; border-bottom: 1px solid #ddd }
th { text-align: left; background: #f4f4f4 } .yes { color: #17682b } .no { color: #b3261e }
.na { color: #888 } td.what { max-width: 32rem }
"""


def cells(line: dict[str, Any]) -> tuple[str, ...]:
    """One matrix line as text, in the order of COLUMNS."""
    if line["not_applicable"]:
        return (line["bug"], line["sglang"], "n/a", "", "", "", "", line["not_applicable"])
    caught = line["caught_by"] if line["caught"] else f"MISSED ({line['caught_by'] or 'silent'})"
    return (
        line["bug"],
        line["sglang"],
        caught,
        "" if line["delay"] is None else str(line["delay"]),
        line["bounds"] or "silent",
        line["explained"] or "no dump",
        line["fixed"],
        line["false_alarm"] or ("released" if line["released"] else "none"),
    )


def summary(lines: Iterable[dict[str, Any]]) -> str:
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


def markdown(lines: Iterable[dict[str, Any]]) -> str:
    rows = [COLUMNS, tuple("---" for _ in COLUMNS), *(cells(line) for line in lines)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def html(lines: list[dict[str, Any]]) -> str:
    """A self-contained page."""
    head = "".join(f"<th>{escape(name)}</th>" for name in (*COLUMNS, "what"))
    body = "\n".join(_row(line) for line in lines)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Detection matrix</title>"
        f"<style>{_STYLE}</style><h1>Detection matrix</h1><p>{escape(summary(lines))}</p>"
        f"<table><tr>{head}</tr>\n{body}\n</table></html>\n"
    )


def _row(line: dict[str, Any]) -> str:
    kind = "na" if line["not_applicable"] else "yes" if line["caught"] else "no"
    name, *others = cells(line)
    link = line["reference"]
    if link.startswith("https://"):
        named = f"<a href='{escape(link)}'>{escape(name)}</a>"
    else:
        named = escape(name)
    rest = "".join(f"<td>{escape(text)}</td>" for text in others)
    what = f"<td class='what'>{escape(line['what'])}</td>"
    return f"<tr class='{kind}'><td>{named}</td>{rest}{what}</tr>"
