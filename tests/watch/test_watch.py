"""Watching launches: once per table, contained, told one step later, never silent."""

from __future__ import annotations

import pytest
import torch

from triage.device.recorder import LaneSpec
from triage.device.syncs import count_syncs
from triage.device.watch import CheckerSilent, Watch
from triage.dump.history import first_offence
from triage.invariants.reads import IndexSpace

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PAGE, LAYERS = 16, 60
SPACES = {"full": IndexSpace("full", PAGE, 100), "swa": IndexSpace("swa", PAGE, 50)}
LANES = [
    LaneSpec("full", PAGE, max_rows=4, max_columns=8),
    LaneSpec("swa", PAGE, max_rows=4, max_columns=8, window_columns=4),
]


def tensors():
    table = torch.arange(1, 33, dtype=torch.int32, device=DEVICE).view(4, 8)
    return table, torch.full((4,), 100, dtype=torch.int32, device=DEVICE)


def forward(watch: Watch, table, lengths) -> list:
    """A model of 60 layers, every sixth of them full; what each launch was given to read."""
    watch.begin()
    given = []
    for layer in range(LAYERS):
        name = "full" if layer % 6 == 5 else "swa"
        facts = {"layer_id": layer, "forward_mode": "DECODE", "space": name}
        window = 31 if name == "swa" else -1
        launched = watch.launch(name, table, lengths, SPACES[name], facts=facts, window_left=window)
        given.append(launched)
    return given


@pytest.mark.parametrize("mode", ["contain", "log"])
def test_sixty_layers_take_two_checks_whatever_their_number(mode):
    # GIVEN a clean forward of 60 layers
    watch, (table, lengths) = Watch(DEVICE, LANES, mode=mode), tensors()
    # WHEN it is watched
    given = forward(watch, table, lengths)
    watch.end(step=1)
    # THEN each index space was checked once, every layer reads an equal table, nothing is told
    assert (watch.launches, watch.checks) == (LAYERS, 2)
    assert all(torch.equal(read, table) == (mode == "log") for read, _ in given[:1])
    live = -(-100 // PAGE)
    assert all(torch.equal(read[:, :live], table[:, :live]) for read, _ in given)
    assert watch.poll(wait=True) == ()


def test_a_wild_id_is_contained_and_told_with_its_step_launch_and_layer():
    # GIVEN a forward whose table names page 70, in the full pool but not in the SWA pool
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="contain"), tensors()
    forward(watch, table, lengths)
    watch.end(step=6)
    table[2, 5] = 70
    # WHEN it is watched
    given = forward(watch, table, lengths)
    watch.end(step=7)
    (evidence,) = watch.poll(wait=True)
    # THEN SWA layers read the dummy page there, full layers page 70
    assert given[0][0][2, 5] == 0 and given[5][0][2, 5] == 70
    # AND the evidence names all of it
    assert (evidence.invariant, evidence.pool, evidence.layer_id) == ("I1", "swa", 0)
    assert evidence.where == "step 7, checked launch 2"
    assert "output is invalid" in evidence.summary
    assert evidence.violations[0].sentence() == "block_tables[2, 5] = 70 is outside [1, 50)"
    # AND the ring knows the launch it began at
    assert watch.recorder is not None
    entry = first_offence(watch.recorder.entries())
    assert entry is not None and (entry["checker_launch"], entry["layer_id"]) == (2, 0)


def test_log_leaves_the_table_alone_and_tells_all_the_same():
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="log"), tensors()
    table[0, 6] = -1
    given = forward(watch, table, lengths)
    watch.end(step=1)
    assert all(read is table for read, _ in given)
    assert watch.poll(wait=True)[0].total == 2


def test_another_table_in_between_makes_the_first_be_checked_again():
    # GIVEN containment, whose buffer holds the newest table of a lane only
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="contain"), tensors()
    other = table + 20
    watch.begin()

    def read(which):
        return watch.launch("full", which, lengths, SPACES["full"], window_left=-1)[0][0, 0].item()

    # WHEN two tables alternate within a forward
    # THEN each launch reads its own
    assert [read(table), read(other), read(table), read(table)] == [1, 21, 1, 1]
    assert watch.checks == 3


def test_a_new_forward_is_checked_though_its_tensors_are_the_old_ones():
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="log"), tensors()
    forward(watch, table, lengths)
    table[0, 0] = -1
    forward(watch, table, lengths)
    watch.end(step=1)
    assert watch.poll(wait=True)[0].total == 2


def test_a_form_that_is_not_known_is_counted_and_the_launch_goes_on(caplog):
    # GIVEN a table with a stride the checker does not know
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="contain"), tensors()
    strided = table[:, ::2]
    # WHEN it is launched twice
    for _ in range(2):
        watch.begin()
        read, _ = watch.launch("full", strided, lengths, SPACES["full"], window_left=-1)
    # THEN the launch reads what it was given, the reason is counted, and logged once
    assert read is strided
    assert watch.refused == {"block_tables has column stride 2, not 1": 2}
    assert len([r for r in caplog.records if "not covered" in r.message]) == 1


def test_silence_is_an_error_that_says_what_was_refused():
    # GIVEN an armed watch whose launches are all refused
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="log", heartbeat=3), tensors()
    # WHEN three forwards pass
    with pytest.raises(CheckerSilent, match=r"no check ran in 3 forwards.*column stride"):
        for step in range(3):
            watch.begin()
            watch.launch("full", table[:, ::2], lengths, SPACES["full"], window_left=-1)
            watch.end(step)
            watch.poll(wait=True)


def test_a_recorder_that_fails_is_switched_off_and_the_traps_stand(monkeypatch, caplog):
    # GIVEN a recorder that raises
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="contain"), tensors()

    def fail(*args, **kwargs):
        raise RuntimeError("out of pinned memory")

    monkeypatch.setattr(watch.recorder, "record", fail)
    table[0, 0] = -1
    # WHEN a forward is watched
    forward(watch, table, lengths)
    watch.end(step=1)
    # THEN it is off, said so once, and the fault is found all the same
    assert watch.recorder is None and watch.refused == {"recorder: RuntimeError": 1}
    assert "out of pinned memory" in caplog.text
    assert watch.poll(wait=True)[0].total == 2


@pytest.mark.skipif(DEVICE == "cuda", reason="the GPU tests count syncs with CUDA's own debug mode")
def test_a_forward_of_sixty_layers_reads_nothing_back(monkeypatch):
    # GIVEN kernels replaced by a count, as on a GPU
    watch, (table, lengths) = Watch(DEVICE, LANES, mode="contain"), tensors()
    watch.checker._eager = False
    assert watch.recorder is not None
    watch.recorder._eager = False
    with count_syncs(forbid=True) as counts:

        class Launcher:
            def __init__(self, name):
                self.name = name

            def __getitem__(self, grid):
                return lambda *args, **kwargs: counts.launched(self.name)

        monkeypatch.setattr("triage.device.launches.check_table_kernel", Launcher("check"))
        monkeypatch.setattr("triage.device.launches.record_kernel", Launcher("record"))
        # WHEN two forwards are watched, marked and polled
        for step in range(2):
            forward(watch, table, lengths)
            watch.end(step)
            watch.poll()
    # THEN a forward costs two checks, two recordings and one copy, and no host read
    launched = {k: v for k, v in counts.launches.items() if k in ("check", "record")}
    assert launched == {"check": 4, "record": 4}
    assert counts.launches["aten::copy_"] == 2
