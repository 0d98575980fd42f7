"""The emulator against a per-entry loop written from the rules, and its place in each band."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.dump.footprint import columns_read
from triage.replay.emulator import emulate


def loop_oracle(table, lengths, *, page_size, window_left, num_pages, q_len, separate_kv):
    """Counts of (set, band) by looking at one token at a time."""
    counts: dict[tuple[str, str], int] = {}
    extent = num_pages * 2 if separate_kv else num_pages
    for row, length in enumerate(lengths):
        if length <= 0:
            continue
        oldest = 0 if window_left < 0 else max(0, length - q_len - window_left)
        must = {token // page_size for token in range(oldest, length)}
        likely = {token // page_size for token in range(oldest - oldest % 128, length)}
        end = length + -length % 256
        may = {token // page_size for token in range(oldest - oldest % 256, end)}
        for column in sorted(may):
            if column >= table.shape[1]:
                continue
            value = int(table[row, column])
            if 0 <= value < num_pages:
                continue
            band = "negative" if value < 0 else "fault" if value < extent else "zeros"
            name = "must" if column in must else "likely" if column in likely else "may"
            counts[name, band] = counts.get((name, band), 0) + 1
    return counts


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_counts_agree_with_the_loop(data):
    page_size = data.draw(st.sampled_from([1, 16, 32, 64, 128]))
    rows = data.draw(st.integers(0, 4))
    width = data.draw(st.integers(0, 12))
    seed = data.draw(st.integers(0, 2**16))
    window_left = data.draw(st.sampled_from([-1, 0, 15, 127, 511]))
    q_len = data.draw(st.integers(1, 8))
    separate_kv = data.draw(st.booleans())
    dtype = data.draw(st.sampled_from([np.int32, np.int64]))
    rng = np.random.default_rng(seed)
    table = rng.integers(-3, 30, (rows, width)).astype(dtype)
    lengths = rng.integers(0, width * page_size + 1, rows).astype(np.int32)

    footprint = emulate(
        table,
        lengths,
        page_size=page_size,
        window_left=window_left,
        num_pages=10,
        q_lens=q_len,
        separate_kv=separate_kv,
    )

    counted = {
        (name, band): count
        for name, bands in footprint.bad.items()
        for band, count in bands.items()
        if count
    }
    assert counted == loop_oracle(
        table, lengths.tolist(), page_size=page_size, window_left=window_left,
        num_pages=10, q_len=q_len, separate_kv=separate_kv,
    )  # fmt: skip
    for offender in footprint.offenders:
        assert table[offender.row, offender.column] == offender.value
        assert footprint.bad[offender.set][offender.band] > 0


@pytest.mark.parametrize(
    ("value", "separate_kv", "band"),
    [
        (10, True, "fault"),
        (19, True, "fault"),
        (20, True, "zeros"),
        (-1, True, "negative"),
        (2**31 - 1, True, "zeros"),
        (10, False, "zeros"),
        (19, False, "zeros"),
    ],
)
def test_the_band_of_an_id_follows_from_the_descriptor(value, separate_kv, band):
    table = np.array([[1, 2, value]], dtype=np.int32)

    footprint = emulate(
        table, np.array([40]), page_size=16, window_left=-1, num_pages=10, q_lens=1,
        separate_kv=separate_kv,
    )  # fmt: skip

    assert footprint.count(within="must", band=band) == footprint.count() == 1


def test_a_bad_id_outside_everything_that_is_read_is_not_counted():
    table = np.full((1, 40), 99, dtype=np.int32)
    table[0, 12:32] = 1

    footprint = emulate(
        table, np.array([500]), page_size=16, window_left=255, num_pages=10, q_lens=1
    )

    # oldest visible token 244 -> column 15; rounded to 128 -> 8, to 256 -> 0
    assert footprint.bad["must"]["zeros"] == 0
    assert footprint.bad["likely"]["zeros"] == 4
    assert footprint.bad["may"]["zeros"] == 8
    assert footprint.count() == 12


def test_a_table_narrower_than_a_row_is_reported_by_row():
    table = np.ones((3, 2), dtype=np.int32)

    footprint = emulate(
        table, np.array([16, 33, 80]), page_size=16, window_left=-1, num_pages=10, q_lens=1
    )

    assert footprint.past_width == 4
    assert footprint.past_width_rows == (1, 2)
    assert not footprint.clean


def test_ragged_queries_widen_each_row_by_its_own_length():
    columns = columns_read(np.array([100, 100]), np.array([1, 50]), page_size=16, window_left=15)
    assert columns.must_low.tolist() == [84 // 16, 35 // 16]


def test_more_pages_than_an_int32_can_name_leave_only_negative_ids_bad():
    table = np.array([[5, 2**31 - 1, -4]], dtype=np.int32)

    footprint = emulate(
        table, np.array([48]), page_size=16, window_left=-1, num_pages=1 << 35, q_lens=1
    )

    assert footprint.bad["must"] == {"fault": 0, "zeros": 0, "negative": 1}
