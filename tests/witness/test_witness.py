"""Which launches are looked at, inside graphs too, and that a mistake of ours changes nothing."""

from __future__ import annotations

import logging

import pytest
import torch

from triage.bench.gpu_witness import Rig, misplaced, torch_kernel
from triage.device.syncs import count_syncs
from triage.dump.file import read_dump
from triage.dump.flashinfer_api import DECODE
from triage.errors import WrongOutput
from triage.explain import explain
from triage.explain.cause import Confidence
from triage.lab.pretended_capture import pretended_capture
from triage.sglang.launch.attention import AttentionHooks
from triage.sglang.witness import witness as module
from triage.sglang.witness.recorded import RAGGED
from triage.sglang.witness.witness import GROUP, NO_MEMORY, NOT_RECORDED


class Graph:
    """Stands for `torch.cuda.CUDAGraph`; what it recorded is called again by `replay`."""


@pytest.fixture
def rig():
    return Rig(torch.bfloat16, -1, 1, width=4, device="cpu")


def captured(rig, kernel):
    """A graph over one launch, under a capture in which a read by our code raises."""
    graph, replays = Graph(), rig.traps.replays
    with pretended_capture():
        replays.begin(graph)
        rig.launch(kernel)
        replays.end(graph)
    return graph


def replayed(rig, graph):
    """One step that replays the graph; what is told."""
    rig.step += 1
    rig.witness.begin(rig.step)
    rig.traps.replays.replayed(graph)
    rig.witness.end()
    return rig.release()


def test_queueing_the_copies_waits_for_nothing(rig):
    rig.step = 1
    rig.witness.begin(1)
    with rig.traps.launches.entered(rig.backend, rig.layer, rig.batch):
        output = torch_kernel(rig.call)
        with count_syncs(forbid=True) as counts:
            rig.witness.observe(DECODE, rig.arguments, output)
    assert counts.total_host_reads == 0 and sum(counts.launches.values()) < 60
    assert rig.release() == "" and rig.witness.rows == 4


def test_only_every_nth_step_is_looked_at(rig):
    rig.witness.every = 3
    for _ in range(9):
        rig.eager(torch_kernel)
    assert rig.witness.launches == 3


def test_a_launch_inside_a_graph_is_compared_behind_its_replay(rig):
    # GIVEN a graph that was captured with the witness: nothing was read under the capture
    graph = captured(rig, torch_kernel)
    # WHEN it is replayed
    assert replayed(rig, graph) == ""
    # THEN rows 0 to 3 were compared
    assert rig.witness.rows == 4 and not rig.witness.left_out


def test_a_wrong_row_in_a_graph_is_told_with_what_is_not_recorded(rig):
    graph = captured(rig, misplaced(torch_kernel))
    rig.step += 1
    rig.witness.begin(rig.step)
    rig.traps.replays.replayed(graph)
    with pytest.raises(WrongOutput, match=r"out\[row 2, head \d") as caught:
        rig.witness.release(rig.step)
    # THEN the cause is the kernel's, and surer it is not: the cache was copied behind the replay
    dump = read_dump(caught.value.dump)
    (named,) = explain(dump).named
    assert (named.key, named.confidence) == ("kernel-wrong-output", Confidence.MEDIUM)
    assert dump.backend.in_graph and "captured in a graph that step 1 replayed" in dump.fault.where
    assert any("copied afterwards" in each for each in named.not_recorded)


def test_a_graph_without_its_copies_is_counted_as_not_covered(rig):
    graph = Graph()
    rig.traps.replays.begin(graph)
    rig.traps.replays.end(graph)
    assert replayed(rig, graph) == "" and rig.witness.left_out == {NOT_RECORDED: 1}


def test_unlike_numbers_of_queries_in_a_graph_are_counted_as_not_covered(rig):
    rig.arguments["cum_seq_lens_q"] = torch.arange(len(rig.arguments["seq_lens"]) + 1)
    graph = captured(rig, lambda call: torch.zeros_like(call.query))
    assert replayed(rig, graph) == ""
    assert rig.witness.left_out == {f"launches: {RAGGED}": 1, NOT_RECORDED: 1}


