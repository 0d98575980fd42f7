"""Dumps of ranks, read from files and folders; everything that could not be used is counted.

A folder of a server that died in the middle of writing holds files that are half there, dumps
of earlier runs, the same dump copied twice, and those of older versions of this tool, which
record no fingerprints. Each is counted under its reason and none of them stops the rest.
Needs no torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from triage.dump.file import read_dump
from triage.dump.sections import Dump
from triage.dump.store import SUFFIX
from triage.errors import DumpError
from triage.explain import explain
from triage.files.reading import open_regular
from triage.files.writing import PARTIAL

TABLES = ("page_table", "req_pool_indices", "cache_seqlens", "out_cache_loc")
"""What ranks of one TP group must hold alike, by SGLang's names."""

GROUP = ("pp", "dp", "attn_dp")
"""Ranks that differ in one of these serve other layers or other requests."""


class Place(NamedTuple):
    """Where a rank stands. -1: not recorded."""

    pp: int
    dp: int
    attn_dp: int
    tp: int

    @property
    def group(self) -> tuple[int, int, int]:
        return self.pp, self.dp, self.attn_dp

    @property
    def name(self) -> str:
        """ "tp 1", with the other kinds where there are several of them."""
        others = zip(GROUP, self[:3], strict=True)
        said = [f"{kind} {rank}" for kind, rank in others if rank > 0]
        return " ".join([*said, f"tp {self.tp}"])


@dataclass(frozen=True, slots=True)
class RankLaunch:
    """One recorded launch. `prints`: its fingerprints by table, None for what was not recorded."""

    sequence: int
    check: int | None
    step: int | None
    space: str
    role: str
    layer_id: int | None
    forward_mode: str
    graph: bool
    prints: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class RankDump:
    """One dump. `alarm`: the invariant that did not hold, "" for none; `step`: of that alarm."""

    path: Path
    place: Place
    sizes: dict[str, int]
    draft: int | None
    pid: int | None
    launcher: int | None
    written: datetime | None
    format_version: int
    kind: str
    alarm: str
    headline: str
    step: int | None
    reached: int | None
    causes: tuple[str, ...]
    launches: tuple[RankLaunch, ...]
    torn: int


@dataclass(slots=True)
class Reading:
    """What was found. `left_out`: path -> why it is not used."""

    files: int = 0
    dumps: list[RankDump] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)


def read(given: Sequence[Path]) -> Reading:
    """Read dumps, and those in folders with all below them.

    Raises DumpError where a path does not exist, or a folder holds no dump at all.
    """
    found = Reading()
    seen: dict[str, Path] = {}
    for path in _files(given):
        found.files += 1
        if PARTIAL.fullmatch(path.name):
            found.left_out[path] = "half-written: its writer was stopped"
            continue
        try:
            digest = _digest(path)
            if digest in seen:
                found.left_out[path] = f"the same dump as {seen[digest].name}"
                continue
            seen[digest] = path
            each = of_dump(path, read_dump(path))
        except (DumpError, OSError) as error:
            found.left_out[path] = f"cannot be read: {error}"
            continue
        if each.place.tp < 0:
            found.left_out[path] = (
                "its rank is not recorded: written by an older version, or "
                "by a process without SGLang's groups"
            )
            continue
        found.dumps.append(each)
    return found


def of_dump(path: Path, dump: Dump) -> RankDump:
    """What `merge` needs of a dump. Nothing in it is taken for granted."""
    known = dump.provenance.get("ranks")
    ranks = {k: v for k, v in known.items() if type(v) is int} if isinstance(known, dict) else {}
    facts = dump.fault.facts
    kind = facts.get("kind") if not dump.fault.invariant else "alarm"
    launches, torn = _launches(dump)
    return RankDump(
        path=path,
        place=Place(*(ranks.get(name, -1) for name in Place._fields)),
        sizes={name: ranks[name] for name in ("tp_size", "pp_size", "dp_size") if name in ranks},
        draft=ranks.get("draft"),
        pid=_number(dump.provenance, "pid"),
        launcher=_number(dump.provenance, "launcher"),
        written=_time(dump.provenance.get("time")),
        format_version=dump.format_version,
        kind=kind if isinstance(kind, str) else "other",
        alarm=dump.fault.invariant,
        headline=dump.fault.headline(),
        step=_number(facts, "step"),
        reached=_number(dump.provenance, "step"),
        causes=tuple(cause.key for cause in explain(dump).named),
        launches=launches,
        torn=torn,
    )


def _launches(dump: Dump) -> tuple[tuple[RankLaunch, ...], int]:
    found, torn = [], 0
    for entry in dump.history:
        if entry.get("torn") is True:
            torn += 1
            continue
        prints = entry.get("fingerprint")
        sequence = _number(entry, "sequence")
        if not isinstance(prints, dict) or sequence is None:
            continue
        found.append(
            RankLaunch(
                sequence,
                _number(entry, "checker_launch"),
                _number(entry, "step"),
                _text(entry, "space"),
                _text(entry, "role"),
                _number(entry, "layer_id"),
                _text(entry, "forward_mode"),
                bool(_number(entry, "graph")),
                {name: _number(prints, name) for name in TABLES},
            )
        )
    return tuple(found), torn


def _files(given: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(
                each
                for each in path.rglob("*")
                if each.is_file() and (each.suffix == SUFFIX or PARTIAL.fullmatch(each.name))
            )
            if not inside:
                raise DumpError(f"{path} holds no dump (*{SUFFIX}); give the server's directory")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise DumpError(f"{path} does not exist")
    return found


def _digest(path: Path) -> str:
    summed = hashlib.sha256()
    with open_regular(path, 1 << 62) as file:  # the reader has its own limit
        while part := file.read(1 << 20):
            summed.update(part)
    return summed.hexdigest()


def _time(text: Any) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    except (TypeError, ValueError):
        return None


def _number(values: dict[str, Any], name: str) -> int | None:
    value = values.get(name)
    return value if type(value) is int else None


def _text(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return value if isinstance(value, str) else ""
