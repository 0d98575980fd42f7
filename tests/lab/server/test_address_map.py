"""Which page ids leave all mapped memory: the arithmetic against a count of every byte range."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st

from triage.lab.server.address_map import (
    Buffer,
    beyond,
    buffers_of,
    common,
    ids_outside,
    merged,
    readable,
)

spans = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60)), max_size=6).map(
    lambda pairs: [(start, start + length) for start, length in pairs]
)
buffers = st.builds(
    Buffer,
    name=st.just("swa K 0"),
    base=st.integers(0, 200),
    page_bytes=st.integers(1, 20),
    pages=st.integers(1, 5),
)


def ids(ranges: list[tuple[int, int]]) -> list[int]:
    return [page for low, high in ranges for page in range(low, high)]


@given(buffers, st.integers(0, 40), spans)
def test_an_id_is_outside_exactly_if_its_page_touches_no_mapped_byte(buffer, count, mapped):
    expected = []
    for page in range(count):
        start = buffer.base + page * buffer.page_bytes
        stop = start + buffer.page_bytes
        if not any(max(start, low) < min(stop, high) for low, high in mapped):
            expected.append(page)
    found = ids_outside(buffer, count, merged(mapped))
    assert ids(found) == expected
    assert all(low < high for low, high in found) and found == sorted(found)


@given(st.lists(buffers, max_size=3), st.integers(0, 30), spans)
def test_beyond_is_what_is_outside_from_every_buffer(several, count, mapped):
    whole = merged(mapped)
    every = [set(ids(ids_outside(buffer, count, whole))) for buffer in several]
    expected = sorted(set.intersection(*every)) if every else []
    assert ids(beyond(several, count, whole)) == expected


@given(spans)
def test_merged_ranges_hold_the_same_addresses_once(mapped):
    found = merged(mapped)
    assert {a for span in mapped for a in range(*span)} == {a for s in found for a in range(*s)}
    assert all(one[1] < two[0] for one, two in itertools.pairwise(found))


@given(spans, spans)
def test_common_is_the_intersection(first, second):
    one, two = merged(first), merged(second)
    inside = {a for s in one for a in range(*s)} & {a for s in two for a in range(*s)}
    assert {a for s in common(one, two) for a in range(*s)} == inside


def test_only_readable_mappings_of_a_process_count():
    text = "1000-2000 r--p 0 0 0 /lib\n2000-3000 ---p 0 0 0\n3000-4000 rw-s 0 0 0 /dev/x\n"
    assert readable(text) == [(0x1000, 0x2000), (0x3000, 0x4000)]


def test_buffers_are_told_with_the_bytes_of_a_page():
    def half(layers: int, heads: int) -> SimpleNamespace:
        tensors = [torch.zeros(12, heads, 8, dtype=torch.bfloat16) for _ in range(layers)]
        return SimpleNamespace(k_buffer=tensors, v_buffer=[each.clone() for each in tensors])

    pool = SimpleNamespace(page_size=4, swa_kv_pool=half(2, 4), full_kv_pool=half(1, 1))
    found = buffers_of(pool)
    assert [buffer.name for buffer in found] == [
        "swa K 0", "swa K 1", "swa V 0", "swa V 1", "full K 0", "full V 0",
    ]  # fmt: skip
    assert (found[0].page_bytes, found[0].pages) == (4 * 4 * 8 * 2, 3)
    assert found[4].page_bytes == 4 * 1 * 8 * 2
    assert found[0].end - found[0].base == 12 * 4 * 8 * 2
