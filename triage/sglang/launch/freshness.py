"""I11: is the metadata that a backend holds that of the forward that is about to use it?

Freshness goes by identity: metadata serves the batch it was built from, one copy of it
that is launched first (piecewise graphs make one), and whatever shares `seq_lens` with
either. Metadata of a CUDA graph is refilled by the graph itself and passed over.
`metadata.py` tells what was built; the first launch of a forward asks. Host work only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, ref

from triage.evidence import Evidence
from triage.invariants.graph import MetadataStamp, check_freshness
from triage.sglang.reporter import METADATA, Reporter


@dataclass(slots=True)
class Built:
    """Whom a backend's metadata serves; weakly, so that no batch is kept alive."""

    number: int
    rows: int
    graph: bool = False
    launched: bool = False
    users: list[tuple[Any, Any]] = field(default_factory=list)

    def add(self, forward_batch: Any) -> None:
        lengths = getattr(forward_batch, "seq_lens", None)
        self.users.append((ref(forward_batch), None if lengths is None else ref(lengths)))

    def serves(self, forward_batch: Any) -> bool:
        """The first batch to be launched may be a copy of the one it was built from."""
        lengths = getattr(forward_batch, "seq_lens", None)
        known = self.graph
        for batch, seen in self.users:
            known = known or batch() is forward_batch or (seen is not None and seen() is lengths)
        if not known and not self.launched:
            self.add(forward_batch)
            known = True
        self.launched = True
        return known


class Freshness:
    """Whom each backend's newest metadata serves."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.builds = 0
        self._built: WeakKeyDictionary[Any, Built] = WeakKeyDictionary()

    def restart(self) -> None:
        self.builds = 0
        self._built.clear()

    def built_for(self, backend: Any, forward_batch: Any) -> None:
        """`backend` has metadata that was built for this batch."""
        self.builds += 1
        built = self._built[backend] = Built(self.builds, int(forward_batch.batch_size))
        built.add(forward_batch)

    def built_for_graph(self, backend: Any) -> None:
        """`backend` has metadata of a CUDA graph."""
        self.builds += 1
        self._built[backend] = Built(self.builds, 0, graph=True)

    def check(self, backend: Any, forward_batch: Any) -> None:
        """Report I11 if the metadata that `backend` holds was not built for this forward."""
        if "I11" in self.reporter.enabled:
            self.reporter.group(METADATA).part(lambda: self._check(backend, forward_batch), None)

    def _check(self, backend: Any, forward_batch: Any) -> None:
        found = self.stale(backend, forward_batch)
        if found is not None:
            self.reporter.fire_event(found)

    def stale(self, backend: Any, forward_batch: Any) -> Evidence | None:
        """What is wrong with the metadata for this forward; None if it was built for it."""
        built = self._built.get(backend)
        if built is None or built.serves(forward_batch):
            return None
        rows = int(forward_batch.batch_size)
        return check_freshness(
            MetadataStamp(built.number, built.rows, built.rows),
            MetadataStamp(self.builds + 1, rows, rows),
        )
