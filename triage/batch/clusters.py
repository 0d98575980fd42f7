"""Rows as clusters: one for each signature, the ones that matter now first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from triage.batch.results import rows_as_dicts
from triage.batch.rows import UNREAD

RECENT = timedelta(days=7)
"""Half-life of a dump's weight, counted back from the newest dump of the results."""

_PARTS = ("cause", "confidence", "invariant", "layer_kind", "call_site", "versions")
_READ = ("url", "size_bytes", "sha256", "status", "error", "duplicate_of", "format_version",
         "signature", "seen", "clock", "replay", *_PARTS)  # fmt: skip


@dataclass(slots=True)
class Cluster:
    """Dumps of one signature (`triage/batch/signature.py`).

    count: distinct dumps. copies: further objects with the content of one of them. recent: those
    of the newest seven days. weight: each dump counts 1, half as much for every seven days that
    it is older than the newest dump of all. exemplar: the smallest dump, `minimal` the file made
    of it, if one was. days: day (UTC) -> dumps.
    """

    signature: str
    cause: str
    confidence: str
    invariant: str
    layer_kind: str
    call_site: str
    versions: str
    count: int = 0
    copies: int = 0
    recent: int = 0
    weight: float = 0.0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    exemplar: str = ""
    exemplar_bytes: int = 0
    exemplar_sha256: str = ""
    minimal: str = ""
    days: Counter[str] = field(default_factory=Counter)
    replays: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__}
        times = {name: _iso(plain[name]) for name in ("first_seen", "last_seen")}
        maps = {
            "days": dict(sorted(self.days.items())),
            "replays": dict(sorted(self.replays.items())),
        }
        return {**plain, **times, **maps, "weight": round(self.weight, 3)}


@dataclass(slots=True)
class Overview:
    """All of a results file. clean: dumps of launches in which nothing is wrong, in no cluster.

    errors: sentence -> how many objects could not be read for it. clocks: whose clock a dump's
    time is -> dumps.
    """

    clusters: list[Cluster] = field(default_factory=list)
    objects: int = 0
    copies: int = 0
    clean: int = 0
    unread: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    format_versions: Counter[str] = field(default_factory=Counter)
    clocks: Counter[str] = field(default_factory=Counter)
    newest: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "objects": self.objects,
            "copies": self.copies,
            "clean": self.clean,
            "unread": self.unread,
            "errors": dict(self.errors.most_common()),
            "format_versions": dict(sorted(self.format_versions.items())),
            "clocks": dict(sorted(self.clocks.items())),
            "newest": _iso(self.newest),
            "clusters": [each.as_dict() for each in self.clusters],
        }


def overview(table: Any) -> Overview:
    """Of a results table. Memory: a cluster's words and days, not its dumps."""
    found = Overview()
    times = (row["seen"] for row in rows_as_dicts(table, ("seen",)) if row["seen"] is not None)
    found.newest = max(times, default=None)
    clusters: dict[str, Cluster] = {}
    for row in rows_as_dicts(table, _READ):
        found.objects += 1
        version = row["format_version"]
        found.format_versions["no dump" if version is None else str(version)] += 1
        if row["status"] == UNREAD:
            found.unread += 1
            found.errors[row["error"]] += 1
            continue
        if row["clock"]:
            found.clocks[row["clock"]] += 1
        if row["duplicate_of"]:
            found.copies += 1
        if row["status"] == "clean":
            found.clean += not row["duplicate_of"]
            continue
        key = row["signature"]
        if key not in clusters:
            clusters[key] = Cluster(key, **{name: row[name] for name in _PARTS})
        _add(clusters[key], row, found.newest)
    found.clusters = sorted(
        clusters.values(), key=lambda each: (-round(each.weight, 6), -each.count, each.signature)
    )
    return found


def _add(cluster: Cluster, row: dict[str, Any], newest: datetime | None) -> None:
    if row["duplicate_of"]:
        cluster.copies += 1
        return
    cluster.count += 1
    if row["replay"]:
        cluster.replays[row["replay"]] += 1
    smallest = (row["size_bytes"], row["url"])
    if not cluster.exemplar or smallest < (cluster.exemplar_bytes, cluster.exemplar):
        cluster.exemplar_bytes, cluster.exemplar = smallest
        cluster.exemplar_sha256 = row["sha256"]
    seen = row["seen"]
    if seen is None or newest is None:
        cluster.weight += 0.5  # as one of last week: when it was nobody knows
        return
    cluster.weight += 0.5 ** ((newest - seen) / RECENT)
    cluster.recent += newest - seen < RECENT
    cluster.first_seen = min(filter(None, (cluster.first_seen, seen)))
    cluster.last_seen = max(filter(None, (cluster.last_seen, seen)))
    cluster.days[seen.date().isoformat()] += 1


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
