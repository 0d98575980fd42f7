"""The kernel over packed slots against the host's check: same counts, offenders, repaired slots."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.device.checker import CheckRefused, DeviceChecker
from triage.device.kept_slots import KeptSlots
from triage.device.syncs import count_syncs
from triage.invariants.reads import IndexSpace

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
PAGE, PAGES, CONTEXT = 4, 9, 40


def random_stream(seed: int) -> tuple[dict, dict]:
    """A launch as SGLang builds it, then spoilt in places; arguments and options."""
    random = torch.Generator().manual_seed(seed)

    def draw(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=random)

    rows = int(draw(5, 1)) + 1
    table = draw(PAGE * (PAGES - 1), rows + 2, CONTEXT) + PAGE
    mapping = torch.cat([torch.zeros(PAGE, dtype=torch.int64), PAGE + draw(32, 32), draw(1, 1) - 1])
    windowed = bool(draw(2, 1))
    window = 6 if windowed else -1
    ends = draw(CONTEXT - 2, rows) + 1
    ahead = int(draw(2, 1))
    tokens = (ends + ahead).clamp(max=window) if windowed else ends + ahead
    requests = torch.randperm(rows + 1, generator=random)[:rows] + 1
    pieces = [
        table[r, e - t : e]
        for r, e, t in zip(requests, (ends + ahead).tolist(), tokens.tolist(), strict=True)
    ]
    stream = torch.cat(pieces)
    if windowed:
        stream = mapping[stream]
    stream = torch.cat([stream, draw(99, int(draw(4, 1)))])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), tokens.cumsum(0)])
    requests[draw(rows, 1)] *= int(draw(3, 1)) > 0  # a padded row, or a request that is not there
    requests[draw(rows, 1)] += 50 * (int(draw(6, 1)) == 0)
    for _ in range(int(draw(3, 1))):
        stream[draw(len(stream), 1)] = draw(60, 1) - 9
    if int(draw(4, 1)) == 0:
        offsets[draw(rows + 1, 1)] += draw(9, 1) - 4
    if int(draw(6, 1)) == 0:
        stream = stream[: len(stream) // 2 + 1]
    given_ends = windowed or bool(draw(3, 1))
    options = {
        "ends": ends if given_ends else None,
        "ahead": ahead if given_ends else 0,
        "window": window,
        "counted": bool(draw(4, 1)),
        "req_pool_indices": requests if int(draw(4, 1)) else None,
        "req_to_token": table if int(draw(4, 1)) else None,
        "full_to_swa": mapping if windowed else None,
        "name": "window_kv" if windowed else "kv",
        "one_fewer": bool(draw(2, 1)),
    }
    return {"kv_indptr": offsets.to(torch.int32), "kv_indices": stream}, options


def rows_of(kept: KeptSlots, launch: int) -> list | None:
    """What was kept of a launch, to compare by value."""
    found = kept.launch(launch)
    if found is None:
        return None
    cells = lambda values: None if values is None else values.tolist()  # noqa: E731
    return [found.tag, found.all_rows] + [
        (each.count, each.start, each.request, *map(cells, (each.slots, each.own, each.right)))
        for each in found.rows
    ]


def judged(interpret: bool, arguments: dict, options: dict, safe: bool, cells: int = 400) -> tuple:
    """Counts, offenders, what the slots are afterwards, and what was kept of the launch."""
    subject = DeviceChecker(DEVICE, capacity=4096, interpret=interpret)
    kept = KeptSlots(4, cells, pinned=CUDA)
    moved = {n: v.clone().to(DEVICE) for n, v in arguments.items()}
    given_options = {
        n: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for n, v in options.items()
    }
    space = IndexSpace("full", PAGE, PAGES)
    subject.check_packed_slots(**moved, space=space, **given_options, safe=safe, tag=3, kept=kept)
    subject.mark(step=1)
    (report,) = subject.poll(wait=True)
    found = {offender.violation for offender in report.offenders}
    return report.counts, found, moved["kv_indices"].tolist(), rows_of(kept, 0)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**31), safe=st.booleans(), cells=st.sampled_from((20, 400)))
def test_the_kernel_and_the_host_say_the_same_of_any_stream(seed, safe, cells):
    # GIVEN packed slots, sound or spoilt: slots, offsets, requests, a buffer that is too short
    arguments, options = random_stream(seed)
    # WHEN the kernel and the host's check judge them
    kernel = judged(True, arguments, options, safe, cells)
    host = judged(False, arguments, options, safe, cells)
    # THEN counts, offenders, the repaired slots and what was kept are the same
    assert kernel == host
    # AND a launch is kept if it found something
    assert (kernel[3] is not None) is bool(kernel[0])
    # AND nothing is repaired that was not asked for
    assert safe or kernel[2] == arguments["kv_indices"].tolist()


def test_an_id_outside_the_pool_is_told_and_becomes_the_dummy_slot():
    arguments = {
        "kv_indptr": torch.tensor([0, 3], dtype=torch.int32),
        "kv_indices": torch.tensor([4, PAGE * PAGES, 6]),
    }
    options = {"ends": torch.tensor([3]), "req_pool_indices": torch.tensor([1])}
    counts, found, slots, _ = judged(True, arguments, options, safe=True)
    assert counts == {"I1": 1} and slots == [4, 0, 6]
    (violation,) = found
    assert (violation.tensor, violation.column, violation.value) == ("kv_indices", 1, 36)


@pytest.mark.parametrize("interpret", [True, False], ids=["the kernel", "the host"])
@pytest.mark.parametrize(
    ("ends", "read", "one_fewer", "wrong"),
    [
        (9, 6, True, 0),
        (9, 5, True, 0),
        (9, 5, False, 1),
        (9, 4, True, 1),
        (9, 7, True, 1),
        (6, 5, True, 0),
        (5, 4, True, 1),
    ],
    ids=[
        "whole",
        "a key short",
        "short and not excused",
        "two short",
        "one too many",
        "as long as the window",
        "not cut by the window",
    ],
)
def test_a_row_that_its_window_cuts_may_lack_its_oldest_slot_where_that_is_excused(
    interpret, ends, read, one_fewer, wrong
):
    # GIVEN a row of a window of 6 that holds the newest `read` tokens of a request of `ends`
    table = torch.arange(2 * CONTEXT).reshape(2, CONTEXT) % 28 + PAGE
    arguments = {
        "kv_indptr": torch.tensor([0, read], dtype=torch.int32),
        "kv_indices": table[1, ends - read : ends].clone(),
    }
    options = {
        "ends": torch.tensor([ends]),
        "window": 6,
        "one_fewer": one_fewer,
        "req_pool_indices": torch.tensor([1]),
        "req_to_token": table,
        "name": "window_kv",
    }
    # THEN its number is told unless it is excused, and of an excused one each slot has its place
    counts, _, _, _ = judged(interpret, arguments, options, safe=False)
    assert counts.get("I12", 0) == wrong
    assert wrong or not counts


def test_a_form_that_is_not_known_is_refused_before_anything_is_launched():
    subject = DeviceChecker(DEVICE)
    offsets = torch.tensor([0, 3], dtype=torch.int32, device=DEVICE)
    slots = torch.zeros(3, device=DEVICE)
    with pytest.raises(CheckRefused, match=r"kv_indices is torch\.float32"):
        subject.check_packed_slots(offsets, slots, IndexSpace("full", PAGE, PAGES))


@pytest.mark.skipif(CUDA, reason="the GPU tests count syncs with CUDA's own debug mode")
def test_a_check_is_one_launch_and_reads_nothing_back(monkeypatch):
    arguments, options = random_stream(4)
    subject = DeviceChecker(DEVICE, interpret=True)
    with count_syncs(forbid=True) as counts:

        class Launcher:
            def __getitem__(self, grid):
                return lambda *args, **kwargs: counts.launched("check")

        monkeypatch.setattr("triage.device.launches.check_packed_slots_kernel", Launcher())
        subject.check_packed_slots(**arguments, space=IndexSpace("full", PAGE, PAGES), **options)
    assert counts.launches == {"check": 1}


@pytest.mark.parametrize("interpret", [False, True], ids=["twin", "kernel"])
def test_what_a_launch_read_is_kept_until_its_step_was_judged(interpret):
    # GIVEN slots of request 1, one of them another's, in a table and a mapping
    table = torch.arange(3 * CONTEXT).view(3, CONTEXT) % 30 + PAGE
    mapping = torch.arange(64) + 1
    right = mapping[table[1, 2:8]]
    slots = right.clone()
    slots[3] += 1
    options = {"ends": torch.tensor([8]), "window": 6, "name": "window_kv"}
    options |= {"req_pool_indices": torch.tensor([1]), "full_to_swa": mapping}
    moved = {name: value.to(DEVICE) for name, value in options.items() if torch.is_tensor(value)}
    options = {**options, **moved, "req_to_token": table.to(DEVICE)}
    offsets = torch.tensor([0, 6], dtype=torch.int32, device=DEVICE)
    subject, kept = DeviceChecker(DEVICE, interpret=interpret), KeptSlots(4, 64, pinned=CUDA)
    space = IndexSpace("swa", PAGE, PAGES)

    def check(values: torch.Tensor, step: int) -> None:
        subject.check_packed_slots(offsets, values.to(DEVICE), space, kept=kept, **options)
        subject.mark(step)
        subject.poll(wait=True)

    # WHEN a sound launch, three wrong ones and, after those were judged, another are checked
    for step, values in enumerate((right, slots, slots, slots)):
        check(values, step)
    known = [kept.launch(number) is not None for number in range(4)]
    kept.release(before=4)
    check(slots, 4)
    # THEN as many as there are places were kept, the oldest, and a freed place serves again
    assert known == [False, True, True, False]
    (row,) = kept.launch(4).rows
    assert kept.launch(1) is None
    # AND a row has what was read, what the request's row says and what that stands for
    assert (row.count, row.start, row.request) == (6, 2, 1)
    assert row.slots.tolist() == slots.tolist()
    assert row.own.tolist() == table[1, 2:8].tolist() and row.right.tolist() == right.tolist()
