"""With the recorded addresses, a bad id is told to fault or to read a neighbour."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import dumps_fixture as dumps
from triage.dump.sections import Dump
from triage.replay.deduction import deduce
from triage.replay.placement import cache_of, joined_halves


def placed(*, v_after_k: int = 1 << 40, segments: tuple[tuple[int, int], ...] = ()) -> Dump:
    """The small dump with K at a known address and V `v_after_k` bytes behind its end."""
    dump = dumps.make_dump(dumps.SMALL)
    tensors = dict(dump.launch.tensors)
    keys = cache_of(dump.launch, "k_cache")
    tensors["v_cache"] = replace(tensors["v_cache"], data_ptr=keys.end + v_after_k)
    launch = replace(dump.launch, tensors=tensors)
    return replace(dump, launch=launch, pools=replace(dump.pools, segments=segments))


def said(dump: Dump) -> str:
    return "\n".join(deduce(dump).reasons)


def test_halves_of_one_allocation_are_recognised():
    assert joined_halves(placed(v_after_k=0).launch)
    assert not joined_halves(placed(v_after_k=2).launch)
    assert "K's ids in that band read V" in said(placed(v_after_k=0))


@pytest.mark.parametrize(
    ("reach", "sentence"),
    [
        (0, "6 point to memory the allocator had not mapped (a fault) and 0"),
        (1 << 42, "0 point to memory the allocator had not mapped (a fault) and 6"),
    ],
)
def test_the_segment_map_decides_between_a_fault_and_foreign_bytes(reach, sentence):
    dump = placed()
    keys = cache_of(dump.launch, "k_cache")
    segments = ((keys.start, keys.end - keys.start + reach),)

    assert sentence in said(replace(dump, pools=replace(dump.pools, segments=segments)))


def test_without_addresses_nothing_is_claimed():
    assert "foreign bytes)" not in said(dumps.make_dump(dumps.SMALL))


@pytest.mark.parametrize("name", ["data_ptr", "stride"])
def test_an_address_that_no_machine_has_is_told_like_any_other(name):
    # GIVEN a file that puts the cache, or its second page, beyond 64 bits
    dump = placed(segments=((1 << 40, 1 << 30),))
    keys = dump.launch.tensors["k_cache"]
    far = {"data_ptr": 1 << 63, "stride": (1 << 40, *keys.stride[1:])}
    tensors = {**dump.launch.tensors, "k_cache": replace(keys, **{name: far[name]})}
    spoilt = replace(dump, launch=replace(dump.launch, tensors=tensors))
    # THEN nothing overflows
    assert "6 point to memory the allocator had not mapped" in said(spoilt)
