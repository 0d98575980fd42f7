"""What a dependent launch brings: chains of launches in a graph, plain beside dependent.

A chain is 200 launches, each behind the one before it. In `alone` they are of one op. In `gemm`
and `own-gemm` every other one is a matrix product of a decoder layer that writes the rows which
the op then reads, with weights that left the cache: by cuBLAS, which neither waits nor lets in
early, and by a kernel here which does both where the op does. What a step costs in those is the
chain less the same chain without the op. The floor is a step that moves as many bytes, with as
many reductions that wait for each other, and computes nothing else. Ratios are of one round each.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.dependent import dependent_launches, wait_for_previous
from triage_kernels.core.launch import launch
from triage_kernels.core.spec import Args, Case, KernelSpec
from triage_kernels.perf.contenders import chain_call, inputs
from triage_kernels.perf.timing import Call, capture, replays

CHAINS = ("alone", "gemm", "own-gemm")
ROWS = (1, 8, 32, 64)
_INNER = 2048  # of the products: what an attention's output or an expert is wide
_SETS, _MOST_PRODUCTS = 8, 48
_BLOCK_N, _BLOCK_K = 32, 128


@triton.jit
def _product_kernel(
    a_ptr,
    w_ptr,
    out_ptr,
    stride_out,
    M,
    N,
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PDL: tl.constexpr,
):
    rows = tl.arange(0, BLOCK_M)[:, None]
    cols = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inner = tl.arange(0, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    wait_for_previous(PDL)
    for k in range(0, K, BLOCK_K):
        a = tl.load(a_ptr + rows * K + k + inner[None, :], mask=rows < M, other=0.0)
        w = tl.load(w_ptr + (k + inner[:, None]) * N + cols, mask=cols < N, other=0.0)
        total = tl.dot(a, w, total)
    mask = (rows < M) & (cols < N)
    tl.store(out_ptr + rows * stride_out + cols, total.to(out_ptr.dtype.element_ty), mask=mask)


@dataclass(frozen=True, slots=True)
class Overlap:
    """One op in one chain at one number of rows. Microseconds of a step; medians of the rounds.

    Attributes:
        product: of a step that is a product alone, plain; None in a chain without.
        floor, floor_dependent: an equal step in the op's place, launched either way.
        ratio: dependent / plain chain, products included: median, 20th and 80th percentile.
        to_floor: plain chain over the chain of plain floor steps, likewise.
    """

    op: str
    case: str
    rows: int
    chain: str
    plain: float
    dependent: float
    floor: float
    floor_dependent: float
    product: float | None
    ratio: tuple[float, float, float]
    to_floor: tuple[float, float, float]
    dependent_to_floor: tuple[float, float, float]
    note: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        return self.op, self.case, self.rows, self.chain


def _own_product(a: Tensor, w: Tensor, out: Tensor) -> None:
    m, n = out.shape
    launch(
        _product_kernel, (triton.cdiv(n, _BLOCK_N),), a, w, out, out.stride(0), m, n,
        K=_INNER, BLOCK_M=max(16, triton.next_power_of_2(m)), BLOCK_N=_BLOCK_N, BLOCK_K=_BLOCK_K,
        num_warps=4,
    )  # fmt: skip


def _cublas(a: Tensor, w: Tensor, out: Tensor) -> None:
    torch.mm(a, w, out=out)


def products(own: bool, target: Sequence[Tensor], dtype: torch.dtype) -> list[Call]:
    """Matrix products into each of `target`, [M, N], with as many weights as leave the cache."""
    m, n = target[0].shape
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    count = min(_MOST_PRODUCTS, 1 + 2 * l2 // (_INNER * n * dtype.itemsize))
    a = torch.randn(m, _INNER, dtype=dtype, device="cuda")
    multiply = _own_product if own else _cublas
    return [
        partial(
            multiply,
            a,
            torch.randn(_INNER, n, dtype=dtype, device="cuda") * _INNER**-0.5,
            target[number % len(target)],
        )
        for number in range(max(count, len(target)))
    ]


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    ordered = sorted(values)
    low, high = (ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.2, 0.8))
    return round(statistics.median(ordered), 4), round(low, 4), round(high, 4)


def _interleaved(steps: Sequence[Call], between: Sequence[Call]) -> list[Call]:
    """Product, step, product, step, ... for as many as there are of the longer."""
    both: list[Call] = []
    for number in range(max(len(steps), len(between))):
        both += [between[number % len(between)], steps[number % len(steps)]]
    return both


def measure(
    spec: KernelSpec, case: Case, rows: int, chain: str, dtype: torch.dtype, rounds: int = 30
) -> Overlap:
    """Time one op in one chain. Needs a GPU with dependent launches."""
    sets = inputs(spec, case, rows, dtype, _SETS)
    assert spec.fused is not None
    ours: list[Call] = [partial(spec.fused, **args) for args in sets]
    bytes_moved = spec.traffic(case.dims, rows, dtype.itemsize).fused
    equal: list[Call] = [chain_call(bytes_moved, rows, spec.reductions) for _ in sets]
    between: list[Call] = []
    if chain != "alone":
        between = products(chain == "own-gemm", [_fed(spec, args) for args in sets], dtype)
    graphs: dict[str, torch.cuda.CUDAGraph] = {}
    for name, steps in (("ours", ours), ("floor", equal)):
        whole = _interleaved(steps, between) if between else steps
        for side, way in _WAYS.items():
            with way():
                graphs[f"{name} {side}"] = capture(whole)
    if between:
        for side, way in _WAYS.items():
            with way():
                graphs[f"product {side}"] = capture(between)
    timed = replays(graphs, rounds)
    median = {name: statistics.median(samples) for name, samples in timed.items()}

    def step(name: str, side: str) -> float:
        # Half of the launches are products; two launches less one product is the step.
        if not between:
            return median[f"{name} {side}"]
        return 2 * median[f"{name} {side}"] - median[f"product {side}"]

    def paired(one: str, other: str) -> tuple[float, float, float]:
        return _quantiles([a / b for a, b in zip(timed[one], timed[other], strict=True)])

    return Overlap(
        spec.name,
        case.name,
        rows,
        chain,
        round(step("ours", "plain"), 4),
        round(step("ours", "dependent"), 4),
        round(step("floor", "plain"), 4),
        round(step("floor", "dependent"), 4),
        round(median["product plain"], 4) if between else None,
        paired("ours dependent", "ours plain"),
        paired("ours plain", "floor plain"),
        paired("ours dependent", "floor plain"),
        machine(),
    )


_WAYS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "plain": partial(dependent_launches, False),
    "dependent": dependent_launches,
}


def _fed(spec: KernelSpec, args: Args) -> Tensor:
    """The rows that a product in front of the op writes."""
    rows: Tensor = args[spec.rows[0]]
    return rows


def machine() -> str:
    """GPU, torch and Triton."""
    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}"


def text(one: Overlap) -> str:
    """A measurement in a line."""
    median, low, high = one.ratio
    return (
        f"{one.op:34} {one.case:16} M={one.rows:<4} {one.chain:8} plain {one.plain:6.2f} us  "
        f"dependent {one.dependent:6.2f}  floor {one.floor:6.2f} / {one.floor_dependent:6.2f}  "
        f"chain x {median:.3f} ({low:.3f} to {high:.3f})"
    )


def markdown(kept: Sequence[Overlap]) -> str:
    """One row per op, case and chain; columns by rows: plain, dependent, ratio of the chains."""
    counts = sorted({one.rows for one in kept})
    head = "".join(f" M={rows}: plain, dependent, floor (us) | ratio |" for rows in counts)
    lines = [f"| kernel | case | chain |{head}", "|---|---|---|" + "---|---|" * len(counts)]
    by_key = {one.key: one for one in kept}
    for op, case, chain in dict.fromkeys((one.op, one.case, one.chain) for one in kept):
        cells = "".join(_cells(by_key.get((op, case, rows, chain))) for rows in counts)
        lines.append(f"| {op} | {case} | {chain} |{cells}")
    return "\n".join(lines)


def _cells(one: Overlap | None) -> str:
    if one is None:
        return " | |"
    ratio, low, high = one.ratio
    times = f"{one.plain:.2f}, {one.dependent:.2f}, {one.floor:.2f}"
    return f" {times} | {ratio:.3f} ({low:.3f} to {high:.3f}) |"
