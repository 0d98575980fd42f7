"""I18: a refill that ended while a replay still read is told with both sides; a wait is silence.

Long because every test plays the one server on pretended streams that stands at the top.
"""

from __future__ import annotations

import pytest

from triage.dump.file import read_dump
from triage.dump.store import DumpStore
from triage.errors import BrokenLifecycle
from triage.explain import explain
from triage.explain.cause import Confidence
from triage.invariants.found import Found
from triage.lab.pretended_streams import PretendedStreams
from triage.sglang.binding.shell import Shells
from triage.sglang.launch.graph_replays import GraphReplays
from triage.sglang.launch.hot_state import HotState
from triage.sglang.launch.order import KEPT, Order
from triage.sglang.traps import Traps

FORWARD, PLAN = 1, 2
REPLAY_US, REFILL_US = 900.0, 20.0


class Graph:
    """Stands for `torch.cuda.CUDAGraph`: what the hooks need of it is its identity."""


class Backend:
    """Stands for an attention backend, whose metadata a graph reads."""


class Server:
    """One graph over one backend, on pretended streams; `step` refills and replays."""

    def __init__(self):
        self.streams, self.number = PretendedStreams(), 0
        self.order = Order(lambda: self.number)
        self.order.streams = self.streams
        self.replays = GraphReplays(HotState(), Shells().of("replays"))
        self.replays.listeners.append(self.order)
        self.backend, self.graph = Backend(), Graph()
        self.capture(self.graph, self.backend)

    def capture(self, graph, *backends):
        self.replays.begin(graph)
        for backend in backends:
            self.replays.note_backend(backend)
        self.replays.end(graph)

    def refill(self, stream, *, waits_for=None, backend=None):
        with self.streams.on(stream):
            if waits_for is not None:
                self.streams.wait_event(waits_for)
            self.streams.queue(REFILL_US)
            self.order.refilled(backend or self.backend)

    def replay(self, graph=None, *, waits_for=None):
        with self.streams.on(FORWARD):
            if waits_for is not None:
                self.streams.wait_event(waits_for)
            self.streams.queue(REPLAY_US)
            self.replays.replayed(graph or self.graph)

    def end_of(self, stream):
        with self.streams.on(stream):
            return self.streams.record()

    def step(self, *, waits):
        """The plan of a step on a stream of its own; the host is a step ahead of the device."""
        self.number += 1
        self.refill(PLAN, waits_for=self.end_of(FORWARD) if waits else None)
        self.replay(waits_for=self.end_of(PLAN))
        self.streams.pass_time(REPLAY_US / 2)

    def found(self):
        return self.order.broken()

    def drain(self):
        self.streams.pass_time(1e6)


def test_a_refill_without_a_wait_is_told_with_both_sides():
    # GIVEN a server whose plan stream does not wait for the replay that still reads
    server = Server()
    for _ in range(4):
        server.step(waits=False)
    server.drain()
    # WHEN the events are asked
    found = server.found()
    # THEN both sides are named: replay, graph, steps, streams, and by how much
    assert (found.invariant, found.kind) == ("I18", Found.REFILLED_WHILE_READ)
    assert found.facts["graph"] == 1 and found.facts["backend"] == "Backend"
    assert found.facts["replay_stream"] == "0x1" and found.facts["refill_stream"] == "0x2"
    assert found.facts["refill_step"] == found.facts["replay_step"] + 1
    assert 0 < found.facts["early_us"] <= 2 * REPLAY_US
    assert f"before replay {found.facts['replay']} of graph 1 ended" in found.summary


def test_the_same_with_the_wait_is_silent():
    server = Server()
    for _ in range(20):
        server.step(waits=True)
        assert server.found() is None
    server.drain()
    assert server.found() is None and server.order.crossed == 19


def test_all_on_one_stream_is_silent_and_records_nothing():
    server = Server()
    for _ in range(20):
        server.number += 1
        server.refill(FORWARD)
        server.replay()
    server.drain()
    assert server.found() is None
    assert server.order.replays == 20 and server.streams.recorded == 0


def test_an_event_that_nobody_asks_any_more_lies_behind_a_later_replay():
    # GIVEN a plan on another stream, and two graphs over backends of their own
    server, draft, draft_graph = Server(), Backend(), Graph()
    server.capture(draft_graph, draft)
    for _ in range(200):
        server.step(waits=True)
        server.replay(draft_graph)
        server.streams.pass_time(2 * REPLAY_US)
        assert server.found() is None
    # THEN every replay and every refill is recorded, with a handful of events
    assert server.streams.recorded > 2 * 200
    made_by_us = server.streams.made - 2 * 200  # the test's own waits
    assert made_by_us <= 8
    # AND of what the host knows already no event is asked: one look at each pair's two
    assert server.streams.queried <= 2 * server.order.crossed


def test_an_event_that_a_refill_still_asks_is_not_moved():
    # GIVEN refills without a wait, and a device that is far behind the host
    server = Server()
    for _ in range(3 * KEPT):
        server.number += 1
        server.refill(PLAN)
        server.replay(waits_for=server.end_of(PLAN))
    asked = server.streams.queried
    assert server.found() is None
    # THEN only the oldest replay is asked, on whose stream the others lie behind it
    assert server.streams.queried == asked + 1
    # AND each of the pairs that are kept is told with its own step and its own time
    server.drain()
    told = []
    while (each := server.found()) is not None:
        told.append((each.facts["refill_step"], each.facts["replay_step"]))
    assert told == [(step, step - 1) for step in range(2 * KEPT + 1, 3 * KEPT + 1)]
    assert server.streams.made - 3 * KEPT <= 2 * KEPT + 4


