"""Writes of a backend that we do not stand at: triton's prefill beside trtllm_mha's decode."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from triage.device.syncs import count_syncs
from triage.dump.store import DumpStore
from triage.errors import BrokenLifecycle
from triage.evidence import Evidence
from triage.lab.pretended_capture import pretended_capture
from triage.sglang.launch.flash_attention import FlashTables
from triage.sglang.launch.writes import WriteTrap
from triage.sglang.traps import Traps

PAGE = 16


@pytest.fixture
def traps(runtime, dumps):
    made = Traps(DumpStore(dumps))
    backend = runtime.target_backend
    made.launches.note_backend(backend, SimpleNamespace(sliding_window_size=47))
    made.launches.watching.prepare(backend)
    return made


@pytest.fixture
def forward(runtime, traps):
    """`forward(slots, swa slots)`: every layer writes there, outside an entry of ours."""
    pool, trap = runtime.token_to_kv_pool, WriteTrap(traps.launches)
    mapping = pool.full_to_swa_index_mapping
    mapping[PAGE : 2 * PAGE] = torch.arange(3 * PAGE, 4 * PAGE)

    def write(loc, swa_loc):
        where = SimpleNamespace(loc=loc, swa_loc=swa_loc)
        for layer_id in pool.layers_mapping:
            trap.before_write(pool, SimpleNamespace(layer_id=layer_id), where, None)

    yield write
    mapping[PAGE : 2 * PAGE] = 0


def slots(first):
    return torch.arange(first, first + 4)


def test_all_layers_of_a_forward_share_one_host_read_a_kind(forward, runtime):
    assert len(runtime.token_to_kv_pool.layers_mapping) > 4
    with count_syncs() as counts:
        forward(slots(PAGE), slots(3 * PAGE))
    # sliding and full layers, one read each; the eager twin of the kernel reads by itself
    assert counts.host_reads["Tensor.tolist"] <= 4


def test_a_new_forward_is_read_again(forward):
    forward(slots(PAGE), slots(3 * PAGE))
    with pytest.raises(BrokenLifecycle, match="expected 48"):
        forward(slots(PAGE), slots(5 * PAGE))


def test_the_kernel_has_run_before_a_capture_records_it_once(forward, traps):
    # GIVEN mode `raise`, and a warm-up outside a capture
    forward(slots(PAGE), slots(3 * PAGE))
    assert traps.counts["writes"] == 1
    # WHEN the same is captured
    with pretended_capture():
        forward(slots(PAGE), slots(3 * PAGE))
    # THEN one check is recorded for all layers
    assert traps.counts["writes"] == 2


def test_layers_that_cut_the_same_slots_anew_share_one_check(forward, runtime, traps):
    """GIVEN a piecewise forward: between its graphs each layer cuts `out_cache_loc` to the
    batch's tokens WHEN all layers of one forward write THEN it is checked once a kind, and the
    next forward, in the same static buffer, is checked again."""
    pool, trap, hot = runtime.token_to_kv_pool, WriteTrap(traps.launches), traps.launches.hot
    static = torch.cat([slots(PAGE), torch.zeros(4, dtype=torch.long)])
    static_swa = torch.cat([slots(3 * PAGE), torch.zeros(4, dtype=torch.long)])

    def piecewise():
        for layer_id in pool.layers_mapping:
            where = SimpleNamespace(loc=static[:4], swa_loc=static_swa[:4])
            trap.before_write(pool, SimpleNamespace(layer_id=layer_id), where, None)

    hot.other_forward = {}
    with count_syncs() as counts:
        piecewise()
    assert counts.host_reads["Tensor.tolist"] <= 4
    hot.other_forward = {}
    static_swa[:4] = slots(5 * PAGE)
    with pytest.raises(BrokenLifecycle, match="expected 48"):
        piecewise()


def test_cut_slots_outside_a_known_forward_are_checked_at_every_layer(forward, runtime, traps):
    """Nothing says there that a forward has ended, and its buffer may be a static one."""
    pool, trap = runtime.token_to_kv_pool, WriteTrap(traps.launches)
    static, static_swa = slots(PAGE), slots(3 * PAGE)
    sliding = next(at for at, (_, slides) in pool.layers_mapping.items() if slides)

    def write():
        where = SimpleNamespace(loc=static[:4], swa_loc=static_swa[:4])
        trap.before_write(pool, SimpleNamespace(layer_id=sliding), where, None)

    write()
    static_swa[:] = slots(5 * PAGE)
    with pytest.raises(BrokenLifecycle, match="expected 48"):
        write()


def test_the_same_slots_in_the_smaller_pool_of_a_draft_are_looked_at_too(traps):
    # GIVEN two pools of one kind, and slots that only the target's has
    from sglang.srt.mem_cache.memory_pool import MHATokenToKVPool

    def made(pages):
        return MHATokenToKVPool(
            pages * PAGE, PAGE, torch.float16, 1, 8, 1, "cpu", enable_memory_saver=False
        )

    trap, layer, loc = WriteTrap(traps.launches), SimpleNamespace(layer_id=0), slots(6 * PAGE)
    trap.look(made(8), layer, loc)
    # WHEN the draft passes the very same tensor THEN it is judged by the draft's pool
    with pytest.raises(BrokenLifecycle, match="I3"):
        trap.look(made(4), layer, loc)


def test_what_is_noted_of_a_forward_ends_with_its_entry_also_where_a_trap_leaves(
    traps, monkeypatch
):
    """A later write of a backend that nobody stands at must not pass for one of that forward."""
    tables, hot = FlashTables(traps.launches), traps.launches.hot

    def trapped(*_):
        hot.other_forward = {}
        raise BrokenLifecycle(Evidence("I3", "planted", "here"))

    monkeypatch.setattr(tables, "before_layer", trapped)
    entered = tables.entered(lambda *_, **__: None)
    with pytest.raises(BrokenLifecycle):
        entered(None, None, None, None, None, None)
    assert hot.other_forward is None
