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
    of_rows = (sample.lengths, sample.first_column, sample.queries.counts, sample.outside.long())
    lengths, first, counts, outside = torch.stack(of_rows).tolist()
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
    places = [(r, span - n + i) for r, n in zip(rows, counts, strict=True) for i in range(n)]
    at = torch.tensor(places, device=device).unbind(1)
    got = sample.queries.output[at].float()
    best: tuple[int, Tensor, Bounded] | None = None
    readings = _readings(sample.queries, sample.numbers)
    for query, numbers in readings:
        bounded = _recomputed(sample, query[at], numbers, keep, counts)
        # Not "difference > bound": what is not a number is not within any bound.
        wrong = ~((got - bounded.output).abs() <= bounded.bound)
        count = int(wrong.sum()) if len(readings) > 1 else 0
        if best is None or count < best[0]:
            best = count, wrong, bounded
    assert best is not None
    _, wrong, bounded = best
    finite = (bounded.output.isfinite() & bounded.bound.isfinite()).flatten(1).all(dim=1)
    telling = (bounded.bound < bounded.size).flatten(1).any(dim=1)
    telling |= (bounded.size == 0).flatten(1).all(dim=1)
    usable = (finite & telling)[:, None, None]
    wrong &= usable
    share = (got - bounded.output).abs() / bounded.bound
    within = share.masked_fill(wrong | ~usable, 0.0).flatten(1).amax(dim=1)
    elements = wrong.flatten(1).sum(dim=1)
    of_tokens = (finite.double(), telling.double(), elements.double(), within.double())
    are_finite, tell, bad, nearest = torch.stack(of_tokens).tolist()
    kinds: dict[str, set[int]] = {NOT_FINITE: set(), TOO_WIDE: set(), "": set()}
    for (row, _), is_finite, tells in zip(places, are_finite, tell, strict=True):
        kinds["" if is_finite and tells else TOO_WIDE if is_finite else NOT_FINITE].add(row)
    found.rows = len(kinds.pop(""))
    found.left_out.update({why: len(each) for why, each in kinds.items() if each})
    compared = sum(bool(f and t) for f, t in zip(are_finite, tell, strict=True))
    found.elements = compared * got[0].numel()
    found.nearest = max(nearest)
    if not any(bad):
        return
    share = share.masked_fill(~wrong, -1.0).nan_to_num(nan=torch.inf)
    token, head, dim = (int(i) for i in torch.unravel_index(share.argmax(), share.shape))
    row, position = places[token]
    rows_wrong = sorted({row for (row, _), n in zip(places, bad, strict=True) if n})
    found.wrong = Wrong(
        row=sample.chosen.first_row + row,
        query=span - 1 - position,
        head=sample.chosen.kv_head * sample.group + head,
        dim=dim,
        value=float(got[token, head, dim]),
        reference=float(bounded.output[token, head, dim]),
        allowed=float(bounded.bound[token, head, dim]),
        elements=int(sum(bad)),
        rows=tuple(sample.chosen.first_row + each for each in rows_wrong),
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
        num_pages=len(sample.keys),
        page_size=sample.page_size,
        num_kv_heads=1,
        window_left=sample.window_left,
        bmm1_scale=float(sample.bmm1_scale),
        bmm2_scale=float(sample.bmm2_scale),
        sinks=sample.sinks,
    )
