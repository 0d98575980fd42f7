"""All figures of a smoke run in one record, and the promises they are measured by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

from triage.lab.server import drafts
from triage.lab.server.smoke.results import Results

PROMISED_REQUESTS = 2000
MEASURED = {
    "fix": ("fix", "plain"),
    "defect": ("silent", "plain"),
    "clamp": ("clamp", "plain"),
    "off again": ("off", "plain_again"),
}
"""Whose draft tokens are compared with the sound server's: job and part."""

SOUND = {
    "target": "off-target",
    "off-target": "off-target",
    "eager": "off-target",
    "blind-row-zero": "off-target",
    "dummy-target": "dummy-target",
    "flashinfer-off": "flashinfer-off",
    "flashinfer-target": "flashinfer-off",
    "flashinfer-contain": "flashinfer-off",
    "triton-off": "triton-off",
    "triton-default": "triton-off",
    "triton-contain": "triton-off",
}
"""Job -> the job whose plain outputs its own are compared with, where it is not `off`."""


def summarise(
    results: Results, folders: Path, *, like: Mapping[str, str] = SOUND, **beside: Any
) -> dict[str, Any]:
    """Cells, comparisons between them and promises, as JSON values.

    folders: where each job's own folder is, for the draft tokens.
    like: job -> whose plain answers its own are compared with; `off` where it is not named.
    """
    cells = results.cells
    alarms = {k: c for k, c in cells.items() if c.name == "alarm"}
    mixed = [c for c in cells.values() if c.name == "mixed"]
    answered = sum(
        int(c.figures.get("ok", 0)) + int(c.figures.get("aborted", 0))
        for c in mixed
        if c.job != "off" and not c.figures.get("dumps")
    )
    false = [c.key for c in mixed if c.figures.get("dumps")]
    starts = {c.job: c.figures.get("start_s") for c in cells.values() if c.name == "start"}
    first = {k: first_step(c.figures) for k, c in alarms.items()}
    return {
        **beside,
        "promises": {
            "false alarms": {"cells": false, "requests": answered, "of": PROMISED_REQUESTS},
            "alarm in the first wrong step": first,
            "explained": {
                k: sorted({n for d in c.figures.get("dumps", ()) for n in d.get("keys", ())})
                for k, c in alarms.items()
            },
            "start seconds": starts,
            "start seconds more than off": start_more(starts),
        },
        "outputs equal to": {
            f"{c.job}/{c.name}": equal_outputs(results, c.job, c.name, like.get(c.job, "off"))
            for c in cells.values()
            if c.name.startswith("plain")
        },
        "mixed loads": {
            c.key: {name: c.figures.get(name) for name in ("ok", "aborted", "ended", "failed")}
            | {
                name: (c.figures.get("log") or {}).get(name)
                for name in ("full_chunks", "retractions")
            }
            for c in cells.values()
            if c.name == "mixed"
        },
        "draft tokens equal to off": {
            name: draft_share(results, folders, *where) for name, where in MEASURED.items()
        },
        "not held": {k: c.why for k, c in cells.items() if c.held is False},
        "not played": {k: c.why for k, c in cells.items() if c.held is None},
        "cells": {k: asdict(c) for k, c in cells.items()},
    }


def start_more(starts: Mapping[str, float | None]) -> float | None:
    """Seconds that a start in default mode takes more, by the means of the paired starts."""
    off, default = (
        [s for job, s in starts.items() if s is not None and job.startswith(f"start-{mode}")]
        for mode in ("off", "default")
    )
    return round(fmean(default) - fmean(off), 2) if off and default else None


def first_step(figures: dict[str, Any]) -> dict[str, Any]:
    seen = figures.get("oracle") or {}
    return {
        "first wrong": seen.get("first_wrong"),
        "alarm": seen.get("raised"),
        "role": seen.get("role"),
        "form": seen.get("form"),
        "dumps": [one.get("where") for one in figures.get("dumps", ()) if isinstance(one, dict)],
    }


def equal_outputs(results: Results, job: str, name: str, like: str) -> dict[str, Any] | None:
    """Requests whose output is the same as that of the job `like`, without sglang-triage.

    None where one of both was not measured. "same batches": how many batches of prompts were the
    same from the first on, and of how many; absent where they are all the same, or not recorded.
    """
    sound = results.figure(like, "plain", "outputs")
    other = results.figure(job, name, "outputs")
    if not sound or not other:
        return None
    both = sound.keys() & other.keys()
    found = {"equal": sum(sound[k] == other[k] for k in both), "of": len(both), "to": like}
    batches = [results.figure(*of, "batches") for of in ((like, "plain"), (job, name))]
    if all(batches) and batches[0] != batches[1]:
        pairs = zip(*batches, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        found["same batches"] = [same, max(map(len, batches))]
    return found


def draft_share(results: Results, folders: Path, job: str, name: str) -> dict[str, Any] | None:
    """Agreement of a server's draft tokens with the sound one's; None where one is missing."""
    sound = _proposals(results, folders, "off", "plain")
    other = _proposals(results, folders, job, name)
    if not sound or not other:
        return None
    found = drafts.agreement(sound, other)
    accept = results.figure(job, name, "accept_length")
    return {**asdict(found), "share": found.share, "accept_length": accept}


def _proposals(results: Results, folders: Path, job: str, name: str) -> drafts.Proposals:
    cell = results.cells.get(f"{job}/{name}")
    if cell is None or "until" not in cell.figures:
        return {}
    since, until = cell.figures["since"], cell.figures["until"]
    return drafts.read(folders / job / "drafts.jsonl", since=since, until=until)