def test_a_pair_keeps_its_replay_when_the_graph_is_replayed_again():
    # GIVEN a graph over two backends, one of which another graph took over
    server, second, other = Server(), Backend(), Graph()
    both = Graph()
    server.capture(both, server.backend, second)
    server.capture(other, second)
    server.refill(PLAN)
    server.number = 1
    server.replay(both)
    server.refill(PLAN)  # shows that there is another stream
    server.replay(both)
    server.replay(other)
    # WHEN the backend that it still has is refilled too early, and the graph replayed again
    server.number = 2
    server.refill(PLAN)
    server.number = 3
    server.replay(both)
    server.drain()
    # THEN what is told is the replay before the refill
    found = server.found()
    assert (found.facts["replay"], found.facts["replay_step"]) == (2, 1)
    assert found.facts["refill_step"] == 2


def test_a_refill_that_came_late_enough_without_a_wait_is_no_alarm():
    server = Server()
    for _ in range(5):
        server.number += 1
        server.refill(PLAN)
        server.replay(waits_for=server.end_of(PLAN))
        server.streams.pass_time(2 * REPLAY_US)  # the host is behind the device
    assert server.found() is None


def test_what_has_not_ended_is_asked_again_later_and_told_once():
    server = Server()
    for _ in range(3):
        server.step(waits=False)
    assert server.streams.now < server.end_of(FORWARD).at
    server.drain()
    found = []
    while (each := server.found()) is not None:
        found.append((each.facts["replay"], each.facts["refill_step"]))
    assert found and len(found) == len(set(found))


def test_the_metadata_of_another_backend_may_be_refilled_while_a_graph_runs():
    # GIVEN a draft whose graph reads metadata of its own, and that everything crosses streams
    server, draft, draft_graph = Server(), Backend(), Graph()
    server.capture(draft_graph, draft)
    for _ in range(5):
        server.number += 1
        # WHEN the target's metadata are refilled while the draft's graph runs, which the
        # target's last replay is long past
        server.replay(draft_graph)
        server.refill(PLAN)
        server.replay(waits_for=server.end_of(PLAN))
        server.drain()
    # THEN nothing is wrong
    assert server.found() is None and server.order.crossed == 4


def test_a_row_that_is_given_back_while_a_replay_runs_is_kept_for_the_words_of_a_finding():
    server = Server()
    for _ in range(2):  # the first shows that rows move on another stream
        server.number += 1
        server.replay()
        with server.streams.on(PLAN):
            server.order.moved("given back", 7)
    told = server.order.sentences(server.number)
    assert told[0] == "row 7 was given back in step 2 on stream 0x2 while replay 2 ran"
    assert told[-1] == "replay 2 of graph 1 was queued in step 2 on stream 0x1"
    # AND of a replay that has ended nothing is said
    server.drain()
    with server.streams.on(PLAN):
        server.order.moved("given back", 8)
    assert not any("row 8" in each for each in server.order.sentences(server.number))


def test_a_graph_that_was_captured_before_the_hooks_were_bound_is_not_known():
    server = Server()
    server.replay(Graph())
    assert server.order.replays == 0


def test_torchs_graphs_are_wrapped_and_given_back_and_an_error_of_ours_changes_nothing():
    # GIVEN a class with the three methods of torch's
    calls = []

    class CUDAGraph:
        def capture_begin(self, pool=None, capture_error_mode="global"):
            calls.append(("begin", pool, capture_error_mode))

        def capture_end(self):
            calls.append("end")

        def replay(self):
            calls.append("replay")
            return "result"

    class Failing:
        def capturing(self, record): ...

        def replayed(self, record):
            raise RuntimeError("ours")

    shells = Shells()
    replays = GraphReplays(HotState(), shells.of("replays of graphs"))
    order = Order(lambda: 1)
    order.streams = PretendedStreams()
    replays.listeners += [order, Failing()]
    for patch in replays.patches():
        name = patch.target.rpartition(".")[2]
        setattr(CUDAGraph, name, patch.make(getattr(CUDAGraph, name)))
    # WHEN one is captured and replayed twice
    graph = CUDAGraph()
    graph.capture_begin("pool", capture_error_mode="relaxed")
    graph.capture_end()
    results = [graph.replay(), graph.replay()]
    # THEN torch's own ran with its arguments, and ours went off after its error
    assert calls == [("begin", "pool", "relaxed"), "end", "replay", "replay"]
    assert results == ["result", "result"]
    assert order.replays == 1
    assert "replays of graphs: switched off" in shells.failures


def broken_order(traps):
    """The plant of above, through the traps of a process."""
    server = Server()
    server.order.streams, traps.order.streams = None, server.streams
    server.order = traps.order
    server.replays = traps.replays
    server.capture(server.graph, server.backend)
    for _ in range(4):
        server.step(waits=False)
    server.drain()


@pytest.mark.parametrize("mode", ["raise", "contain"])
def test_the_scheduler_is_told_before_the_next_tokens_leave_and_the_dump_explains_itself(
    mode, tmp_path
):
    traps = Traps(DumpStore(tmp_path), mode=mode)
    broken_order(traps)
    # WHEN a step's result is about to be looked at
    with pytest.raises(BrokenLifecycle, match=r"I18.*before replay") as caught:
        traps.steps.release(1)
    # THEN the dump names the cause
    (named,) = explain(read_dump(caught.value.dump)).named
    assert (named.key, named.confidence) == ("unordered-refill", Confidence.HIGH)


def test_who_did_not_ask_for_it_pays_nothing_and_is_told_nothing(tmp_path):
    traps = Traps(DumpStore(tmp_path), ("I1", "I2"), mode="contain")
    assert traps.order is None and traps.replays.patches() == []
