"""The traps' counts as Prometheus counters, beside SGLang's own where `--enable-metrics` is on.

The rule: no launch, step or allocation does anything for it. The counts are there already; they
are read where somebody scrapes. SGLang's `/metrics` is another process, which sums the files
that each process keeps in `PROMETHEUS_MULTIPROC_DIR`; a collector of ours would never be asked
there, so a thread copies the counts into those files every `EVERY_S` seconds, and once more when
the loop ends. Without that directory a collector reads them when the registry is scraped.

Reading changes nothing: what the hot path counted is added up, not handed over. A number that is
read in between may be short; it is made up for at the next reading, and never goes back.

An error in here is told once, and ends the publishing, never the server.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from triage.errors import log_own_error, type_and_place
from triage.sglang.launch.hot_state import HotState
from triage.sglang.reporter import Reporter

EVERY_S = 5.0
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Family(NamedTuple):
    """One counter: `name` without `_total`, its one label beside `rank`."""

    name: str
    documentation: str
    label: str


VIOLATIONS = Family("sglang_triage_violations", "Invariants that did not hold", "invariant")
CHECKS = Family("sglang_triage_checks", "Checks of page tables, writes and allocations", "of")
LAUNCHES = Family("sglang_triage_launches", "Attention launches that the traps saw", "mode")
NOT_COVERED = Family("sglang_triage_not_covered", "Launches and writes left unchecked", "of")
DUMPS = Family("sglang_triage_dumps", "Dumps, and those that could not be written", "written")
OWN_ERRORS = Family("sglang_triage_internal_errors", "Groups of traps switched off", "mode")
FAMILIES = (VIOLATIONS, CHECKS, LAUNCHES, NOT_COVERED, DUMPS, OWN_ERRORS)

_CHECKED = ("tables", "writes", "allocations")
_LEFT_OUT = {
    "launches": ("launches not covered",),
    "writes": ("writes not covered", "writes not covered: virtual slots"),
}

Values = Mapping[tuple[Family, str], int]
"""(family, value of its label) -> count since the process began."""


class Metrics:
    """Of one scheduler process. `published` is the only thing to call."""

    def __init__(self, reporter: Reporter, hot: HotState) -> None:
        self.reporter, self.hot = reporter, hot

    def values(self) -> Values:
        """Every count, 0 for what did not happen. Any thread; changes nothing."""
        reporter = self.reporter
        counts = dict(reporter.counted_here)
        launches = counts.get("launches", 0) + self.hot.repeated + self.hot.relaunched
        counts["tables"] = counts.get("tables", 0) + self.hot.relaunched
        found: dict[tuple[Family, str], int] = dict.fromkeys(
            ((VIOLATIONS, name) for name in sorted(reporter.enabled)), 0
        )
        found |= {(VIOLATIONS, name): n for name, n in dict(reporter.violations).items()}
        found |= {(CHECKS, name): counts.get(name, 0) for name in _CHECKED}
        for of, names in _LEFT_OUT.items():
            found[NOT_COVERED, of] = sum(counts.get(name, 0) for name in names)
        store = reporter.store
        found |= {(DUMPS, "yes"): store.written, (DUMPS, "no"): store.not_written}
        found[LAUNCHES, reporter.mode] = launches
        found[OWN_ERRORS, reporter.mode] = reporter.shells.internal_errors
        return found

    @contextmanager
    def published(self, scheduler: Any) -> Iterator[None]:
        """Inside, the counts can be scraped, if the server was started with `--enable-metrics`."""
        stop = None
        try:
            if getattr(getattr(scheduler, "server_args", None), "enable_metrics", False):
                stop = self._start(str(getattr(scheduler, "tp_rank", 0)))
        except Exception as error:
            _log_failure(error)
        try:
            yield
        finally:
            if stop is not None:
                stop()

    def _start(self, rank: str) -> Any:
        """Returns what ends it; neither raises but for what `_start` itself meets."""
        if os.environ.get(DIRECTORY):
            return Publisher(self, rank).start()
        from prometheus_client import REGISTRY

        collector = Collector(self, rank)
        REGISTRY.register(collector)
        return lambda: _quietly(lambda: REGISTRY.unregister(collector))


class Collector:
    """Reads the counts when the registry of this process is scraped."""

    def __init__(self, metrics: Metrics, rank: str) -> None:
        self.metrics, self.rank = metrics, rank

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily

        try:
            values = self.metrics.values()
        except Exception as error:  # the rest of the registry is SGLang's
            _log_failure(error)
            return
        for family in FAMILIES:
            made = CounterMetricFamily(
                family.name, family.documentation, labels=(family.label, "rank")
            )
            for (of, label), value in values.items():
                if of is family:
                    made.add_metric((label, self.rank), value)
            yield made


class Publisher:
    """Copies the counts into SGLang's directory from a thread of its own."""

    def __init__(self, metrics: Metrics, rank: str) -> None:
        from prometheus_client import Counter

        self.metrics, self.rank = metrics, rank
        self._counters = {
            family: Counter(family.name, family.documentation, (family.label, "rank"))
            for family in FAMILIES
        }
        self._published: dict[tuple[Family, str], int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sglang-triage-metrics", daemon=True)

    def start(self) -> Any:
        self._thread.start()
        return self.stop

    def stop(self) -> None:
        """The counts of the end are published too."""
        self._ended.set()
        self._thread.join(timeout=1)

    def publish(self) -> None:
        for (family, label), value in self.metrics.values().items():
            counter = self._counters[family].labels(label, self.rank)  # made at 0
            if (grown := value - self._published.get((family, label), 0)) > 0:
                counter.inc(grown)
                self._published[family, label] = value

    def _run(self) -> None:
        try:
            while True:
                ended = self._ended.is_set()
                self.publish()
                if ended:
                    return
                self._ended.wait(EVERY_S)
        except Exception as error:
            _log_failure(error)


def _quietly(call: Any) -> None:
    try:
        call()
    except Exception as error:
        _log_failure(error)


def _log_failure(error: Exception) -> None:
    log_own_error(
        "sglang-triage: its metrics are not published (any more): %s",
        type_and_place(error),
        error=error,
    )
