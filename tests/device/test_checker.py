"""The device checker against the host checks: same counts, same offenders, same safe copy.

Long because every invariant goes through the same two checkers, side by side.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.device.batches import Batch, random_batch
from triage.device.checker import CheckRefused, DeviceChecker, Offender, SafeCopy
from triage.device.syncs import count_syncs
from triage.invariants.graph import check_padding
from triage.invariants.reads import IndexSpace, check_table
from triage.invariants.writes import check_writes

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
SPACE = IndexSpace("full", 16, 9)

# Nearly every random launch is a kernel variant of its own, and compiling takes a second.
EXAMPLES = 25 if CUDA else 80


def checker(**options) -> DeviceChecker:
    """The Triton kernel: compiled where there is a GPU, else interpreted."""
    return DeviceChecker(DEVICE, capacity=4096, interpret=True, **options)


def run(subject: DeviceChecker, batch: Batch, **options) -> tuple[dict, set, SafeCopy]:
    """Counts, offenders and safe copy of one launch."""
    args, given_options = batch.on(DEVICE).arguments()
    rows, width = batch.block_tables.shape
    safe = SafeCopy(
        torch.full((rows, width), 99, dtype=torch.int32, device=DEVICE),
        torch.full((rows,), 99, dtype=torch.int32, device=DEVICE),
    )
    subject.check_table(*args, **given_options, **options, safe=safe, tag=5)
    subject.mark(step=1)
    (report,) = subject.poll(wait=True)
    return report.counts, {o.violation for o in report.offenders}, safe


def expect(batch: Batch, *, check_padding_too: bool, padded_length: int | None):
    """The same from the host checks."""
    args, options = batch.arguments()
    found = [check_table(*args, **options)]
    if check_padding_too:
        names = ("num_real_rows", "req_pool_indices")
        known = {name: options[name] for name in names if name in options}
        found.append(check_padding(*args, **known, padded_length=padded_length))
    counts: dict[str, int] = {}
    offenders = set()
    for findings in found:
        for name, number in findings.read().items():
            counts[name] = counts.get(name, 0) + number
        offenders |= set(findings.violations(limit=10**6))
    return {name: number for name, number in counts.items() if number}, offenders


@settings(max_examples=EXAMPLES, deadline=None)
@example(seed=209, padding=False, fill=None)  # an id inside the pool that is another row's
@given(seed=st.integers(0, 2**31), padding=st.booleans(), fill=st.sampled_from([None, 1, 5]))
def test_kernel_and_host_agree_on_every_launch(seed, padding, fill):
    # GIVEN a random launch, legal, spoilt in places, or garbage
    batch = random_batch(seed)
    padding = padding and "num_real_rows" in batch.options
    # WHEN the kernel and the host checks judge it
    options = {"check_padding": padding, "padded_length": fill if padding else None}
    counts, offenders, safe = run(checker(), batch, **options)
    expected_counts, expected = expect(batch, check_padding_too=padding, padded_length=fill)
    # THEN they name the same entries, with the same ranges and expectations
    assert counts == expected_counts
    assert offenders == expected
    # AND the safe copy differs from the live table exactly in the ids outside the pool
    table = batch.block_tables.to(torch.int64)
    width = table.shape[1]
    page = batch.space.page_size
    reach = batch.cache_seqlens.to(torch.int64).clamp(0, width * page)
    live = torch.arange(width) < ((reach + page - 1) // page)[:, None]
    for violation in expected:
        if violation.tensor == "block_tables" and violation.invariant == "I1":
            live[violation.row, violation.column] = False
    assert torch.equal(safe.table.cpu(), torch.where(live, table, 0).to(torch.int32))
    assert torch.equal(safe.lengths.cpu(), reach.to(torch.int32))


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(seed=st.integers(0, 2**31), padding=st.booleans())
def test_the_eager_twin_keeps_the_same_state(seed, padding):
    # GIVEN a random launch
    batch = random_batch(seed)
    options = {"check_padding": padding and "num_real_rows" in batch.options}
    # WHEN the twin runs it on a CPU
    twin = DeviceChecker("cpu", capacity=4096)
    args, given_options = batch.arguments()
    twin.check_table(*args, **given_options, **options)
    twin.mark(1)
    (report,) = twin.poll()
    # THEN its report is the kernel's
    counts, offenders, _ = run(checker(), batch, **options)
    assert report.counts == counts
    assert {o.violation for o in report.offenders} == offenders


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(data=st.data())
def test_writes_agree_too(data):
    # GIVEN tokens with legal, wrong and garbage slots
    page = data.draw(st.sampled_from([1, 16]))
    pages, swa_pages = 5, 3
    slot = st.one_of(st.integers(-2, pages * page + 1), st.sampled_from([-(2**31), 2**31 - 1]))
    slots = data.draw(st.lists(slot, max_size=40))
    tokens = len(slots)
    loc = torch.tensor(slots, dtype=torch.int64)
    mapping = torch.tensor(
        data.draw(st.lists(st.integers(-1, 60), min_size=pages * page, max_size=pages * page))
    )
    swa = mapping[loc.clamp(0, len(mapping) - 1)].clone()
    if tokens and data.draw(st.booleans()):
        swa[data.draw(st.integers(0, tokens - 1))] += 1
    options = {}
    if data.draw(st.booleans()):
        options = {"swa_loc": swa, "swa_space": IndexSpace("swa", page, swa_pages)}
        if data.draw(st.booleans()):
            options["full_to_swa"] = mapping
    if data.draw(st.booleans()):
        options["num_real_tokens"] = data.draw(st.integers(0, tokens))
    elif data.draw(st.booleans()):
        owners = st.integers(0, 1)
        rows = data.draw(st.lists(owners, min_size=tokens, max_size=tokens))
        options["req_pool_indices"] = torch.tensor(rows, dtype=torch.int32)
    if tokens and data.draw(st.booleans()):  # a column of a draft's table, as EAGLE's steps write
        wide = torch.zeros(len(loc), 3, dtype=loc.dtype)
        wide[:, 1] = loc
        loc = wide[:, 1]
    space = IndexSpace("full", page, pages)
    # WHEN kernel, twin and host judge them
    host = check_writes(loc, space, **options)
    moved = {k: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    reports = []
    for subject, at, how in (
        (checker(), DEVICE, moved),
        (DeviceChecker("cpu", capacity=4096), "cpu", options),
    ):
        subject.check_writes(loc.to(at), space, **how)
        subject.mark(1)
        reports.extend(subject.poll(wait=True))
    # THEN all three agree
    for report in reports:
        assert report.total == host.total
        assert {o.violation for o in report.offenders} == set(host.violations(10**6))


def one_bad_entry() -> Batch:
    table = torch.ones(2, 4, dtype=torch.int32)
    table[1, 2] = 900
    return Batch(table, torch.tensor([64, 40], dtype=torch.int32), SPACE, {"window_left": -1})


def test_a_report_belongs_to_its_step_and_launch_and_is_told_once():
    # GIVEN a checker whose second launch of three is bad
    subject = checker()
    bad, (args, options) = one_bad_entry(), one_bad_entry().on(DEVICE).arguments()
    good = args[0].clamp(max=8)
    for step, table in enumerate([good, args[0], good]):
        subject.check_table(table, *args[1:], **options, tag=40 + step)
        subject.mark(step)
    # WHEN the host polls, twice
    reports = subject.poll(wait=True)
    again = subject.poll(wait=True)
    # THEN step 1, launch 1, tag 41 is named, once
    assert [report.total for report in reports] == [0, 1, 0]
    assert reports[1].step == 1 and reports[1].launches == (1, 2)
    (offender,) = reports[1].offenders
    assert offender == Offender(check_table(*bad.arguments()[0], **options).violations()[0], 1, 41)
    assert again == ()


def test_offenders_beyond_the_capacity_are_counted_and_the_next_step_has_room():
    # GIVEN room for two offenders and eight bad entries
    subject = DeviceChecker(DEVICE, capacity=2, interpret=True)
    batch = one_bad_entry().on(DEVICE)
    args, options = batch.arguments()
    flood = torch.full_like(args[0], 900)
    subject.check_table(flood, *args[1:], **options)
    subject.mark(1)
    # WHEN the flood is reported, and one more entry goes wrong
    (first,) = subject.poll(wait=True)
    subject.check_table(*args, **options)
    subject.mark(2)
    (second,) = subject.poll(wait=True)
    # THEN counts are exact, records are capped, and the later offender is kept
    assert first.counts == {"I1": 7} and len(first.offenders) == 2
    assert second.counts == {"I1": 1}
    assert [o.violation.column for o in second.offenders] == [2]


def test_marks_are_merged_when_every_snapshot_is_on_its_way():
    # GIVEN two snapshots and three marks without a poll
    subject = checker(snapshots=2)
    args, options = one_bad_entry().on(DEVICE).arguments()
    sent = []
    for step in range(3):
        subject.check_table(*args, **options)
        sent.append(subject.mark(step))
    # WHEN the host catches up and marks again
    early = subject.poll(wait=True)
    subject.mark(3)
    (late,) = subject.poll(wait=True)
    # THEN nothing is lost: the last report covers both steps
    assert sent == [True, True, False]
    assert [r.counts for r in early] == [{"I1": 1}, {"I1": 1}]
    assert late.counts == {"I1": 1} and late.launches == (2, 3)


def test_silence_is_counted_until_a_check_runs():
    # GIVEN an armed checker
    subject = checker()
    # WHEN three forwards pass without a launch, then one with
    for step in range(3):
        subject.mark(step)
        subject.poll(wait=True)
    silent = subject.marks_without_launch
    args, options = one_bad_entry().on(DEVICE).arguments()
    subject.check_table(*args, **options)
    subject.mark(3)
    subject.poll(wait=True)
    # THEN the heartbeat shows the three, and recovers
    assert silent == 3 and subject.marks_without_launch == 0


def test_an_empty_batch_is_a_launch_without_findings():
    subject = checker()
    empty = torch.empty(0, dtype=torch.int32, device=DEVICE)
    subject.check_table(empty.view(0, 4), empty, SPACE, window_left=-1)
    subject.check_writes(empty, SPACE)
    subject.mark(1)
    (report,) = subject.poll(wait=True)
    assert report.launches == (0, 2) and report.total == 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda t, s: (t[0], s), "1 dimensions"),
        (lambda t, s: (t.float(), s), "torch.float32"),
        (lambda t, s: (t[:, ::2], s), "column stride 2"),
        (lambda t, s: (t, s[:1]), "cache_seqlens has shape"),
        (lambda t, s: (t, s.to("meta")), "meta"),
    ],
)
def test_a_form_it_does_not_know_is_refused_before_the_launch(spoil, reason):
    # GIVEN a tensor of a form the kernel would misread
    table = torch.ones(2, 4, dtype=torch.int32, device=DEVICE)
    lengths = torch.full((2,), 5, dtype=torch.int32, device=DEVICE)
    subject = checker()
    # WHEN the check is asked for
    with pytest.raises(CheckRefused, match=reason):
        subject.check_table(*spoil(table, lengths), SPACE, window_left=-1)
    # THEN nothing ran
    subject.mark(1)
    assert subject.poll(wait=True)[0].launches == (0, 0)


def test_a_strided_table_is_checked_as_it_lies():
    # GIVEN a table that is a slice of a wider one, whose other columns are wrong
    wide = torch.full((2, 8), 900, dtype=torch.int32, device=DEVICE)
    wide[:, :4] = 1
    lengths = torch.full((2,), 64, dtype=torch.int32, device=DEVICE)
    subject = checker()
    # WHEN the slice is checked
    subject.check_table(wide[:, :4], lengths, SPACE, window_left=-1)
    subject.mark(1)
    # THEN only the slice was read
    assert subject.poll(wait=True)[0].total == 0


@pytest.mark.skipif(CUDA, reason="the GPU tests count syncs with CUDA's own debug mode")
def test_the_hot_path_reads_nothing_back(monkeypatch):
    # GIVEN a checker whose kernel launches are replaced by a count
    subject = checker()
    args, options = one_bad_entry().arguments()
    with count_syncs(forbid=True) as counts:

        class Launcher:
            def __getitem__(self, grid):
                return lambda *args, **kwargs: counts.launched("check")

        monkeypatch.setattr("triage.device.launches.check_table_kernel", Launcher())
        # WHEN a step launches both spaces, and marks
        subject.check_table(*args, **options)
        subject.check_table(*args, **options)
        subject.mark(1)
    # THEN it took two launches and one copy, and no host read
    assert counts.launches == {"check": 2, "aten::copy_": 1}


def test_pools_of_two_page_sizes_are_refused_with_both():
    loc = torch.ones(2, dtype=torch.int64, device=DEVICE)
    pages = SPACE.page_size, 2 * SPACE.page_size
    with pytest.raises(
        CheckRefused, match=f"pages of {pages[1]} tokens, the full pool of {pages[0]}"
    ):
        checker().check_writes(
            loc, SPACE, swa_loc=loc, swa_space=IndexSpace("swa", pages[1], SPACE.num_pages)
        )
