"""What the kernels of a recorded decode step are for, and how many a decoder layer launches.

Told by name from the counts of a trace, so that a stored count can be sorted anew:

- attention: the attention kernels themselves (Triton's decode stages 1 and 2). What prepares
  their metadata runs once a step, outside the layers.
- cache write: a kernel that does nothing else. Our preamble, which also norms and rotates,
  stands among the layer's kernels.
- experts: the fused MoE products, what sorts tokens for them, their activation, and the sum
  over the chosen experts. The router (its product, top-k and weights) is the layer's.
- matrix products: one for each product of the layer, whoever computes it. cuBLAS may split a
  product and add its parts in a launch of its own, which belongs to that product and is told
  beside it ("split-K sums").
- kernels: everything else in a layer: norms (of q, k and v too), rotation, activation, router,
  residuals, tails.
- outside the layers, told a step: embeddings, the last norm, the head, sampling, metadata, and
  the scheduler's preparation of the next batch.

Known to the account are the model's own repetitions: the head, the last norm, and with
per-layer embeddings one product and one norm more run once a step outside the layers, under
names that layers may use as well.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triage.errors import LabError
from triage.lab.server import shapes

KERNELS, PRODUCTS, SUMS, ATTENTION, CACHE, EXPERTS, OUTSIDE = (
    "kernels",
    "matrix products",
    "split-K sums",
    "attention",
    "cache write",
    "experts",
    "outside the layers",
)
OF_A_LAYER = (KERNELS, PRODUCTS, SUMS, ATTENTION, CACHE, EXPERTS)

ONCE_A_LAYER = re.compile(r"^_fwd_(grouped_)?kernel_stage1$")
"""Triton's decode attention: exactly once a layer, layers that share keys and values too."""
_ONCE_A_STEP = re.compile(r"softcap|ArgMaxOps")
"""The head's soft cap and greedy sampling: exactly once a step, whatever the layers do."""

_NAMED = (
    (OUTSIDE, r"softcap|ArgMaxOps|alloc_\w*kernel|kv_indices|kv_splits|clamp_position|::cub::"),
    (OUTSIDE, r"indexSelect|gather_kernel|embedding"),
    (KERNELS, r"norm|rope|rotary|routing|topk|gelu|_preamble_kernel|_layer_tail|_post_attn"),
    (CACHE, r"store_?kv|store_cache|set_kv|index_put_kernel_impl<at::native::OpaqueType<[12]> ?>"),
    (ATTENTION, r"_fwd_\w*kernel|flash_?(fwd|attn)|fmha|xqa|mqa|Batch(Decode|Prefill)With"),
    (EXPERTS, r"fused_moe|moe_align|moe_sum|count_and_sort|_mul_sum_"),
    (SUMS, r"splitK_?reduce"),
    (PRODUCTS, r"nvjet|gemm|gemv|cutlass|xmma"),
)
_PATTERNS = tuple((of, re.compile(pattern, re.IGNORECASE)) for of, pattern in _NAMED)
_TORCH = "at::native::"
_PLAIN_NORM = "::RMSNormKernel<"
_ACTIVATION = "act_and_mul"
_TANH = re.compile(r"ActivationKind\)2|gelu_tanh")
"""Of the dense block, of which the experts' activation is told apart."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel: what it is for, launches a step. A name may have two rows."""

    name: str
    purpose: str
    a_step: float


@dataclass(frozen=True, slots=True)
class Account:
    """One decode step. by_purpose: launches a layer; of OUTSIDE, a step."""

    shape: str
    layers: int
    steps: int
    by_purpose: dict[str, float]
    rows: tuple[Row, ...]


def of(counts: Mapping[str, int], shape: shapes.Shape) -> Account:
    """The account of some whole decode steps. counts: kernel name -> launches recorded.

    Raises LabError where the steps cannot be told, or a kernel of the layers does not come out
    whole: such a figure would be a wrong one.
    """
    steps = _steps(counts, shape)
    rows = [row for name, n in counts.items() for row in _rows(name, n / steps, shape)]
    _take_out(rows, PRODUCTS, 1 + bool(shape.per_layer))
    _take_out(rows, KERNELS, 1 + bool(shape.per_layer), _PLAIN_NORM)
    rows = sorted((row for row in rows if row.a_step), key=lambda row: -row.a_step)
    for row in rows:
        if row.purpose != OUTSIDE and row.a_step % 1:
            raise LabError(
                f"{row.name[:80]} ({row.purpose}) was launched {row.a_step * steps:.0f} times in "
                f"{steps} steps, which is not a whole number a step: no plain decode steps"
            )
    total: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        total[row.purpose] += row.a_step
    by = {purpose: total[purpose] / shape.layers for purpose in OF_A_LAYER}
    return Account(shape.name, shape.layers, steps, {**by, OUTSIDE: total[OUTSIDE]}, tuple(rows))


