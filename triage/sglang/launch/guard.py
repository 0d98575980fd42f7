"""What stands before a launch: read on the host, or watched on the device.

Composes the parts that look at launches, and tells which of them answers for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from triage.invariants.catalogue import CONTAINED
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.entry import Entries
from triage.sglang.launch.freshness import Freshness
from triage.sglang.launch.host_check import HostTableCheck
from triage.sglang.launch.hot_state import Replacement
from triage.sglang.launch.watching import Watching
from triage.sglang.reporter import Reporter


class LaunchGuard:
    """The launches of one process.

    Attributes:
        entries: where a launch comes from. hot: the memory of the hot path.
        freshness: whom the metadata of each backend serves.
        host_check: of mode `raise`. watching: of the others, and of every capture.
    """

    def __init__(self, reporter: Reporter, *, strict: bool = True, with_kv: bool = False) -> None:
        self.reporter = reporter
        self.entries = Entries()
        self.hot = self.entries.hot
        self.on_backend: Callable[[Any], None] = lambda model_runner: None
        reporter.counted_elsewhere = self.hot.hand_over_counts
        reporter.disarm = self._disarm
        self.freshness = Freshness(reporter)
        self.watching = Watching(
            reporter,
            self.entries,
            self.freshness,
            "contain" if reporter.mode != "log" and reporter.enabled & CONTAINED else "log",
            strict=strict,
        )
        self.host_check = HostTableCheck(
            reporter, self.entries, self.freshness, self.watching, with_kv
        )

    def _disarm(self) -> None:
        self.hot.armed = False

    def restart(self) -> None:
        """As in a new process."""
        self.entries.forget()
        self.freshness.restart()
        self.watching.restart()

    def note_backend(self, backend: Any, model_runner: Any) -> None:
        self.entries.note_backend(backend, model_runner)
        self.on_backend(model_runner)

    def entered(self, backend: Any, layer: Any, forward_batch: Any) -> AbstractContextManager[None]:
        return self.hot.entered(backend, layer, forward_batch)

    def forget_tables(self, backend: Any, *, graph: bool = False, launches: bool = True) -> None:
        """New metadata: nothing of this backend has been checked yet.

        graph: of a CUDA graph, whose check runs on the device in every mode.
        launches: attention is to follow.
        """
        expect = launches and (graph or not self.reporter.reads_device)
        self.watching.forget(backend, graph=graph, expect=expect)

    def replacements(self, api: str, arguments: Mapping[str, Any]) -> Replacement | None:
        """The table and lengths the launch must be given instead of its own; None for its own.

        Raises a TrapError, in mode `raise` outside capture, as `before_launch` says. A run that
        warms up for a capture is watched besides, as the capture will be.
        """
        if self.reporter.may_wait:
            warms_up = self.warms_up
            self.host_check.before_launch(AttentionCall(api, arguments))
            if not warms_up:
                return None
        return self.watching.before_launch(api, arguments)

    @property
    def warms_up(self) -> bool:
        """Does a forward run outside a capture over the metadata of a graph?

        Before each capture SGLang runs it so. Our kernels have to be compiled and loaded by
        then: neither is legal while a stream is captured.
        """
        inside = self.hot.current_call
        return inside is not None and id(inside[0]) in self.watching.of_graph
