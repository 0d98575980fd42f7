"""Containment never alters a clean table, and never redirects in silence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.device.batches import random_batch
from triage.device.checker import CheckRefused, DeviceChecker
from triage.device.contain import Containment
from triage.invariants.reads import IndexSpace

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SPACE = IndexSpace("full", 16, 9)


@settings(max_examples=15 if DEVICE == "cuda" else 50, deadline=None)
@given(seed=st.integers(0, 2**31), interpret=st.booleans())
def test_the_copy_differs_in_a_live_entry_exactly_when_that_is_counted(seed, interpret):
    # GIVEN a random launch
    batch = random_batch(seed).on(DEVICE)
    args, options = batch.arguments()
    checker = DeviceChecker(DEVICE, capacity=4096, interpret=interpret)
    contain = Containment(checker, ["full", "swa"], max_rows=8, max_columns=32)
    # WHEN it is contained
    table, lengths = contain.redirect(*args, **options)
    checker.mark(1)
    (report,) = checker.poll(wait=True)
    # THEN live entries and lengths that changed are among the offenders, and no others
    width, page = batch.block_tables.shape[1], batch.space.page_size
    reach = batch.cache_seqlens.to(torch.int64).clamp(0, width * page)
    live = torch.arange(width, device=DEVICE) < ((reach + page - 1) // page)[:, None]
    changed = {tuple(at) for at in (live & (table != batch.block_tables)).nonzero().tolist()}
    told = {
        (o.violation.row, o.violation.column)
        for o in report.offenders
        if o.violation.invariant == "I1" and o.violation.value != 0
    }
    assert changed == told
    if not report.counts:
        assert torch.equal(lengths, batch.cache_seqlens)
    # AND whatever it reads lies in the pool, if the pool has more than its dummy page
    assert bool(((table >= 0) & (table < batch.space.num_pages)).all())
    assert bool(((lengths >= 0) & (lengths <= width * page)).all())


def test_the_same_shape_keeps_its_address_and_rows_are_dense():
    # GIVEN a buffer for 4 x 8
    checker = DeviceChecker(DEVICE)
    contain = Containment(checker, ["full"], max_rows=4, max_columns=8)
    table = torch.ones(3, 5, dtype=torch.int32, device=DEVICE)
    lengths = torch.full((3,), 20, dtype=torch.int32, device=DEVICE)
    # WHEN two launches of one shape pass
    first, _ = contain.redirect(table, lengths, SPACE, window_left=-1)
    second, _ = contain.redirect(table, lengths, SPACE, window_left=-1)
    # THEN a captured kernel may keep the pointer, and finds its row stride
    assert first.data_ptr() == second.data_ptr() and first.stride() == (5, 1)


@pytest.mark.parametrize(
    ("shape", "name", "reason"),
    [((5, 2), "full", "5 x 2 exceeds"), ((2, 17), "full", "exceeds"), ((2, 2), "swa", "no buffer")],
)
def test_a_table_without_room_is_refused(shape, name, reason):
    checker = DeviceChecker(DEVICE)
    contain = Containment(checker, ["full"], max_rows=4, max_columns=8)
    table = torch.ones(shape, dtype=torch.int32, device=DEVICE)
    lengths = torch.ones(shape[0], dtype=torch.int32, device=DEVICE)
    with pytest.raises(CheckRefused, match=reason):
        contain.redirect(table, lengths, IndexSpace(name, 16, 9), window_left=-1)
