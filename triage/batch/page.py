"""The results as one HTML page: clusters, trend, versions, what could not be read.

Like the page of one dump (`triage/report/page.py`) it loads nothing and escapes every text; it
has no script at all.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import triage
from triage.batch.clusters import Cluster, Overview
from triage.files.text import printable
from triage.report.page import asset, csp_hash

MAX_CLUSTERS, MAX_TRENDS, MAX_DAYS, MAX_ERRORS = 200, 20, 120, 50
_BAR = 36  # pixels of the longest


def html(seen: Overview, results: Path, beside: Path) -> bytes:
    """The page of `results`.

    Args:
        beside: the directory that the page will lie in; links to files lead from there.
    Raises ModuleNotFoundError without jinja2 (the extra `report`).
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = asset("page.css")
    source = resources.files("triage.batch") / "assets" / "batch.html.jinja"
    shown = seen.clusters[:MAX_CLUSTERS]
    days = _days(seen.clusters)
    page = environment.from_string(source.read_text(encoding="utf-8")).render(
        version=triage.__version__,
        name=printable(results),
        style=style,
        policy=f"default-src 'none'; style-src '{csp_hash(style)}'; base-uri 'none'; "
        "form-action 'none'",
        seen=seen,
        clusters=[_cluster(each, beside) for each in shown],
        left_out=len(seen.clusters) - len(shown),
        days=days,
        trend=_trend(seen.clusters, days),
        versions=_versions(shown),
        errors=seen.errors.most_common(MAX_ERRORS),
        errors_left=max(len(seen.errors) - MAX_ERRORS, 0),
    )
    return page.encode()


def _cluster(cluster: Cluster, beside: Path) -> dict[str, Any]:
    plain = cluster.as_dict()
    return {
        **plain,
        "exemplar_link": _link(cluster.exemplar, beside),
        "minimal_link": _link(cluster.minimal, beside),
    }


def _link(url: str, beside: Path) -> str:
    """Of a local file its way from the page; of the web its URL; "" where a browser has no way."""
    if url.startswith(("https://", "http://")):
        return url
    if not url or "://" in url:
        return ""
    return quote(os.path.relpath(url, beside))


def _days(clusters: list[Cluster]) -> list[str]:
    """Every day between the first and the last with a dump, the newest `MAX_DAYS` of them."""
    known = {day for each in clusters for day in each.days}
    if not known:
        return []
    last = date.fromisoformat(max(known))
    first = max(date.fromisoformat(min(known)), last - timedelta(days=MAX_DAYS - 1))
    return [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]


def _trend(clusters: list[Cluster], days: list[str]) -> list[dict[str, Any]]:
    everything: Counter[str] = Counter()
    for each in clusters:
        everything.update(each.days)
    rows = [("", everything), *((each.signature, each.days) for each in clusters[:MAX_TRENDS])]
    return [_bars(signature, counts, days) for signature, counts in rows]


def _bars(signature: str, counts: Counter[str], days: list[str]) -> dict[str, Any]:
    most = max((counts[day] for day in days), default=0)
    bars = [
        {
            "day": day,
            "count": counts[day],
            "height": -(-counts[day] * _BAR // most) if most else 0,
        }
        for day in days
    ]
    label = ", ".join(f"{day}: {counts[day]}" for day in days if counts[day])
    return {"signature": signature, "bars": bars, "most": most, "label": label or "none"}


def _versions(clusters: list[Cluster]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for each in clusters:
        row = found.setdefault(
            each.versions, {"versions": each.versions, "count": 0, "clusters": []}
        )
        row["count"] += each.count
        row["clusters"].append((each.signature, each.cause))
    return sorted(found.values(), key=lambda row: (-row["count"], row["versions"]))
