"""Which CUDA graph is captured, and which is replayed: torch's `CUDAGraph`, seen from outside.

A replay runs no Python of the model, so nothing else says that it happened. SGLang's decode,
verify and draft runners replay `torch.cuda.CUDAGraph` objects in every release read; a graph
that C++ launches by itself passes this by, and so does one that was captured before the hooks
were bound.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from triage.errors import TrapError
from triage.sglang.binding.patches import Patch
from triage.sglang.binding.shell import Shell
from triage.sglang.binding.wrapping import Function, Parameters, written_out
from triage.sglang.launch.hot_state import HotState

GRAPH = "torch.cuda.graphs.CUDAGraph"
_RECORD = "_sglang_triage_record"


@dataclass(slots=True, eq=False)
class GraphRecord:
    """One captured graph.

    number: in the order of the captures, from 1.
    backends: those whose launches it holds, by `id`: whose metadata it reads.
    kept: what others keep of it, by their name.
    """

    number: int
    backends: dict[int, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)


class Listener(Protocol):
    """Is told of captures and replays. Must not wait for the device, nor raise."""

    def capturing(self, record: GraphRecord | None) -> None:
        """A capture has begun, or with None ended."""

    def replayed(self, record: GraphRecord) -> None:
        """The graph was queued on the current stream."""


class GraphReplays:
    """The graphs of one process.

    current: the one that is being captured, or None. absent: what cannot be seen -> why.
    """

    def __init__(self, hot: HotState, shell: Shell) -> None:
        self.hot = hot
        self.shell = shell
        self.listeners: list[Listener] = []
        self.current: GraphRecord | None = None
        self.graphs = 0
        self.absent: dict[str, str] = {}

    def restart(self) -> None:
        """As in a new process; graphs captured before are not known any more."""
        self.current = None
        self.graphs = 0

    def patches(self) -> list[Patch]:
        """All three, or none with the reason in `absent`: a graph half seen tells nothing."""
        if not self.listeners:
            return []
        why = "order of replays, outputs of graphs"
        told = {"capture_begin": self.begin, "capture_end": self.end, "replay": self.replayed}
        try:
            graph = pkgutil.resolve_name(GRAPH)
            for name in told:
                inspect.getattr_static(graph, name)
        except (ImportError, AttributeError) as error:
            self.absent["replays of CUDA graphs"] = f"{GRAPH}: {error}"
            return []
        return [
            Patch(f"{GRAPH}.{name}", partial(self._behind, told=call), why)
            for name, call in told.items()
        ]

    def note_backend(self, backend: Any) -> None:
        """A launch of `backend` is being captured."""
        if self.current is not None:
            self.current.backends[id(backend)] = backend

    def begin(self, graph: Any) -> None:
        """`graph` is being captured from here on."""
        self.graphs += 1
        self.current = GraphRecord(self.graphs)
        setattr(graph, _RECORD, self.current)
        for each in self.listeners:
            each.capturing(self.current)

    def end(self, graph: Any) -> None:
        self.current = None
        for each in self.listeners:
            each.capturing(None)

    def replayed(self, graph: Any) -> None:
        record = getattr(graph, _RECORD, None)
        if record is not None:
            for each in self.listeners:
                each.replayed(record)

    def _behind(self, original: Function, told: Callable[[Any], None]) -> Function:
        """Makes the wrapper that calls `told(graph)` once the original has returned."""
        parameters = Parameters.of(original)
        graph = parameters.names[0] if parameters.names else "args[0]"
        body = f"""
_result = original(PASSED)
if hot.armed and shell.on:
    try:
        told({graph})
    except TrapError:
        raise
    except Exception as _problem:
        shell.failed(_problem)
return _result
"""
        return written_out(
            original,
            parameters,
            body,
            hot=self.hot,
            shell=self.shell,
            told=told,
            TrapError=TrapError,
        )
