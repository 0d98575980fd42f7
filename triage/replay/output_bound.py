"""How far a right kernel's output may lie from the eager reference: an error bound, from dtypes.

The failure: a tolerance chosen by eye is either so wide that a wrong row passes, or cries
about a kernel that sums in another order. The rule: every rounding that a kernel of this
kind makes is listed and bounded for any order of summation, so a right kernel cannot pass
the bound, and what passes it is wrong.

For one query q, keys k_j and values v_j with weights w_j = p_j / Z, p_j = exp(s_j - m):

    s_j     D products, summed in float32 in any order:       (D + 16) u L
            u is one spacing of float32, so that an accumulator that truncates is covered;
            L = scale |q| max|k_j| bounds every logit, and |s_j - m| that exp sees
    p_j     is rounded to the type that the second product takes: half a spacing of it,
            and what is smaller than its smallest number is lost: n tiny max|v|
    sum     n products and n weights:                          2 n u A,  A = sum_j w_j |v_j|
    parts   blocks of a split-K kernel may be kept in the output's type: half a spacing of A
    output  half a spacing of |o|, of its type

With e the sum of the relative errors of p_j, numerator and denominator together are off by
at most expm1(e) (A + |o|). Source of the shape of it: Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., chapters 3 and 4.

Two things are known of particular kernels. An fp8 product on sm_90 keeps about 14 bits
while it sums (DeepSeek-V3 report, section 3.3.2): where queries and keys are both fp8, its
rounding stands for u, and grows with 8 sqrt(D) instead of D, which holds with all but
certainty (Higham and Mary, SIAM J. Sci. Comput. 41, 2019). And a kernel may round wide
queries to an fp8 cache's type (XQA on sm_90 does): a caller asks for both and takes the nearer.

Not covered: a kernel that is asked to leave keys out (skip-softmax, block-sparse).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from triage.replay.attention import KVReader, paged_attention_eager

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
SPACING = 2.0**-23
FP8_SUM_SPACING = 2.0**-13
FP8_SCALE = 256.0
"""An fp8 kernel scales weights up before it rounds them, by this at least (trtllm-gen, XQA)."""


class Bounded(NamedTuple):
    """`(tokens, Hq, D)` in float32: the reference, and how far a right output may lie from it.

    size: A of this module, the mean size of the values; a bound of as much says nothing.
    """

    output: Tensor
    bound: Tensor
    size: Tensor


class Numbers(NamedTuple):
    """The types that a kernel rounds to."""

    query: torch.dtype
    cache: torch.dtype
    output: torch.dtype

    @property
    def weights(self) -> torch.dtype:
        """What the weights are rounded to before they meet the values: the values' type."""
        return self.cache

    @property
    def sum_spacing(self) -> float:
        both = self.query in FP8 and self.cache in FP8
        return FP8_SUM_SPACING if both else SPACING


def half_spacing(dtype: torch.dtype) -> float:
    """The largest relative error of rounding to `dtype`; of float32 0, which nothing rounds to."""
    return 0.0 if dtype in (torch.float32, torch.float64) else torch.finfo(dtype).eps / 2


def bounded_attention(
    query: Tensor,
    read_kv: KVReader,
    page_table: Tensor,
    cache_seqlens: Tensor,
    q_lens: Tensor,
    *,
    numbers: Numbers,
    num_pages: int,
    page_size: int,
    num_kv_heads: int,
    window_left: int,
    bmm1_scale: float,
    bmm2_scale: float = 1.0,
    sinks: Tensor | None = None,
) -> Bounded:
    """The eager reference, and the bound of this module around it.

    Args: as `paged_attention_eager`, which computes the value and, over |v|, the size A: each row
        is given to it twice, the second time with page ids from `num_pages` on.
        page_table: ids in [0, num_pages), past a row's length too.
        numbers: the types of the launch, before anybody widened them.
    Cost: one reference over twice the rows and a pass over the keys; host reads, as it has.
    """

    def read_twice(pages: Tensor) -> tuple[Tensor, Tensor]:
        for_size = pages >= num_pages
        keys, values = read_kv(torch.where(for_size, pages - num_pages, pages))
        return keys, torch.where(for_size[:, :, None, None, None], values.abs(), values)

    both = paged_attention_eager(
        query.repeat(2, 1, 1),
        read_twice,
        torch.cat([page_table, page_table + num_pages]),
        cache_seqlens.repeat(2),
        q_lens.repeat(2),
        page_size=page_size,
        num_kv_heads=num_kv_heads,
        window_left=window_left,
        bmm1_scale=bmm1_scale,
        bmm2_scale=1.0,
        sinks=sinks,
    )
    tokens = query.shape[0]
    output, size = both[:tokens] * bmm2_scale, both[tokens:] * abs(bmm2_scale)
    largest_key, largest_value, visible = _largest(
        read_kv, page_table, cache_seqlens, q_lens, page_size=page_size, window_left=window_left
    )
    rows = torch.repeat_interleave(torch.arange(len(q_lens), device=query.device), q_lens.long())
    group = query.shape[1] // num_kv_heads
    key = largest_key.repeat_interleave(group, dim=1)[rows]
    value = largest_value.repeat_interleave(group, dim=1)[rows][:, :, None] * abs(bmm2_scale)
    count = visible[rows][:, None, None].float()

    head_dim = query.shape[-1]
    u = numbers.sum_spacing
    terms = head_dim if u == SPACING else min(head_dim, 8 * head_dim**0.5)
    logit = abs(bmm1_scale) * query.float().norm(dim=-1) * key
    rounded = half_spacing(numbers.weights)
    relative = (terms + 16) * u * logit[:, :, None] + 8 * SPACING + rounded
    spacing = torch.where(count > 64, 8 * count.sqrt(), count) if u != SPACING else count
    of_output = half_spacing(numbers.output)
    bound = torch.expm1(relative) * (size + output.abs())
    bound += 2 * spacing * u * size
    bound += of_output * (size + output.abs())
    if rounded:
        smallest = torch.finfo(numbers.weights)
        lost = smallest.smallest_normal * smallest.eps
        bound += count * value * (lost / FP8_SCALE if numbers.weights in FP8 else lost)
    if of_output:
        smallest = torch.finfo(numbers.output)
        bound += smallest.smallest_normal * smallest.eps
    else:
        bound += torch.finfo(torch.float32).smallest_normal
    return Bounded(output, bound, size)


def _largest(
    read_kv: KVReader,
    page_table: Tensor,
    cache_seqlens: Tensor,
    q_lens: Tensor,
    *,
    page_size: int,
    window_left: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of each row: the longest key and the largest value `(rows, Hkv)`, and how many keys."""
    rows, columns = page_table.shape
    keys, values = read_kv(page_table)
    ends = cache_seqlens.long()
    position = torch.arange(columns * page_size, device=page_table.device)
    seen = position < ends[:, None]
    if window_left >= 0:
        seen &= position >= (ends - q_lens.long() - window_left)[:, None]
    hidden = ~seen.reshape(rows, columns, 1, page_size)
    lengths = keys.norm(dim=-1).masked_fill_(hidden, 0.0)
    sizes = values.abs_().amax(dim=-1).masked_fill_(hidden, 0.0)
    return lengths.amax(dim=(1, 3)), sizes.amax(dim=(1, 3)), seen.sum(dim=1)
