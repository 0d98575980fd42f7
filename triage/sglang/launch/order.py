"""I18: the metadata of a graph are refilled while the graph that reads them still runs.

The failure: a refill on another stream without a wait. The graph reads half of one step's
table and half of the next, every id is in range, and nothing shows it again. The rule: a
refill ends behind the last replay of every graph that reads what it writes.

What is asked is the device's clock, not who waited for whom: waits may be made in C++, by
NCCL or by the host, and none of that is visible here. Behind a replay and behind a refill on
another stream lies an event each; where the refill's came first, it wrote while the graph
ran, whatever was meant. So a wait that no one sees raises no alarm, and a missing wait is told
when it has had its effect, not before: a refill that happened to come late enough is silent.

Nothing is recorded as long as all is on one stream, which orders it: then a replay costs a
look at the current stream. From then on it costs one event more, which is recorded, not made:
one that nobody asks any more is moved behind the next replay. Whose metadata a graph reads was
noted at its capture (`graph_replays.py`). Rows that the scheduler gives back or rewrites from
another stream while a replay runs are no defect by themselves (`scheduler/in_flight.py`): they
are kept, and told beside whatever else is found.

Not covered: refills by others than the backend's own entries (the inputs' buffers, in-place
writes of a plugin), graphs that C++ launches, and work that a replay leaves on a third stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triage.device import capture
from triage.device.cuda_streams import Event, Streams
from triage.evidence import Evidence
from triage.invariants.catalogue import sentence
from triage.invariants.found import Found
from triage.sglang.launch.graph_replays import GraphRecord

KEPT = 16
"""Moves of rows, and pairs on their way."""


CLOCK_US = 1.0
"""What two time stamps of a device may differ by without meaning it; CUDA resolves 0.5 us."""


@dataclass(slots=True, eq=False)
class Replay:
    """One replay. `event` lies behind it; None while all was on one stream.

    backends: how many it is the newest replay of. refills: how many are compared with it. Where
    nothing but all of its graph's backends refers to it, the graph's next replay takes its place.
    passed: the event was asked, and the device had passed it.
    """

    graph: int
    backends: int
    refills: int = 0
    number: int = 0
    step: int = 0
    stream: int = 0
    event: Event | None = None
    passed: bool = False

    def running(self) -> bool | None:
        """Has the device not passed it? None: nobody can tell."""
        if self.event is None:
            return None
        if not self.passed:
            self.passed = self.event.query()
        return not self.passed


@dataclass(slots=True, eq=False)
class Refill:
    """A refill of `backend`'s metadata, on another stream than `replay`, which read them."""

    replay: Replay
    backend: str
    step: int
    stream: int
    event: Event


@dataclass(frozen=True, slots=True)
class Move:
    """The scheduler gave back or rewrote a row from another stream, while `replay` ran."""

    what: str
    row: int
    step: int
    stream: int
    replay: int


