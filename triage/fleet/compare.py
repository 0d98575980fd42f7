"""Runs side by side: differences to the first, each with the noise it must exceed.

Runs of one label are repetitions. The band of a difference is two standard errors, from
the repetitions where both sides have at least two; for latencies of single runs it comes
from resampling the requests. A difference inside its band is called noise, one without a
band is shown and not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from triage.fleet.client import Answer
from triage.fleet.journal import Journal
from triage.fleet.summary import summarise
from triage.fleet.workloads import FleetError

RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class Metric:
    """name: a field of Summary. of_answer: per request, for metrics that are medians of one."""

    name: str
    unit: str
    higher_is_better: bool
    of_answer: Callable[[Answer], float | None] | None = None


METRICS = (
    Metric("duration_s", "s", False),
    Metric("output_tok_s", "tok/s", True),
    Metric("total_tok_s", "tok/s", True),
    Metric("ttft_ms", "ms", False, lambda a: None if a.ttft_s is None else a.ttft_s * 1e3),
    Metric("tpot_ms", "ms", False, lambda a: None if a.tpot_s is None else a.tpot_s * 1e3),
    Metric("accept_length", "tokens", True),
)


@dataclass(frozen=True, slots=True)
class Delta:
    """One metric of one label against the first label. Shares are of the first's value.

    band: half width within which a difference is noise, None where it cannot be told.
    """

    metric: Metric
    label: str
    base: float
    value: float
    band: float | None

    @property
    def share(self) -> float:
        return self.value / self.base - 1 if self.base else 0.0

    @property
    def verdict(self) -> str:
        if self.band is None:
            return "not judged: one run each"
        if abs(self.share) <= self.band:
            return "noise"
        return "better" if (self.share > 0) == self.metric.higher_is_better else "worse"


def compare(journals: Sequence[Journal]) -> list[Delta]:
    """Raises FleetError for fewer than two labels, or runs of different workloads."""
    workloads = {str(journal.header.get("workload")) for journal in journals}
    if len(workloads) > 1:
        raise FleetError(f"these are runs of different workloads: {', '.join(sorted(workloads))}")
    groups: dict[str, list[Journal]] = {}
    for journal in journals:
        groups.setdefault(summarise(journal).label, []).append(journal)
    for label, runs in groups.items():
        models = sorted({str(run.header.get("model")) for run in runs})
        if len(models) > 1:
            raise FleetError(f"the runs labelled {label!r} are of several models: {models}")
    if len(groups) < 2:
        raise FleetError("comparing needs runs of two labels; give runs different --label")
    (_, first), *others = groups.items()
    found = []
    for metric in METRICS:
        base = _values(first, metric)
        for label, runs in others:
            value = _values(runs, metric)
            if base and value:
                band = _band(metric, first, runs, base, value)
                found.append(Delta(metric, label, _mean(base), _mean(value), band))
    return found


def _values(runs: list[Journal], metric: Metric) -> list[float]:
    values = [getattr(summarise(run), metric.name) for run in runs]
    return [float(value) for value in values if value is not None]


def _band(
    metric: Metric,
    first: list[Journal],
    runs: list[Journal],
    base: list[float],
    value: list[float],
) -> float | None:
    if min(len(base), len(value)) >= 2:
        spread = np.var(base, ddof=1) / len(base) + np.var(value, ddof=1) / len(value)
        return 2 * float(spread) ** 0.5 / _mean(base)
    if metric.of_answer is None:
        return None
    rng = np.random.default_rng(0)
    spreads = [_resampled(run, metric.of_answer, rng) ** 2 for run in (first[0], runs[0])]
    return 2 * sum(spreads) ** 0.5 / _mean(base)


def _resampled(
    run: Journal, of_answer: Callable[[Answer], float | None], rng: np.random.Generator
) -> float:
    """Standard error of the median over the requests of one run."""
    values = [of_answer(answer) for answer in run.answers.values() if not answer.error]
    known = np.array([value for value in values if value is not None])
    draws = rng.choice(known, (RESAMPLES, len(known)))
    return float(np.median(draws, axis=1).std())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def text_of(deltas: list[Delta]) -> str:
    lines = [f"{'metric':14} {'label':16} {'first':>10} {'this':>10} {'change':>8} {'band':>7}"]
    for delta in deltas:
        band = "" if delta.band is None else f"±{delta.band:.1%}"
        lines.append(
            f"{delta.metric.name:14} {delta.label:16} {delta.base:10.2f} {delta.value:10.2f} "
            f"{delta.share:+8.1%} {band:>7}  {delta.verdict}"
        )
    return "\n".join(lines)


def plot(deltas: list[Delta], ending: str) -> bytes:
    """One bar per metric and label, the change with its band, as a file of that ending.

    Needs matplotlib. Raises ReplayError for an ending that is no picture.
    """
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(delta.label for delta in deltas))
    metrics = list(dict.fromkeys(delta.metric.name for delta in deltas))
    figure = Figure(figsize=(1.6 * len(metrics) + 2, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(labels)
    for number, label in enumerate(labels):
        mine = {delta.metric.name: delta for delta in deltas if delta.label == label}
        at = [metrics.index(name) + number * width for name in mine]
        axes.bar(
            at,
            [100 * delta.share for delta in mine.values()],
            width,
            yerr=[100 * (delta.band or 0) for delta in mine.values()],
            capsize=3,
            label=label,
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks([i + (len(labels) - 1) * width / 2 for i in range(len(metrics))], metrics)
    axes.set_ylabel("change to the first label, %")
    axes.legend()
    from triage.report.picture import drawn

    return drawn(figure, ending)
