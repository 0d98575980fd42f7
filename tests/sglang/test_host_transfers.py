"""What SGLang's controller sends to the host and back: wrong lists are loud, right ones silent."""

from __future__ import annotations

import functools
import random
from contextlib import ExitStack
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from tests.sglang.host_cache import PAGE, controller
from triage.dump.file import read_dump
from triage.dump.store import DumpStore
from triage.errors import TrapError
from triage.explain import explain
from triage.lab.bootstrap import prepare
from triage.sglang.scheduler import host_transfers
from triage.sglang.traps import Traps


@pytest.fixture
def transfers(dumps):
    """The hooks, bound as `install` binds them, and what they found."""
    prepare()
    from triage.sglang.scheduler.host_transfers import HostTransfers, targets

    traps = Traps(DumpStore(dumps))
    hooks = HostTransfers(traps.reporter.fire_event)
    with ExitStack() as stack:
        for target, name in targets().items():
            stack.enter_context(hooked(target, getattr(hooks, name)))
        yield hooks


def hooked(target, around):
    path, _, name = target.rpartition(".")
    module, _, owner = path.rpartition(".")
    original = getattr(getattr(__import__(module, fromlist=[owner]), owner), name)

    @functools.wraps(original)
    def hook(*args, **kwargs):
        return around(original, *args, **kwargs)

    return mock.patch(target, hook)


def fires(sentence):
    return pytest.raises(TrapError, match=rf"I24: .*{sentence}")


def cause_of(caught):
    found = explain(read_dump(caught.value.dump))
    return [cause.key for cause in found.named]


def test_what_goes_to_the_host_and_back_in_hundreds_of_drawn_steps_is_right(transfers):
    # GIVEN nodes on the device, on the host, or on both, as drawn
    cache, rng = controller(), random.Random(4)
    allocator = cache.mem_pool_device_allocator
    device, host = [], []
    # WHEN they are written, evicted on either side and loaded, several in one transfer
    for _ in range(400):
        step = rng.choice(("new", "write", "load", "evict device", "evict host"))
        if step == "new" and (slots := allocator.alloc(PAGE * rng.randint(1, 3))) is not None:
            device.append(slots)
        elif step == "write" and device:
            slots = cache.write(rng.choice(device), node_id=len(host))
            host += [] if slots is None else [slots]
        elif step == "load" and host:
            for each in rng.sample(host, rng.randint(1, min(2, len(host)))):
                slots = cache.load(each)
                device += [] if slots is None else [slots]
            cache.start_loading()
        elif step == "evict device" and device:
            cache.evict_device(device.pop(rng.randrange(len(device))))
        elif step == "evict host" and host:
            cache.evict_host(host.pop(rng.randrange(len(host))))
    # THEN every list was looked at, and none was wrong
    assert transfers.transfers > 100


def test_a_node_that_is_loaded_after_its_host_slots_went_back_is_named(transfers):
    cache = controller()
    host = cache.write(cache.mem_pool_device_allocator.alloc(2 * PAGE))
    cache.evict_host(host)
    cache.load(host)
    with fires("held by nobody") as caught:
        cache.start_loading()
    assert cause_of(caught) == ["transfer-of-wrong-slots"]


def test_host_slots_that_go_back_while_a_copy_writes_them_are_named(transfers):
    # GIVEN a copy to the host that is on its way
    cache = controller()
    with mock.patch.object(torch.cpu.Event, "query", lambda event: False):
        host = cache.write(cache.mem_pool_device_allocator.alloc(2 * PAGE))
        # WHEN its slots are given back before anybody saw it through
        with fires("still has it written") as caught:
            cache.evict_host(host)
    assert cause_of(caught) == ["freed-in-transfer"]


def test_host_slots_that_go_back_behind_the_copy_are_right(transfers):
    cache = controller()
    host = cache.write(cache.mem_pool_device_allocator.alloc(2 * PAGE))
    assert cache.evict_host(host) == 2 * PAGE


def test_copies_are_remembered_for_storage_alone(transfers):
    # GIVEN a copy to the host, of which nobody has said yet whether it will be stored
    cache, copied = controller(), transfers.backups._copied
    cache.write(cache.mem_pool_device_allocator.alloc(PAGE), node_id=1)
    assert list(copied) == [1]
    # WHEN a tree without storage takes note of what is through THEN no copy is kept any more
    tree = SimpleNamespace(cache_controller=cache, enable_storage=False)
    transfers.around_writing_check(lambda tree: None, tree)
    cache.write(cache.mem_pool_device_allocator.alloc(PAGE), node_id=2)
    assert not copied
    # AND once storage is attached they are again
    tree.enable_storage = True
    transfers.around_writing_check(lambda tree: None, tree)
    cache.write(cache.mem_pool_device_allocator.alloc(PAGE), node_id=3)
    assert list(copied) == [3]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda host: host[:-1], "reads 7 indices and writes 8"),
        (lambda host: host + 1, "are not one page"),
        (lambda host: torch.cat([host[:PAGE], host[:PAGE]]), "is named twice"),
        (lambda host: host + 1000, "is outside"),
    ],
    ids=["a slot short", "shifted by a slot", "a page twice", "outside the pool"],
)
def test_a_list_that_was_cut_wrong_is_named_before_it_is_copied(transfers, change, sentence):
    cache = controller()
    host = cache.write(cache.mem_pool_device_allocator.alloc(2 * PAGE))
    cache.load(host)
    cache.load_queue[-1].host_indices = change(host)
    with fires(sentence):
        cache.start_loading()


def test_a_pool_that_hands_out_its_slots_by_itself_is_not_followed(transfers):
    # GIVEN a host pool whose `alloc` is its own
    cache = controller()
    kind = type(cache.mem_pool_host)
    own = type("Own", (kind,), {"alloc": lambda self, need_size: torch.arange(need_size)})
    assert host_transfers._follows(kind)
    assert not host_transfers._follows(own)
