"""A dump on one screen, fault first: the wrong entries, the cause, what to type next.

The failure: three hundred lines in which the two faulting rows are missing. The rule: at 80
columns it fits 24 lines whatever the dump holds; `triage show -v` has the rest. Marks stand for
states, so that it reads without colour, in ASCII and through a pipe.
"""

from __future__ import annotations

import shlex
import textwrap
from typing import Any, NamedTuple

import numpy as np
from rich.text import Text

from triage.dump.history import since
from triage.dump.sections import Dump
from triage.explain import Explanation, explain
from triage.explain.case import LaunchCase
from triage.files.text import console as make_console
from triage.files.text import printable
from triage.report.contents import NOT_RECORDED, faulting, headline, place
from triage.report.next_steps import commands
from triage.report.table_map import BAD, CODE, STATES, TABLE, TableMap
from triage.report.text import to_try

SCREEN = 24  # lines of a terminal that nobody made larger
ENTRIES, HANDS, MAP_ROWS, MARGIN = 4, 2, 8, 7
SMALLEST_MAP = 3  # lines: its head, a row, what the marks mean
STYLES = {
    "right": "on grey42",
    "unjudged": "on steel_blue",
    "dummy": "bold black on cyan",
    "stale": "bold white on blue",
    "foreign": "bold black on yellow",
    "space": "bold white on dark_violet",
    "negative": "bold white on orange4",
    "zeros": "bold white on deep_pink4",
    "fault": "bold white on red3",
}


class Line(NamedTuple):
    """One paragraph: `label` in the margin, `text` wrapped beside it in `style`."""

    label: str
    text: str
    style: str = ""


def print_brief(dump: Dump, path: str) -> None:
    """Print the screen, in the columns of the terminal, or 80 where there is none."""
    console = make_console(soft_wrap=True)
    for line in brief(dump, path, console.width):
        console.print(line)


def brief(dump: Dump, path: str, width: int = 80) -> list[Text]:
    """The lines of the screen: the fault, the wrong entries, the cause, the map, what is next."""
    columns = max(min(width, 200), 40)
    case = LaunchCase.of(dump)
    table = None if case is None else TableMap.of(case)
    explanation = explain(dump)
    top = wrapped(_fault(dump, table, explanation), columns)
    cause = wrapped(_cause(dump, explanation), columns)
    end = _end(path, dump, explanation)
    room = SCREEN - 1 - len(top) - len(cause) - len(end)  # the prompt takes one
    entries = next(
        fits
        for limit in range(ENTRIES, 0, -1)
        if len(fits := _entries(dump, table, columns, limit)) <= room - SMALLEST_MAP or limit == 1
    )
    rows = min(MAP_ROWS, room - len(entries) - 2)
    drawing = [] if table is None else _drawing(table, columns, rows)
    if table is not None and not drawing and len(entries) < room:
        drawing = wrapped([Line("table", "no room for it here; -v has it", "dim")], columns)
    return [*top, *entries, *cause, *drawing, *end]


def wrapped(lines: list[Line], columns: int) -> list[Text]:
    """Each paragraph in lines of at most `columns`; none of its words is lost."""
    found = []
    for label, text, style in lines:
        parts = textwrap.wrap(
            printable(text),
            max(columns - MARGIN, 20),
            break_long_words=False,  # a path or a command that is cut cannot be copied
            break_on_hyphens=False,
        )
        for at, part in enumerate(parts or [""]):
            found.append(Text(f"{label if at == 0 else '':<{MARGIN}}") + Text(part, style=style))
    return found


def _fault(dump: Dump, table: TableMap | None, explanation: Explanation) -> list[Line]:
    head = headline(dump)
    lines = [Line("fault", _short(head), "bold red")]
    if dump.fault.summary and dump.fault.summary not in head:
        lines.append(Line("", _short(dump.fault.summary)))
    lines.append(Line("", _short(place(dump)), "dim"))
    if table is not None and table.bad.any():
        counts = table.counts()
        kinds = [f"{counts[s.key]} {s.short}" for s in reversed(STATES) if s.bad and counts[s.key]]
        seen = f"{int(table.bad.sum())} of {int(table.case.seen.sum())} visible entries"
        lines.append(Line("wrong", f"{seen}: {', '.join(kinds)}{_hidden(dump)}", "yellow"))
        return lines
    told = {since(dump)}  # stands beside the cause
    summary = dump.fault.summary
    observed = [text for text in explanation.observed if not (summary and summary in text)]
    observed = [text for text in observed if text not in told]
    for at, text in enumerate(observed[:3]):
        lines.append(Line("" if at else "seen", _short(text), "yellow"))
    return lines


def _hidden(dump: Dump) -> str:
    """What the trap counted besides: entries that no query of the launch sees."""
    hidden = sum(each.in_window is False for each in dump.fault.violations if each.tensor == TABLE)
    return f"; {hidden} more that no query sees" if hidden else ""