class Order:
    """The replays and refills of one process; a `Listener` of its graphs.

    Attributes:
        streams: of the device, None until a backend is there and where it has none.
        crossing: has anything come from another stream than the replays? From then on
            replays get an event.
        replays: how many there were. crossed: refills from another stream.
    """

    def __init__(self, step: Callable[[], int]) -> None:
        self.step = step
        self.streams: Streams | None = None
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.crossing = False
        self.replays = self.crossed = 0
        self.last: Replay | None = None
        self._reads: dict[int, Replay] = {}  # of each backend, the newest replay that read it
        self._refills: deque[Refill] = deque()  # KEPT at most
        self._newest: dict[int, Replay] = {}  # of each graph
        self._spare: list[Event] = []
        self._moves: deque[Move] = deque(maxlen=KEPT)

    # -- what happens ------------------------------------------------------------------------

    def capturing(self, record: GraphRecord | None) -> None:
        """Nothing is known of a graph before its first replay."""

    def replayed(self, record: GraphRecord) -> None:
        """Cost: a look at the current stream; an event once anything came from another one."""
        streams = self.streams
        if streams is None:
            return
        self.replays += 1
        number, backends = record.number, record.backends
        replay = self._newest.get(number)
        if replay is None or replay.refills or replay.backends != len(backends):
            replay = self._newest[number] = Replay(number, len(backends))
            reads = self._reads
            for backend in backends:
                before = reads.get(backend)
                reads[backend] = replay
                if before is not None:
                    before.backends -= 1
                    self._let_go(before)
        replay.number = self.replays
        replay.step = self.step()
        replay.stream = streams.current()
        replay.passed = False
        if self.crossing:
            replay.event = streams.record(replay.event or self._unasked())
        self.last = replay

    def refilled(self, backend: Any) -> None:
        """The metadata of `backend` were refilled on the current stream."""
        streams, replay = self.streams, self._reads.get(id(backend))
        if streams is None or replay is None or capture.capturing():
            return
        stream = streams.current()
        if stream == replay.stream:
            return
        self.crossed += 1
        self.crossing = True
        if replay.event is not None:
            if len(self._refills) == KEPT:
                self._settled(self._refills.popleft())
            kind = type(backend).__name__
            replay.refills += 1
            event = streams.record(self._unasked())
            self._refills.append(Refill(replay, kind, self.step(), stream, event))

    def moved(self, what: str, row: int) -> None:
        """The scheduler is about to give back or rewrite a row."""
        streams, replay = self.streams, self.last
        if streams is None or replay is None or capture.capturing():
            return
        stream = streams.current()
        if stream == replay.stream:
            return
        self.crossing = True
        if replay.running():
            self._moves.append(Move(what, row, self.step(), stream, replay.number))

    # -- what it means -----------------------------------------------------------------------

    def broken(self) -> Evidence | None:
        """A refill that ended before a replay that reads it; None if none has been seen.

        Asks events, waits for none. Each pair is told once. What is queued behind a replay
        that still runs is not asked.
        """
        waiting: list[Refill] = []
        runs: dict[int, int] = {}  # stream -> a replay on it that still runs
        found = None
        while self._refills and found is None:
            refill = self._refills.popleft()
            replay, event = refill.replay, refill.replay.event
            assert event is not None
            behind = runs.get(replay.stream, replay.number + 1) <= replay.number
            if behind or replay.running():
                runs[replay.stream] = min(replay.number, runs.get(replay.stream, replay.number))
                waiting.append(refill)
                continue
            if not refill.event.query():
                waiting.append(refill)
                continue
            early = -1000 * event.elapsed_time(refill.event)
            if early > CLOCK_US:
                found = _evidence(refill, early)
            self._settled(refill)
        self._refills.extendleft(reversed(waiting))
        return found

    def sentences(self, step: int) -> list[str]:
        """What was seen of the order around `step`, newest first; for the facts of a finding."""
        told = [
            f"row {move.row} was {move.what} in step {move.step} on stream {move.stream:#x} "
            f"while replay {move.replay} ran"
            for move in reversed(self._moves)
            if step - 1 <= move.step <= step + 1
        ]
        last = self.last
        if last is not None:
            told.append(
                f"replay {last.number} of graph {last.graph} was queued in step {last.step} on "
                f"stream {last.stream:#x}"
            )
        return told

    # -- events ------------------------------------------------------------------------------

    def _unasked(self) -> Event | None:
        return self._spare.pop() if self._spare else None

    def _let_go(self, replay: Replay) -> None:
        """Its event is free for others once nobody can ask for it."""
        if replay.event is not None and not replay.backends and not replay.refills:
            self._spare.append(replay.event)
            replay.event = None

    def _settled(self, refill: Refill) -> None:
        """The pair was compared, or is the oldest of too many."""
        self._spare.append(refill.event)
        refill.replay.refills -= 1
        self._let_go(refill.replay)


def _evidence(refill: Refill, early: float) -> Evidence:
    replay = refill.replay
    return Evidence(
        "I18",
        f"{sentence('I18')}: refilled in step {refill.step} on stream {refill.stream:#x}, "
        f"{early:.0f} us before replay {replay.number} of graph {replay.graph} ended, queued in "
        f"step {replay.step} on stream {replay.stream:#x}",
        f"refill of {refill.backend}'s metadata",
        total=1,
        kind=Found.REFILLED_WHILE_READ,
        facts={
            "replay": replay.number,
            "graph": replay.graph,
            "replay_step": replay.step,
            "replay_stream": f"{replay.stream:#x}",
            "refill_step": refill.step,
            "refill_stream": f"{refill.stream:#x}",
            "backend": refill.backend,
            "early_us": round(early, 1),
        },
    )
