"""A sampled launch computed again by the eager reference, and what of its output is wrong.

Waits for the device, so it runs where the scheduler waits anyway. Rows are left out, with the
reason, where a page lies outside the cache (the table's check tells that one), where a length
outgrew what was copied, where the reference itself is not finite, and where the error bound
is as wide as the values are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

from triage.replay.attention import paged_cache_reader
from triage.replay.output_bound import FP8, Bounded, Numbers, bounded_attention
from triage.sglang.witness.sample import Queries, Sample

OUTSIDE = "rows with a page outside the cache"
OUTGROWN = "rows longer than the host knew"
NOT_FINITE = "rows whose reference is not finite"
TOO_WIDE = "rows of which the error bound says nothing"


@dataclass(frozen=True, slots=True)
class Wrong:
    """The element that is furthest out of its bound. row: of the launch's table.

    query: 0 for the row's newest. head: of all query heads. value, reference, allowed: what
    the kernel wrote, what the reference gives, and how far a right kernel may lie from it.
    """

    row: int
    query: int
    head: int
    dim: int
    value: float
    reference: float
    allowed: float
    elements: int
    rows: tuple[int, ...]


@dataclass(slots=True)
class Judgement:
    """What became of one sample.

    rows: how many were compared. left_out: reason -> rows. nearest: the largest difference
    of a right element, as a share of what is allowed.
    """

    rows: int = 0
    elements: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    nearest: float = 0.0
    wrong: Wrong | None = None


def judge(sample: Sample) -> Judgement:
    """Recompute `sample` on its device, on the current stream. Several host reads."""
    found = Judgement()
    lengths, first = sample.lengths.tolist(), sample.first_column.tolist()
    counts, outside = sample.queries.counts.tolist(), sample.outside.tolist()
    held = sample.chosen.columns * sample.page_size
    rows = []
    for row, length in enumerate(lengths):
        if outside[row]:
            found.left_out[OUTSIDE] += 1
        elif length - first[row] * sample.page_size > held:
            found.left_out[OUTGROWN] += 1
        elif length > 0 and 0 < counts[row] <= length:
            rows.append(row)
    if rows:
        _compare(sample, rows, [counts[row] for row in rows], found)
    return found


def _compare(sample: Sample, rows: list[int], counts: list[int], found: Judgement) -> None:
    """Every element of `rows`; what is out of its bound goes into `found`."""
    device = sample.keys.device
    span = sample.queries.query.shape[1]
    keep = torch.tensor(rows, device=device)
    newest = torch.tensor(
        [[r, span - n + i] for r, n in zip(rows, counts, strict=True) for i in range(n)],
        device=device,
    )
    got = sample.queries.output[newest[:, 0], newest[:, 1]].float()
    best: tuple[Tensor, Bounded] | None = None
    for query, numbers in _readings(sample.queries, sample.numbers):
        bounded = _recomputed(sample, query[newest[:, 0], newest[:, 1]], numbers, keep, counts)
        # Not "difference > bound": what is not a number is not within any bound.
        wrong = ~((got - bounded.output).abs() <= bounded.bound)
        if best is None or int(wrong.sum()) < int(best[0].sum()):
            best = wrong, bounded
    assert best is not None
    wrong, bounded = best
    finite = (bounded.output.isfinite() & bounded.bound.isfinite()).flatten(1).all(dim=1)
    telling = (bounded.bound < bounded.size).flatten(1).any(dim=1) | (
        (bounded.size == 0).flatten(1).all(dim=1)
    )
    usable = finite & telling
    found.left_out[NOT_FINITE] += len(set(newest[~finite, 0].tolist()))
    found.left_out[TOO_WIDE] += len(set(newest[finite & ~telling, 0].tolist()))
    found.left_out += Counter()  # without the zeros
    found.rows = len(set(newest[usable, 0].tolist()))
    found.elements = int(usable.sum()) * got[0].numel()
    wrong &= usable[:, None, None]
    share = (got - bounded.output).abs() / bounded.bound
    within = share.masked_fill(wrong | ~usable[:, None, None], 0.0)
    found.nearest = float(within.max()) if within.numel() else 0.0
    if not wrong.any():
        return
    share = share.masked_fill(~wrong, -1.0).nan_to_num(nan=torch.inf)
    token, head, dim = (int(i) for i in torch.unravel_index(share.argmax(), share.shape))
    row, position = newest[token].tolist()
    bad = sorted(set(newest[wrong.flatten(1).any(dim=1), 0].tolist()))
    found.wrong = Wrong(
        row=sample.chosen.first_row + row,
        query=span - 1 - position,
        head=sample.chosen.kv_head * sample.group + head,
        dim=dim,
        value=float(got[token, head, dim]),
        reference=float(bounded.output[token, head, dim]),
        allowed=float(bounded.bound[token, head, dim]),
        elements=int(wrong.sum()),
        rows=tuple(sample.chosen.first_row + each for each in bad),
    )


def _readings(queries: Queries, numbers: Numbers) -> list[tuple[Tensor, Numbers]]:
    """The queries as a kernel may read them: as passed, and rounded to an fp8 cache's type."""
    readings = [(queries.query, numbers)]
    if numbers.cache in FP8 and numbers.query not in FP8:
        rounded = queries.query.to(numbers.cache)
        readings.append((rounded, numbers._replace(query=numbers.cache)))
    return readings


def _recomputed(
    sample: Sample, query: Tensor, numbers: Numbers, rows: Tensor, counts: list[int]
) -> Bounded:
    """The reference over the copies, as over a cache of their own.

    Positions begin at the first copied page: attention knows only distances.
    """
    device = rows.device
    columns = sample.chosen.columns
    table = rows[:, None] * columns + torch.arange(columns, device=device)
    lengths = (sample.lengths - sample.first_column * sample.page_size)[rows]
    return bounded_attention(
        query.float(),
        paged_cache_reader(sample.keys, sample.values),
        table,
        lengths,
        torch.tensor(counts, device=device),
        numbers=numbers,
        page_size=sample.page_size,
        num_kv_heads=1,
        window_left=sample.window_left,
        bmm1_scale=float(sample.bmm1_scale),
        bmm2_scale=float(sample.bmm2_scale),
        sinks=sample.sinks,
    )
