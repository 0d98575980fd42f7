"""Where the bars of a report page stand, and the sentence that says what each drawing shows.

Widths and places are in the units of the drawing, 1,000 wide.
"""

from __future__ import annotations

import math
from typing import Any

from triage.report.facts import launch_pairs, shown

WIDTH = 1000
AXIS_HEIGHT, TIME_HEIGHT = 95, 115
MAX_FACTS, FACT_CHARS = 60, 600


def drawn(dump: dict[str, Any]) -> dict[str, Any]:
    """One dump of `triage.report.contents`, with what its part of the page draws."""
    held = dict(dump)
    named = set(dump["explanation"]["named"])
    causes = dump["explanation"]["causes"]
    shown = [each for each in causes if each["key"] in named]
    held["causes"] = shown
    held["also"] = [_also(each) for each in causes if each["key"] not in named] + [
        f"beside it, and not shown to be its cause, this launch has: {each['name']}"
        for each in dump["explanation"]["beside"]
    ]
    held["verdict"] = {
        "clean": "nothing wrong: every visible entry is inside the cache and, where known, right",
        "unknown": "cause unknown",
    }.get(dump["explanation"]["status"], dump["explanation"]["status"])
    legend = dump["map"]["legend"] if dump["map"] else []
    held["bad_total"] = sum(each["count"] for each in legend if each["bad"])
    held["axis"] = None if dump["ids"] is None else _axis(dump["ids"])
    if dump["pools"]:
        pools = [_pool(each) for each in dump["pools"]["pools"]]
        held["pools"] = {**dump["pools"], "pools": pools}
    held["bars"], held["marks"] = _timeline(dump["timeline"])
    held["launch_pairs"] = _launch(dump["launch"])
    held["tensors"] = _tensors(dump["launch"])
    held["launch"] = None  # its parts stand above
    held["found"] = _pairs(dump["found"])  # a stranger's maps last: they get the room that is left
    held["provenance"] = _pairs(dump["provenance"])
    return held


def _pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    """What another process recorded, in words; more than a page can hold is cut."""
    return [(name, shown(value)[:FACT_CHARS]) for name, value in list(values.items())[:MAX_FACTS]]


def _tensors(launch: dict[str, Any] | None) -> list[dict[str, Any]]:
    tensors = {} if launch is None else launch["tensors"]
    return [
        {
            "name": name,
            "dtype": facts["dtype"],
            "shape": " x ".join(map(str, facts["shape"][:8])),
            "stride": ", ".join(map(str, facts["stride"][:8])),
            "offset": facts["storage_offset"],
            "device": facts["device"],
        }
        for name, facts in list(tensors.items())[:MAX_FACTS]
    ]


def _also(cause: dict[str, Any]) -> str:
    needs = f"; needs {', '.join(cause['missing'])}: not recorded" if cause["missing"] else ""
    return f"also possible ({cause['confidence']} confidence): {cause['name']}{needs}"


def _launch(launch: dict[str, Any] | None) -> list[tuple[str, str]]:
    if launch is None:
        return []
    backend = launch["backend"] or {}
    pairs = [*launch_pairs(launch), *((f"backend {k}", v) for k, v in backend.items())]
    return [(name, shown(value)[:FACT_CHARS]) for name, value in pairs]


def _axis(ids: dict[str, Any]) -> dict[str, Any] | None:
    """The histogram of page ids; bars grow with the logarithm, so that one entry is seen."""
    bins, most = len(ids["bad"]), max([*ids["bad"], *ids["right"], 1])
    wrong, right = sum(ids["bad"]) + ids["negative"], sum(ids["right"])
    if not wrong and not right:
        return None
    step = WIDTH / bins
    beyond = f", {ids['negative']} of them negative" if ids["negative"] else ""
    return {
        "width": round(step, 2),
        "edge": round(WIDTH * ids["num_pages"] / ids["top"], 1),
        "right": _bars(ids["right"], most, step),
        "bad": _bars(ids["bad"], most, step),
        "sentence": f"Ids from 0 to {ids['top'] - 1}; the cache ends at {ids['num_pages']}. "
        f"{wrong} entries are wrong{beyond}; of {right} visible ones the right page is known.",
    }


def _bars(counts: list[int], most: int, step: float) -> list[tuple[float, float]]:
    high = math.log1p(most)
    return [
        (round(at * step, 2), round(max(AXIS_HEIGHT * math.log1p(count) / high, 3), 1))
        for at, count in enumerate(counts)
        if count
    ]


def _pool(pool: dict[str, Any]) -> dict[str, Any]:
    pages, free = max(pool["pages"], 1), pool["free_pages"]
    bars, parts = [], []
    if free is not None:
        width = WIDTH * min(max(free, 0), pages) / pages
        bars.append((round(WIDTH - width, 2), round(width, 2), "free"))
        parts.append(f"{free} free, {pool['pages'] - free} in use")
    else:
        parts.append("free pages not recorded")
    if pool["owed"] is not None:
        bars.append((0, round(max(WIDTH * min(pool["owed"], pages) / pages, 2), 2), "owed"))
        parts.append(f"{pool['owed']} of them hold what this launch's queries should see")
    if pool["named"] is not None:
        parts.append(f"its table names {pool['named']} different pages inside the cache")
    return {**pool, "bars": bars, "sentence": "; ".join(parts)}


def _timeline(timeline: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    launches = timeline["launches"]
    step = WIDTH / max(len(launches), 1)
    longest = max((each["longest"] for each in launches), default=0) or 1
    bars = []
    for at, each in enumerate(launches):
        height = max(TIME_HEIGHT * max(each["longest"], 0) / longest, 6)
        kind = "wrong" if each["fresh"] else "stale" if each["stale"] else "launch"
        width = max(step - (1 if step > 3 else 0), 0.5)
        bars.append((round(at * step, 2), round(height, 1), round(width, 2), kind))
    marks = [
        (round((at + 0.5) * step, 2), kind, f"{words}: {launches[at]['name']}")
        for at, kind, words in (
            (timeline["first_wrong"], "first", "first wrong"),
            (timeline["fault"], "end", "fault"),
        )
        if at is not None
    ]
    return bars, marks
