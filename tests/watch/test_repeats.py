"""A forward over tensors of a known form is the launches alone, and is judged like any other.

The kernels run in Triton's interpreter here: plain torch, their stand-in on a CPU, has no
launch that could be repeated.
"""

from __future__ import annotations

import pytest
import torch

from tests.watch.forward import Forward, armed, renewed
from triage.device import launches
from triage.device.watch import Watch
from triage.dump.file import read_dump
from triage.errors import BrokenLifecycle, OutOfBounds
from triage.invariants.reads import IndexSpace
from triage.lab.decode_step import Step

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="Triton compiles where there is a GPU"
)


@pytest.fixture
def step():
    return Step(layers=6, rows=2, width=12)


@pytest.fixture
def traps(step, tmp_path):
    traps = armed(step, tmp_path)
    watch = traps.launches.watching.watch
    watch.checker._eager = watch.recorder._eager = False
    return traps


@pytest.fixture
def repeats(monkeypatch):
    """How many launches were repeats."""
    done, again = [], Watch.relaunch

    def counted(*args):
        done.append(again(*args))
        return done[-1]

    monkeypatch.setattr(Watch, "relaunch", counted)
    return done


def test_a_wrong_id_in_a_repeated_launch_is_found_contained_and_recorded(
    step, traps, repeats, tmp_path
):
    given = []
    forward = Forward(step, traps, lambda **kw: given.append(kw["block_tables"].clone()))
    # GIVEN two clean forwards, the second over new tensors
    forward.run()
    assert repeats == []
    renewed(step)
    forward.run()
    assert repeats == [True, True] and traps.counts["tables"] == 4
    # WHEN the third has a wild id
    renewed(step)
    step.swa[1, 11] = 1 << 20
    given.clear()
    with pytest.raises(OutOfBounds) as caught:
        forward.run()
    # THEN it is told with its step, no launch was given it, and the ring has the table
    assert caught.value.evidence.facts["step"] == 3 and repeats == [True] * 4
    assert max(int(table.max()) for table in given) < 1 << 20
    dump = read_dump(next(tmp_path.glob("*.msgpack")))
    assert len(dump.history) == 6
    assert dump.tables.page_table.row(1)[11] == 1 << 20


def test_a_wrong_slot_of_a_repeated_write_is_found(step, traps):
    forward = Forward(step, traps)
    forward.run()
    renewed(step)
    forward.loc = forward.loc.clone()
    forward.loc[1] = 1 << 30
    with pytest.raises(BrokenLifecycle, match="out_cache_loc"):
        forward.run()
    assert traps.counts["writes"] == 2


@pytest.mark.parametrize("what", ["mapping", "pool", "request table", "SWA state"])
def test_another_object_behind_the_same_form_is_judged_anew(step, traps, repeats, what):
    forward = Forward(step, traps)
    forward.run()
    renewed(step)
    backend = step.backend
    pool = backend.token_to_kv_pool
    if what == "mapping":
        pool.full_to_swa_index_mapping = pool.full_to_swa_index_mapping.clone()
    elif what == "pool":
        backend.token_to_kv_pool = backend._swa_kv_pool = type(pool)(**vars(pool))
    elif what == "request table":
        backend.req_to_token = backend.req_to_token.clone()
    else:
        backend._swa_kv_pool = None
    forward.run()
    # THEN at least the sliding launch was not taken for a repeat
    assert len(repeats) < 2 and traps.counts["tables"] == 4


def test_the_constants_of_a_launch_stand_in_the_kernels_own_order(step, traps):
    # GIVEN the launches of a forward, whose constants are handed on by position
    watch = traps.launches.watching.watch
    Forward(step, traps).run()
    repeat, record, write = watch._repeats["swa"], watch.recorder.newest, _write_launch(watch)
    # THEN they are the last parameters of the kernel, in its order
    for kernel, launch in (
        (launches.check_table_kernel, repeat.check),
        (launches.record_kernel, record),
        (launches.check_writes_kernel, write),
    ):
        names = kernel.arg_names
        assert tuple(launch.constants) == tuple(names[-len(launch.constants) :])
        assert len(names) == len(launch.rest) + len(launch.constants) + _tensors(launch)


def _write_launch(watch):
    space = IndexSpace("full", 64, 8)
    return watch.checker.check_writes(torch.arange(64, 66), space)


def _tensors(launch):
    """Arguments that a launch puts before `rest`."""
    if isinstance(launch, launches.RecordLaunch):
        return len(launch.counters) + 4
    return 5