@pytest.mark.parametrize("cache", [torch.bfloat16, torch.float8_e4m3fn, torch.float32], ids=str)
def test_a_forward_in_inference_mode_is_compared_outside_it(cache):
    rig = Rig(cache, 63, 4, width=4, device="cpu")
    with torch.inference_mode():
        rig.arguments |= {"query": rig.arguments["query"].clone()}
        rig.step = 1
        rig.witness.begin(1)
        rig.launch(torch_kernel)
        rig.witness.end()
    assert rig.release() == "" and rig.witness.rows == 4
    assert not rig.traps.reporter.shells.failures


def test_a_step_whose_tables_were_wrong_blames_no_kernel(rig):
    rig.step += 1
    rig.witness.begin(rig.step)
    rig.launch(misplaced(torch_kernel))
    rig.witness.release(rig.step, unsound={rig.step})
    assert rig.witness.left_out == {module.UNSOUND: 1} and rig.witness.rows == 0


def test_mode_log_tells_and_goes_on(caplog):
    rig = Rig(torch.bfloat16, -1, 1, width=4, device="cpu", mode="log")
    with caplog.at_level(logging.ERROR, logger="triage"):
        for _ in range(4):
            assert rig.eager(misplaced(torch_kernel)) == ""
    assert "wrong output: out[row 2" in caplog.text and "dump: " in caplog.text


@pytest.mark.parametrize("name", ["why_not", "take", "judge"])
def test_an_error_of_ours_switches_the_witness_off_and_nothing_else(rig, monkeypatch, name):
    def fails(*_, **__):
        raise KeyError("ours")

    # GIVEN a mistake of ours in the witness, and a kernel that is wrong
    monkeypatch.setattr(module, name, fails)
    # WHEN launches are looked at
    output = rig.arguments["query"]
    for _ in range(3):
        assert rig.eager(lambda call: output) == ""
    # THEN it is named and off, and every other group is on
    failures = rig.traps.reporter.shells.failures
    assert list(failures) == [f"{GROUP}: switched off"]
    assert not rig.witness.looking and rig.traps.armed


def test_copies_that_do_not_fit_into_memory_are_left_out(rig, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(module, "take", full)
    assert rig.eager(torch_kernel) == ""
    assert rig.witness.left_out == {NO_MEMORY: 1} and not rig.traps.reporter.shells.failures


class Watched:
    """Stands for the witness: what it was shown."""

    looking = True

    def __init__(self):
        self.shown = []

    def observe(self, api, arguments, result):
        self.shown.append((api, arguments, result))


def flashinfer_like(query, kv_cache, block_tables, seq_lens, window_left=-1):
    return query + 1


def other_plugins(*args, **kwargs):
    return flashinfer_like(*args, **kwargs)


@pytest.mark.parametrize("original", [flashinfer_like, other_plugins], ids=lambda f: f.__name__)
def test_the_wrapper_shows_what_was_launched_and_answered_and_without_a_witness_has_no_line_of_it(
    rig, original
):
    passed = {name: rig.arguments[name] for name in ("kv_cache", "block_tables", "seq_lens")}
    passed["query"] = torch.zeros(1)
    # GIVEN the wrapper of FlashInfer's call with a witness
    watched = Watched()
    wrapper = AttentionHooks(rig.traps.launches, watched).launch(DECODE)(original)
    # WHEN a launch is made
    result = wrapper(**passed)
    # THEN it answers what the original answered, and that was shown with the arguments
    ((api, arguments, shown),) = watched.shown
    assert api == DECODE and shown is result and result == 1
    assert arguments["seq_lens"] is passed["seq_lens"]
    # AND while nothing is to be looked at nothing is shown
    watched.looking = False
    wrapper(**passed)
    assert len(watched.shown) == 1
    # AND without a witness the wrapper knows of none
    bare = AttentionHooks(rig.traps.launches).launch(DECODE)(original)
    assert bare(**passed) == 1
    assert not {"witness", "observe"} & {*bare.__code__.co_names, *bare.__code__.co_freevars}