def _cause(dump: Dump, explanation: Explanation) -> list[Line]:
    lines = [
        Line(
            "" if at else "cause",
            f"{each.name} ({each.confidence.name.lower()} confidence)",
            "bold",
        )
        for at, each in enumerate(explanation.named[:2])
    ]
    if not lines:
        verdicts = {"clean": "nothing wrong is seen", "unknown": "unknown"}
        lines = [Line("cause", verdicts.get(explanation.status, explanation.status), "bold yellow")]
    if len(explanation.named) == 1 and explanation.named[0].fix:
        lines.append(Line("try", _short(to_try(explanation.named[0].fix))))
    if dump.history:
        lines.append(Line("since", since(dump)))
    return lines


def _end(path: str, dump: Dump, explanation: Explanation) -> list[Text]:
    """What to type next, never wrapped: a command that is broken in two cannot be copied."""
    given = [each["command"] for each in commands(path, dump, explanation)]
    first = next((each for each in given if "--fix" in each), given[0])
    others = [given[0]] if first != given[0] else []
    lines = [Text(f"{'next:':<{MARGIN}}") + Text(printable(first), style="bold green")]
    return lines + [
        Text(f"{'':<{MARGIN}}{printable(each)}")
        for each in (*others, f"triage show -v {shlex.quote(path)}")
    ]


def _short(text: str, most: int = 150) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _entries(dump: Dump, table: TableMap | None, columns: int, limit: int) -> list[Text]:
    """The wrong entries, one line each where the width allows, and who put them there."""
    shorts = {state.key: state.short for state in STATES}
    lines, entries = [], faulting(dump, table, limit)
    for entry in entries:
        low, high, value = entry["low"], entry["high"], entry["value"]
        where = f"{_short(entry['tensor'], 40)}[{entry['row']}, {entry['column']}] = {value}"
        outside = not low <= value < high
        facts = [f"{where} not in [{low}, {high})" if outside else where]
        right = NOT_RECORDED if entry["expected"] is None else entry["expected"]
        if entry["expected"] is not None or entry["state"]:
            facts.append(f"expected {right}")
        if entry["request"] is not None:
            request_id = f" (id {entry['request_id']})" if entry["request_id"] else ""
            facts.append(f"request {entry['request']}{request_id}")
        if entry["owner"]:
            facts.append(f"page of {entry['owner']}")
        elif not outside and entry["state"]:
            facts.append(shorts[entry["state"]])
        lines.append(Line("", ", ".join(facts)))
    if lines or dump.fault.pages:
        lines += _hands(dump, entries, min(limit, HANDS))
    return wrapped(lines, columns)


def _hands(dump: Dump, entries: list[dict[str, Any]], limit: int) -> list[Line]:
    """Who put the pages of these entries there, else what is known of the first page."""
    hands = list(dict.fromkeys(each["hand"] for each in entries if each["hand"]))
    if not hands:
        hands = [f"{p.name} {p.events[0].sentence()}" for p in dump.fault.pages if p.events]
    if not hands:
        return [Line("hand", f"who put these there: {NOT_RECORDED}", "dim")]
    return [Line("" if at else "hand", _short(text)) for at, text in enumerate(hands[:limit])]


def _drawing(table: TableMap, columns: int, rows: int) -> list[Text]:
    """The part of the map around the worst entry, one mark an entry, and what the marks mean."""
    height, width = table.states.shape
    if rows < 1 or not height or not width:
        return []
    shown = _rows(table, rows)
    room = min(columns - MARGIN, width)
    worst = table.worst(1)
    at = worst[0]["column"] - table.first_column if worst else width - room
    start = min(max(at - room // 2, 0), width - room)
    part = table.states[shown][:, start : start + room]
    first = start + table.first_column
    last = f"{first + room - 1} of {table.case.table.shape[1]}"
    head = f"{TABLE}, columns {first} to {last}; rows {len(shown)} of {height}"
    lines = [Text(f"{'table':<{MARGIN}}{head}"[:columns])]
    for row, codes in zip(shown.tolist(), part, strict=True):
        line = Text(f"{row:>{MARGIN - 2}}  ")
        for code in codes.tolist():
            line.append(STATES[code].mark, style=STYLES.get(STATES[code].key, ""))
        lines.append(line)
    used = np.unique(part)
    marks = [f"{STATES[c].mark} {STATES[c].short}" for c in used[::-1] if STATES[c].mark.strip()]
    return [*lines, *wrapped([Line("", ", ".join(marks), "dim")], columns)[:1]]


def _rows(table: TableMap, limit: int) -> np.ndarray:
    """The rows to draw: all where there is room, else those with the worst entries, in order."""
    height = len(table.states)
    if height <= limit:
        return np.arange(height)
    worst = np.where(BAD[table.states], table.states, CODE["absent"]).max(axis=1).astype(int)
    return np.sort(np.argsort(-worst, kind="stable")[:limit])
