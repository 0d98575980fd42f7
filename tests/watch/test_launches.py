"""Launches at the hooks: once per index space and forward, again for every capture, never silent.

Backend, pool and batch are plain objects with SGLang's attribute names. Capture is
simulated by replacing the one predicate, `triage.device.capture.capturing`.

Long because one memory is walked through every way that a launch can come back.
"""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest
import torch

from tests.watch.forward import Forward, armed
from triage.device import capture
from triage.dump.expected_ids import expected_ids, visible
from triage.dump.file import read_dump
from triage.dump.history import since
from triage.dump.store import DumpStore
from triage.errors import (
    BrokenLifecycle,
    InstallError,
    OutOfBounds,
    StaleSWAState,
    WrongIndexSpace,
)
from triage.lab.decode_step import WINDOW, Step
from triage.minimise.cuts import keep_rows
from triage.replay.deduction import deduce
from triage.replay.verdict import Outcome
from triage.sglang.traps import Traps

PAGES = 40  # columns of the small tables here


@pytest.fixture
def step():
    return Step(layers=60, rows=4, width=PAGES)


@pytest.fixture
def traps(step, tmp_path):
    return armed(step, tmp_path)


def capturing(monkeypatch, now: bool) -> None:
    monkeypatch.setattr(capture, "capturing", lambda: now)


def test_sixty_layers_take_two_table_checks_and_one_write_check(step, traps):
    # WHEN a forward of 60 layers runs
    Forward(step, traps).run()
    # THEN one check per index space was launched, and nothing was found
    assert traps.counts["launches"] == 60
    assert (traps.counts["tables"], traps.counts["writes"]) == (2, 1)
    assert traps.counts["violations"] == 0