def _steps(counts: Mapping[str, int], shape: shapes.Shape) -> int:
    """Told twice, by a kernel of every layer and by those of a step; both must agree."""
    attention = sum(n for name, n in counts.items() if ONCE_A_LAYER.search(name))
    ends = {name: n for name, n in counts.items() if _ONCE_A_STEP.search(name)}
    seen = ", ".join(name[:60] for name, _ in Counter(counts).most_common(5)) or "none"
    if not attention:
        raise LabError(
            f"no decode step of Triton's attention was recorded; kernels most seen: {seen}"
        )
    steps, rest = divmod(attention, shape.layers)
    if rest or not steps:
        raise LabError(
            f"{attention} launches of decode attention are no whole steps of "
            f"{shape.layers} layers ({shape.name}): the trace has other layers or a cut step"
        )
    if not ends:
        raise LabError(
            f"attention says {steps} steps, and no soft cap or arg max is there to confirm it; "
            f"kernels most seen: {seen}"
        )
    for name, n in ends.items():
        if n != steps:
            raise LabError(
                f"attention says {steps} steps, {name[:60]}, which runs once a step, says {n}"
            )
    return steps


def _rows(name: str, a_step: float, shape: shapes.Shape) -> list[Row]:
    purpose = next((of for of, pattern in _PATTERNS if pattern.search(name)), None)
    if purpose == KERNELS and _TORCH in name:
        purpose = None  # torch's own are of the layers and of the scheduler alike
    if purpose is None and shape.experts and _ACTIVATION in name:
        twice = a_step >= 2 * shape.layers  # one name for the dense block and the experts
        experts = shape.layers if twice else 0 if _TANH.search(name) else a_step
        return [Row(name, EXPERTS, experts), Row(name, KERNELS, a_step - experts)]
    if purpose is None:
        inside = _inside(a_step, shape)
        if inside and _TORCH not in name:
            inside = a_step
        return [Row(name, KERNELS, inside), Row(name, OUTSIDE, a_step - inside)]
    return [Row(name, purpose, a_step)]


def _inside(a_step: float, shape: shapes.Shape) -> float:
    """Told by count alone: of every layer, or of those that (do not) share keys and values."""
    shared = shape.kv_shared
    inside = 0.0
    for group in sorted({shape.layers, shape.layers - shared, shared} - {0}, reverse=True):
        inside += (a_step - inside) // group * group
    return inside


def _take_out(rows: list[Row], purpose: str, runs: float, named: str = "") -> None:
    """Put `runs` launches a step outside the layers: of names that no layer fills, first."""
    for row in sorted(rows, key=lambda row: row.a_step):
        taken = min(runs, row.a_step) if row.purpose == purpose and named in row.name else 0
        if taken:
            rows.remove(row)
            rows += [Row(row.name, purpose, row.a_step - taken), Row(row.name, OUTSIDE, taken)]
            runs -= taken


def stored(note: Mapping[str, Any], shape: shapes.Shape) -> Account:
    """The account of what a results file keeps of a trace.

    note: `counts` (launches recorded) and `layers`, or as older files have it `kernels` (name ->
    class, launches a step) with the `steps` that they were divided by, right or wrong; the counts
    are got back exactly. Raises LabError as `of` does, or where the counts do not come out whole.
    """
    if note.get("layers", shape.layers) != shape.layers:
        shape = shapes.shrunk(shape)
    if "counts" in note:
        return of(note["counts"], shape)
    counts = {name: each * note["steps"] for name, (_, each) in note["kernels"].items()}
    parts = [name for name, n in counts.items() if abs(n - round(n)) > 1e-6]
    if parts:
        raise LabError(f"{parts[0][:60]}: no whole count times {note['steps']} steps")
    return of({name: round(n) for name, n in counts.items()}, shape)
