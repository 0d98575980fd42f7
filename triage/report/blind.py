"""The tables of a blind round: drivers, kernel mistakes, texts; and one sentence on each.

A driver has one row, with a column for each set of checks it was played under. What was named
is said with its confidence, and judged by a person; "not judged" where nobody has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]

DEFECTS, KERNELS, ARTEFACTS = "defects", "kernels", "artefacts"
KINDS = (DEFECTS, KERNELS, ARTEFACTS)
_RESULTS = {"first wrong event": "at once", "not applicable": "-"}


def columns(kind: str, rows: Iterable[Row]) -> tuple[str, ...]:
    if kind == DEFECTS:
        sets = checks_of(rows)
        caught = (f"checks: {each}" for each in sets)
        return ("defect", "subsystem", "SGLang", *caught, "named", "false alarm")
    if kind == KERNELS:
        return ("mistake", "op", "result", "caught by", "verdict", "false alarm")
    return ("text", "form", "result", "answer lacks", "wrong claims", "verdict")


def checks_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """In the order in which they were played."""
    return tuple(dict.fromkeys(row["checks"] for row in rows))


def cells(kind: str, rows: Iterable[Row], linked: bool = False) -> list[tuple[str, ...]]:
    """One row a defect and release, a mistake or a text, in the order of `columns`.

    linked: names are links to where upstream reported it, as Markdown has them.
    """
    rows = list(rows)
    if kind == DEFECTS:
        sets = checks_of(rows)
        by: dict[tuple[str, str], dict[str, Row]] = {}
        for row in rows:
            by.setdefault((row["driver"], row["sglang"]), {})[row["checks"]] = row
        found = [_defect(name, version, played, sets) for (name, version), played in by.items()]
        references = [next(iter(played.values()))["reference"] for played in by.values()]
    else:
        found = [_mistake(row) if kind == KERNELS else _artefact(row) for row in rows]
        references = [row["reference"] for row in rows]
    if not linked:
        return found
    return [
        (_linked(name, reference), *rest)
        for (name, *rest), reference in zip(found, references, strict=True)
    ]


REPEATED = {DEFECTS: 3, KERNELS: 2, ARTEFACTS: 2}
"""Columns that say what was played; what became of it is in those behind them."""


def plays(kind: str, played: Iterable[list[Row]]) -> list[str]:
    """Markdown lines: the first play, and what a later one has of the same names beside it."""
    first, *later = played
    head, table = (
        list(columns(kind, first)),
        {row[:1]: list(row) for row in cells(kind, first, True)},
    )
    for number, rows in enumerate(later, 2):
        start = REPEATED[kind]
        names = columns(kind, rows)[start:]
        again = {row[:1]: row[start:] for row in cells(kind, rows, True)}
        head += [f"{name} (play {number})" for name in names]
        for name, row in table.items():
            row += again.get(name, ("not played",) + ("",) * (len(names) - 1))
    lines = [head, ["---"] * len(head), *table.values()]
    return ["| " + " | ".join(map(_plain, line)) + " |" for line in lines]


def markdown(kind: str, rows: Iterable[Row]) -> str:
    return "\n".join(plays(kind, [list(rows)]))


def summary(kind: str, rows: Iterable[Row]) -> str:
    """The totals, one sentence for each set of checks."""
    rows = list(rows)
    if kind == KERNELS:
        caught = sum(row["result"] == "caught" for row in rows)
        false = sum(bool(row["false_alarm"]) for row in rows)
        return f"{caught} of {len(rows)} mistakes caught, {false} false alarms{_not_played(rows)}"
    if kind == ARTEFACTS:
        known = sum(row["result"] == "recognised" for row in rows)
        whole = sum(row["result"] == "recognised" and not row["lacks"] for row in rows)
        claims = sum(bool(row["claims"]) for row in rows)
        return (
            f"{known} of {len(rows)} texts recognised, {whole} with all that a good answer holds, "
            f"{claims} with a wrong claim{_not_played(rows)}{_verdicts(rows)}"
        )
    return "\n".join(
        _of_checks(each, [row for row in rows if row["checks"] == each]) for each in checks_of(rows)
    )


def _of_checks(checks: str, rows: list[Row]) -> str:
    played = [row for row in rows if row["result"] not in ("driver broken", "not applicable")]
    count = {what: sum(row["result"] == what for row in played) for what in _ORDER}
    certain = sum(row.get("verdict") == "wrong" and row["confidence"] == "high" for row in played)
    false = sum(bool(row["false_alarm"]) for row in rows)
    told = ", ".join(f"{n} {what}" for what, n in count.items())
    return (
        f"checks {checks}: of {len(played)} defects {told}; {false} false alarms; wrong with high "
        f"confidence {certain}{_verdicts(played)}{_not_played(rows)}"
    )


_ORDER = ("first wrong event", "later", "missed")


def _verdicts(rows: list[Row]) -> str:
    judged = [row.get("verdict", "") for row in rows]
    names = [f"{judged.count(name)} {name}" for name in dict.fromkeys(judged) if name]
    return f"; judged: {', '.join(names)}" if names else ""


def _not_played(rows: list[Row]) -> str:
    out = [f"{row.get('driver') or row.get('mistake') or row.get('artefact')}" for row in rows]
    kept = [name for name, row in zip(out, rows, strict=True) if row["result"] == "driver broken"]
    return f"; broken, not counted: {', '.join(kept)}" if kept else ""


def _defect(
    name: str, version: str, played: dict[str, Row], sets: Iterable[str]
) -> tuple[str, ...]:
    rows = list(played.values())
    alarms = dict.fromkeys(row["false_alarm"].split(":")[0] for row in rows if row["false_alarm"])
    return (
        name,
        rows[0]["subsystem"],
        version,
        *(_caught(played[each]) if each in played else "" for each in sets),
        _named(rows),
        ", ".join(alarms) or "none",
    )


def _caught(row: Row) -> str:
    result = row["result"]
    if result in ("driver broken", "not applicable"):
        return f"{_RESULTS.get(result, result)}: {row['why']}"
    if result == "missed":
        ended = row["untrapped"].rpartition("; ended ")[2].split(":")[0]
        return "MISSED" if ended == "clean" else f"MISSED (SGLang: {ended})"
    late = f" +{row['delay']}" if result == "later" else ""
    return f"{row['alarm']}{late}{' (logged)' if row['logged'] else ''}"


def _named(rows: list[Row]) -> str:
    told = []
    for row in rows:
        if not row["alarm"]:
            continue
        if not row["named"]:
            told.append("unknown")
            continue
        verdict = row.get("verdict") or "not judged"
        told.append(f"{verdict}: {', '.join(row['named'])} ({row['confidence']})")
    return "; ".join(dict.fromkeys(told))


def _mistake(row: Row) -> tuple[str, ...]:
    result = row["result"] if row["result"] == "caught" else f"{row['result']}: {row['why']}"
    return (
        row["mistake"],
        row["op"],
        result,
        ", ".join(row["caught_by"]),
        row.get("verdict", ""),
        row["false_alarm"] or "none",
    )


def _artefact(row: Row) -> tuple[str, ...]:
    return (
        row["artefact"],
        row["form"],
        row["result"] + (f": {row['why']}" if row["why"] else ""),
        "; ".join(row["lacks"]) or "nothing",
        "; ".join(row["claims"]) or "none",
        row.get("verdict", ""),
    )


def _linked(name: str, reference: str) -> str:
    return f"[{name}]({reference})" if reference.startswith("https://") else name


def _plain(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
