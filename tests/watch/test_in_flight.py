"""What the scheduler does to a row while a step is queued excuses that step, and nothing else."""

from __future__ import annotations

import pytest

from triage.device.checker import Offender, StepReport
from triage.evidence import Violation
from triage.sglang.scheduler.in_flight import InFlight

PAGE = 64
STEP = 7


def write(value=8711, expected=0, request=5):
    """What an H200 reported of a request that had ended: I3, swa_loc = 8711, expected 0."""
    return Offender(
        Violation("I3", "swa_loc", 112, 0, value, PAGE, 9000, expected, request), launch=1, tag=0
    )


def entry(invariant="I2", value=17, column=3, request=5):
    return Offender(
        Violation(invariant, "block_tables", 4, column, value, 1, 137, 0, request), launch=1, tag=0
    )


def slot(invariant="I2", value=1088, position=200, request=5, name="window_kv_indices"):
    """A slot of Triton's: its column is its position."""
    return Offender(
        Violation(invariant, name, 4, position, value, PAGE, 9000, 0, request), launch=1, tag=0
    )


def report(*offenders, step=STEP):
    counts: dict[str, int] = {}
    for offender in offenders:
        name = offender.violation.invariant
        counts[name] = counts.get(name, 0) + 1
    return StepReport(step, (0, 9), counts, offenders)


@pytest.fixture
def rows():
    return InFlight()


@pytest.mark.parametrize(
    "seen",
    [
        *(write(), write(value=0), write(expected=4096), entry(), entry("I1", value=0)),
        *(slot(), slot("I1", value=0), slot(name="kv_indices")),
    ],
    ids=[
        *("cleared", "translated late", "given to another", "of before", "dummy page"),
        *("slot of before", "dummy slot", "full slot of before"),
    ],
)
def test_a_row_given_back_after_its_step_was_queued_is_excused(rows, seen):
    rows.released(5, step=STEP)
    told = rows.without_excused(report(seen), PAGE)
    assert told.total == 0 and told.offenders == () and told.launches == (0, 9)


@pytest.mark.parametrize("seen", [write(), entry(), entry("I1", value=0)])
def test_a_row_given_back_before_its_step_was_queued_is_a_use_after_free(rows, seen):
    rows.released(5, step=STEP - 1)
    assert rows.without_excused(report(seen), PAGE) == report(seen)


@pytest.mark.parametrize("seen", [write(), entry(), entry("I1", value=0)])
def test_a_page_that_goes_while_its_request_lives_is_told(rows, seen):
    rows.released(6, step=STEP)  # another request's row
    assert rows.without_excused(report(seen), PAGE) == report(seen)


@pytest.mark.parametrize(
    "seen",
    [write(value=9000), write(value=-1), entry("I1", value=137), entry("I1", value=-3)],
    ids=["past the pool", "negative", "page past the pool", "negative page"],
)
def test_what_lies_outside_the_pool_is_never_excused(rows, seen):
    rows.released(5, step=STEP)
    assert rows.without_excused(report(seen), PAGE) == report(seen)


@pytest.mark.parametrize("tensor", ["out_cache_loc", "cache_seqlens", "req_pool_indices"])
def test_what_the_scheduler_fixed_when_it_planned_the_step_is_never_excused(rows, tensor):
    rows.released(5, step=STEP)
    seen = Offender(Violation("I3", tensor, 0, 0, 12, 64, 9000, None, 5), launch=1, tag=0)
    assert rows.without_excused(report(seen), PAGE) == report(seen)


def test_a_living_row_is_excused_in_the_span_that_a_prefix_cache_rewrote(rows):
    # GIVEN tokens [128, 256) of the row, pages 2 and 3, exchanged while the step was queued
    rows.rewritten(5, 128, 256, step=STEP)
    inside, below, behind = entry(column=3), entry(column=1), entry(column=4)
    told = rows.without_excused(report(inside, below, behind, write()), PAGE)
    # THEN what lies elsewhere is told, and so is a write
    assert told.offenders == (below, behind, write())
    assert told.counts == {"I2": 2, "I3": 1}
    # AND so is everything in a step that was queued later
    assert rows.without_excused(report(inside, step=STEP + 1), PAGE).total == 1


def test_offenders_that_were_only_counted_are_taken_for_what_the_kept_ones_are(rows):
    rows.released(5, step=STEP)
    flood = StepReport(STEP, (0, 9), {"I2": 500}, (entry(),))
    assert rows.without_excused(flood, PAGE).total == 0
    mixed = StepReport(STEP, (0, 9), {"I2": 500}, (entry(), entry(request=8)))
    assert rows.without_excused(mixed, PAGE).counts == {"I2": 499}


def test_of_rows_of_unequal_length_a_cleared_write_is_excused_if_some_row_was_given_back(rows):
    nobody = write(request=None)
    assert rows.without_excused(report(nobody), PAGE).total == 1
    rows.released(9, step=STEP)
    assert rows.without_excused(report(nobody), PAGE).total == 0
    assert rows.without_excused(report(write(expected=640, request=None)), PAGE).total == 1


def test_slots_of_a_span_that_was_exchanged_are_excused_by_their_position(rows):
    rows.rewritten(5, 192, 256, step=STEP)
    assert rows.without_excused(report(slot(position=200)), PAGE).total == 0
    assert rows.without_excused(report(slot(position=191)), PAGE).total == 1
    # AND one outside the pool is told, whoever's it is
    outside = slot("I1", value=9000, position=200)
    assert rows.without_excused(report(outside), PAGE).total == 1
