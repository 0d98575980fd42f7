"""What a kernel is timed beside: its inputs, and the calls of each contender on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.launch import launch
from triage_kernels.core.reference import separate_norms
from triage_kernels.core.spec import Args, Case, KernelSpec, copy_args, to_device
from triage_kernels.perf.timing import Call
from triage_kernels.validate.providers import Unavailable, locate, resolve

_CHAIN_LANES = 4096  # of a program: 16 bytes a thread of 16 warps


@triton.jit
def _empty_kernel():
    pass


@triton.jit
def _chain_kernel(
    source, target, COUNT, REDUCTIONS: tl.constexpr, BLOCK: tl.constexpr, PDL: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    wait_for_previous(PDL)
    x = tl.load(source + at, mask=at < COUNT, other=0.0).to(tl.float32)
    for _ in tl.static_range(REDUCTIONS):
        x += tl.sum(x, axis=0)
    tl.store(target + at, x.to(target.dtype.element_ty), mask=at < COUNT)


def inputs(spec: KernelSpec, case: Case, rows: int, dtype: torch.dtype, sets: int) -> list[Args]:
    generator = torch.Generator(device="cuda").manual_seed(rows)
    first = to_device(spec.make(case.dims, rows, dtype, generator), "cuda")
    if "positions" in first:
        first["positions"] = first["positions"].to(torch.int64)
    return [first, *(copy_args(first) for _ in range(sets - 1))]


def _flashinfer_norm() -> Callable[[Tensor, Tensor | None, float], Tensor] | Unavailable:
    """FlashInfer's RMSNorm, the separate norm of SGLang's unfused path."""
    try:
        from flashinfer.norm import rmsnorm
    except (ImportError, OSError, RuntimeError) as error:
        return Unavailable(f"flashinfer cannot be imported: {error}")
    ones: dict[tuple[int, torch.dtype], Tensor] = {}

    def norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
        if weight is None:
            key = (x.shape[-1], x.dtype)
            if key not in ones:
                ones[key] = torch.ones(x.shape[-1], dtype=x.dtype, device=x.device)
            weight = ones[key]
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        return rmsnorm(flat, weight, eps).view(x.shape)

    return norm


def _compiled(spec: KernelSpec, args: Args) -> tuple[Callable[..., Any], int]:
    """The unfused chain under torch.compile, static shapes, and how many kernels it became."""
    from torch._inductor import metrics

    torch._dynamo.reset()
    metrics.reset()
    function = torch.compile(
        spec.unfused, dynamic=False, fullgraph=True, mode="max-autotune-no-cudagraphs"
    )
    function(**copy_args(args))
    torch.cuda.synchronize()
    return function, int(metrics.generated_kernel_count)


def copy_call(bytes_moved: int) -> Call:
    half = max(16, bytes_moved // 2 // 16 * 16)
    source = torch.empty(half, dtype=torch.int8, device="cuda").random_()
    target = torch.empty_like(source)
    return partial(target.copy_, source)


def chain_call(bytes_moved: int, rows: int, reductions: int) -> Call:
    """Half of the bytes read and written, in programs of no more than a row.

    Launched through `launch`, so that it overlaps the launch in front where ours do.
    """
    count = max(8 * rows, bytes_moved // 4)
    block = min(_CHAIN_LANES, max(32, triton.next_power_of_2(count // rows)))
    source = torch.randn(count, dtype=torch.bfloat16, device="cuda")
    return partial(
        launch,
        _chain_kernel,
        (triton.cdiv(count, block),),
        source,
        torch.empty_like(source),
        count,
        REDUCTIONS=reductions,
        BLOCK=block,
        num_warps=max(1, min(16, block // 256)),
    )


def _run_unfused(
    spec: KernelSpec, norm: Callable[[Tensor, Tensor | None, float], Tensor], args: Args
) -> None:
    with separate_norms(norm):
        spec.unfused(**args)


def contender_calls(
    name: str, spec: KernelSpec, sets: list[Args], bytes_moved: int, rows: int
) -> tuple[list[Call], int | None] | Unavailable:
    """The calls of one contender, one per set of inputs, warmed up."""
    kernels: int | None = None
    calls: list[Call]
    if name == "copy":
        calls = [copy_call(bytes_moved) for _ in sets]
    elif name == "chain":
        calls = [chain_call(bytes_moved, rows, spec.reductions) for _ in sets]
    elif name == "empty":
        calls = [partial(_empty_kernel[(rows,)], num_warps=4)]
    elif name == "eager":
        calls = [partial(spec.unfused, **args) for args in sets]
    elif name == "compile":
        function, kernels = _compiled(spec, sets[0])
        calls = [partial(function, **args) for args in sets]
    elif name == "sglang-unfused":
        norm = _flashinfer_norm()
        if isinstance(norm, Unavailable):
            return norm
        if isinstance(located := locate(spec.name), Unavailable) and "not installed" in str(
            located.reason
        ):
            return located
        calls = [partial(_run_unfused, spec, norm, args) for args in sets]
    else:
        implementation = resolve(name, spec, "cuda")
        if isinstance(implementation, Unavailable):
            return implementation
        calls = [partial(implementation, **args) for args in sets]
    calls[0]()
    torch.cuda.synchronize()
    return calls, kernels