def test_every_launch_is_given_the_checked_copy_and_a_clean_table_is_not_altered(step, traps):
    given = []
    forward = Forward(step, traps, lambda **kw: given.append(kw))
    forward.run()
    live = -(-int(step.calls[0][1].cache_seqlens[0]) // 64)
    for (_, call), arguments in zip(step.calls, given, strict=True):
        assert arguments["block_tables"] is not call.block_tables
        assert torch.equal(arguments["block_tables"][:, :live], call.block_tables[:, :live])


def test_a_wild_id_is_redirected_and_raised_before_the_steps_tokens_leave(step, traps, tmp_path):
    # GIVEN a sliding table with an id far outside the pool
    step.swa[2, PAGES - 1] = 1 << 20
    given = []
    forward = Forward(step, traps, lambda **kw: given.append(kw))
    # WHEN the forward runs, THEN no launch sees it, and its step raises
    with pytest.raises(OutOfBounds) as caught:
        forward.run()
    assert all(int(arguments["block_tables"].max()) < 1 << 20 for arguments in given)
    evidence = caught.value.evidence
    assert (evidence.facts["step"], evidence.layer_id, evidence.pool) == (1, 0, "swa")
    assert "the output of this step is invalid" in str(caught.value)
    # AND the dump has the ring, which knows the step
    (path,) = tmp_path.glob("OutOfBounds-*")
    assert "ids were wrong since launch" in since(read_dump(path))


def test_the_dump_of_a_contained_launch_has_its_table_from_the_ring(step, traps, tmp_path):
    # GIVEN two wrong ids of a row, one of them far outside
    right = step.swa.clone()
    step.swa[2, PAGES - 1], step.swa[2, PAGES - 2] = 1 << 20, int(right[0, PAGES - 1])
    with pytest.raises(WrongIndexSpace):
        Forward(step, traps).run()
    dump = read_dump(next(tmp_path.glob("*.msgpack")))
    # THEN row, lengths and requests are those of the launch, from the window on
    assert dump.tables is not None and dump.launch is not None
    first = int(dump.tables.stored_from[2])
    assert first > 0 and "no req_to_token" in dump.tables.source
    assert dump.tables.page_table.row(2)[first:].tolist() == step.swa[2, first:].tolist()
    assert dump.tables.cache_seqlens.tolist() == [step.length] * 4
    assert dump.launch.window_left == WINDOW - 1 and dump.pools.read == "swa"
    # AND the right ids are known, though no request table is
    shown = expected_ids(dump)[:, first:]
    seen = visible(dump, PAGES)[:, first:]
    assert (shown[seen] == right.numpy()[:, first:][seen]).all()
    # AND it replays
    verdict = deduce(dump)
    assert verdict.outcome is Outcome.REPRODUCED
    assert verdict.figures["identity"]["wrong"] == 2
    assert deduce(keep_rows(dump, [2])).outcome is Outcome.REPRODUCED
    # AND the fix shows in it, by the pages that the check worked out
    assert deduce(dump, "state-swap").outcome is Outcome.NOT_REPRODUCED


def test_a_check_does_not_hold_for_a_layer_of_the_other_index_space(step, traps):
    # GIVEN a layer that the pool keeps in the full space, launched like its sliding neighbours
    pool = step.backend.token_to_kv_pool
    index = next(i for i, (layer, _) in enumerate(step.calls) if i and step.sliding(layer.layer_id))
    pool.layers_mapping[step.calls[index][0].layer_id] = (index, False)
    # WHEN the forward runs, THEN that launch is checked for itself, and so is the one behind it
    Forward(step, traps).layers(index + 2)
    assert traps.counts["tables"] == 3


def test_log_gives_what_was_passed_and_never_raises(step, tmp_path, caplog):
    traps = armed(step, tmp_path, "log")
    step.swa[2, PAGES - 1] = 1 << 20
    given = []
    forward = Forward(step, traps, lambda **kw: given.append(kw))
    for _ in range(4):
        forward.run()
    for (_, call), arguments in zip(step.calls * 4, given, strict=True):
        assert arguments["block_tables"] is call.block_tables
    # one dump, then powers of two
    assert len(list(tmp_path.glob("*.msgpack"))) == 1
    assert [m for m in caplog.messages if "steps with" in m][-1].startswith("sglang-triage: 4 ")


def test_stale_swa_state_is_named_as_the_cause(step, traps):
    # GIVEN a backend that has lost the SWA pool, so that sliding layers get the full table
    step.backend._swa_kv_pool = None
    for layer, call in step.calls:
        if step.sliding(layer.layer_id):
            call.arguments["block_tables"] = step.full
    with pytest.raises(StaleSWAState, match="SWA state was taken from another pool"):
        Forward(step, traps).run()


def test_containment_is_never_silent_though_another_of_its_invariants_was_asked_for(step, tmp_path):
    traps = Traps(DumpStore(tmp_path), ("I26",), mode="contain")
    traps.launches.watching.prepare(step.backend)
    step.full[0, 0] = -5
    with pytest.raises(OutOfBounds):
        Forward(step, traps).run()


def test_an_id_in_range_of_another_request_is_found(step, traps):
    step.full[0, 0], step.full[1, 0] = int(step.full[1, 0]), int(step.full[0, 0])
    with pytest.raises(WrongIndexSpace):
        Forward(step, traps).run()


def test_a_wrong_write_is_found_with_the_step(step, traps):
    forward = Forward(step, traps)
    forward.loc[1] = 1 << 30
    with pytest.raises(
        BrokenLifecycle, match=r"(?s)I3: .*left as they were.*out_cache_loc\[1, 0\] = 1073741824"
    ) as caught:
        forward.run()
    assert caught.value.evidence.facts["kind"] == "write"


class TestSimulatedCapture:
    """The predicate says that a capture is on; no CUDA is involved."""

    def test_warm_up_does_not_count_for_the_capture_that_follows(self, step, traps, monkeypatch):
        forward = Forward(step, traps)
        layers = forward.layers
        # GIVEN a warm-up with the very tensors and metadata of the capture
        traps.launches.forget_tables(step.backend, graph=True)
        layers()
        layers()
        assert traps.counts["tables"] == 2
        # WHEN the same layers run under capture
        capturing(monkeypatch, True)
        layers()
        # THEN the checks are launched again, to be recorded
        assert traps.counts["tables"] == 4
        assert traps.counts["tables under capture"] == 2

    def test_every_capture_records_its_own_checks(self, step, traps, monkeypatch):
        layers = Forward(step, traps).layers
        for _ in range(3):
            traps.launches.forget_tables(step.backend, graph=True)
            capturing(monkeypatch, False)
            layers()
            capturing(monkeypatch, True)
            layers()
        assert traps.counts["tables under capture"] == 6

    def test_a_refill_inside_the_capture_is_checked_again(self, step, traps, monkeypatch):
        capturing(monkeypatch, True)
        layers = Forward(step, traps).layers
        layers()
        traps.launches.forget_tables(step.backend, graph=True)
        layers()
        assert traps.counts["tables under capture"] == 4

    def test_no_mark_is_sent_under_capture(self, step, traps, monkeypatch):
        traps.steps.begin()
        capturing(monkeypatch, True)
        Forward(step, traps).layers()
        traps.steps.forward_done()
        assert traps.launches.watching.watch.checker.oldest_step is None

    def test_mode_raise_contains_what_is_captured(self, step, tmp_path, monkeypatch):
        traps = armed(step, tmp_path, "raise")
        step.swa[0, PAGES - 1] = -7
        given = []
        forward = Forward(step, traps, lambda **kw: given.append(kw))
        traps.steps.begin()
        traps.launches.forget_tables(step.backend, graph=True)
        capturing(monkeypatch, True)
        forward.layers()
        assert all(int(arguments["block_tables"].min()) >= 0 for arguments in given)
        # AND the step that replays it raises
        capturing(monkeypatch, False)
        traps.steps.forward_done()
        with pytest.raises(OutOfBounds, match="output of this step is invalid"):
            traps.steps.release(1)


def test_two_backends_in_turn_each_read_their_own_table(step, traps):
    # GIVEN the steps of a multi-step draft: backends with tables of their own, one buffer
    other = Step(layers=60, rows=4, width=PAGES)
    other.backend.req_to_token = step.backend.req_to_token
    traps.launches.note_backend(other.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    first, second = Forward(step, traps), Forward(other, traps)
    for forward in (first, second):
        forward.metadata(forward.step.backend, forward.batch)
    # WHEN their layers run one backend after the other, and the first again
    for forward in (first, second, first):
        forward.layers(of=1)
    # THEN each launch was redirected when it was due
    assert traps.counts["tables"] == 3


def test_a_launch_of_unknown_form_is_counted_as_not_covered(step, traps, caplog):
    for _, call in step.calls:
        call.arguments["seq_lens"] = call.cache_seqlens.to(torch.float32)
    traps.reporter.enabled = traps.reporter.enabled - {"I26"}
    Forward(step, traps).run()
    assert traps.counts["launches not covered"] >= 2
    assert any(
        "cache_seqlens is torch.float32" in reason for reason in traps.launches.watching.refused
    )


def test_a_page_size_that_is_not_known_refuses_to_arm(step, tmp_path):
    step.backend.page_size = 48
    with pytest.raises(InstallError, match="page size 48 is not a power of two"):
        armed(step, tmp_path)


def test_a_checker_that_does_not_run_is_told_and_named_as_not_covered(step, tmp_path, caplog):
    traps = Traps(DumpStore(tmp_path), mode="contain")
    traps.launches.watching.heartbeat = 3
    traps.launches.watching.prepare(step.backend)
    forward = Forward(step, traps)
    step.calls = []
    for _ in range(3):
        forward.run()
    assert traps.steps.current == 3 and traps.counts["heartbeats missed"] == 1
    assert "no check ran in 3 forwards" in traps.reporter.shells.failures["device checker"]
    assert "no check ran in 3 forwards" in caplog.text


def test_an_exception_that_leaves_the_scheduler_writes_the_ring_and_stays_itself(
    step, traps, tmp_path, caplog
):
    Forward(step, traps).run()
    traps.history.leaving(
        RuntimeError("CUDA error: an illegal memory access was encountered"), "event loop"
    )
    (path,) = tmp_path.glob("crash-*")
    dump = read_dump(path)
    told = "RuntimeError left event loop (an illegal memory access was encountered)"
    assert dump.fault.summary == told
    assert len(dump.history) == 2 and dump.history[0]["step"] == 1


def test_the_ring_of_a_crash_shows_the_first_wrong_launch_without_asking_the_device(
    step, tmp_path, monkeypatch
):
    # GIVEN a launch with a wild id, which `log` lets through, and a device that is lost then
    traps = armed(step, tmp_path, "log")
    step.full[1, 3] = -9
    traps.steps.begin()
    Forward(step, traps).layers()

    def lost(*_, **__):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    for name in ("cpu", "item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, lost)
    # WHEN the ring is written
    path = traps.history.leaving(RuntimeError("CUDA error"), "event loop")
    monkeypatch.undo()
    # THEN the launch that was wrong is in it, whole
    dump = read_dump(path)
    assert dump.pools.read == "full" and dump.tables.page_table.row(1)[3] == -9
    assert any("negative" in reason for reason in deduce(dump).reasons)


def test_a_ring_that_cannot_be_read_takes_nothing_down(step, traps, monkeypatch, caplog):
    Forward(step, traps).run()
    monkeypatch.setattr(traps.launches.watching.watch.recorder, "entries", lambda **_: 1 / 0)
    traps.history.leaving(RuntimeError("boom"), "event loop")
    assert "reading the flight recorder failed" in caplog.text


def test_sigusr2_writes_the_ring_and_the_handler_before_it_runs_too(step, traps, tmp_path):
    Forward(step, traps).run()
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append(number))
    try:
        with traps.history.listening():
            signal.raise_signal(signal.SIGUSR2)
        assert signal.getsignal(signal.SIGUSR2) is not before
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]
    assert len(list(tmp_path.glob("snap-*"))) == 1
    assert not list(tmp_path.glob("armed.*"))
