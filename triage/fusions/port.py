"""The skeleton of a kernel for a pattern of the catalogue: all but the kernel is written.

The file holds the launcher with its checks, twin, oracle, cases and the registry entry. It
is complete for `triage kernels list --also FILE`, and fails `triage kernels validate
--also FILE` until its launcher launches something. A pattern that we have a kernel for
takes that kernel's references: the skeleton is then a second implementation of it.
"""

from __future__ import annotations

import keyword
from pathlib import Path

from triage.errors import DumpError, TriageError
from triage.files.writing import write_output
from triage.fusions.catalogue import Pattern, named


class PortError(TriageError):
    """There is nothing to port, or the file is there already."""


_OF_OURS = '''"""{what}: a kernel of its own for the pattern `{pattern}`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from triage_kernels.core.spec import Outputs
from triage_kernels.validate.registry import select

(REFERENCE,) = select(("{ours}",))


def {name}(**args: Any) -> Tensor | Outputs:
    """Takes and returns what `{ours}` does; write the launch here."""
    raise NotImplementedError("the kernel of {name} is not written")


SPEC = replace(REFERENCE, name="{name}", fused={name})
'''

_NORM_ADD_NORM = '''"""{what}: a kernel for the pattern `{pattern}`."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor
from triage_kernels.core.alignment import aligned
from triage_kernels.core.guard import check_rows, check_vectors
from triage_kernels.core.launch import fresh, launch_rows
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import (
    hidden_cases, in_fp32, norm_eager, norm_exact, norm_of, row_maker, row_traffic,
)
from triage_kernels.core.rms import inv_rms, load, load_weight, store, store_norm, through, tile
from triage_kernels.core.spec import Args, Exact, KernelSpec, Output, Outputs


@triton.jit(do_not_specialize=["M"])
def _kernel(
    x_ptr, w_ptr, r_ptr, next_w_ptr, sum_ptr, normed_ptr, stride_x, stride_r, M,
    N: tl.constexpr, EPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):
    pass  # the kernel is not written


def {name}(
    x: Tensor, weight: Tensor, residual: Tensor, next_weight: Tensor, eps: float = EPS
) -> Outputs:
    """t = n(x) * weight + residual; returns R(t) and R(n(R(t)) * next_weight).

    Args:
        x, residual: [M, N] of one dtype, last stride 1, row strides of their own.
        weight, next_weight: [N] packed, any float dtype.
    Raises:
        ContractError: a shape, dtype or stride other than the above.
    """
    check_rows("x", x)
    check_rows("residual", residual, x)
    check_vectors(x, weight=weight, next_weight=next_weight)
    x, residual, weight, next_weight = map(aligned, (x, residual, weight, next_weight))
    total, normed = fresh(x), fresh(x)
    tensors = (x, weight, residual, next_weight, total, normed)
    launch_rows(_kernel, x, *tensors, x.stride(0), residual.stride(0), EPS=eps)
    return total, normed


def {name}_eager(
    x: Tensor, weight: Tensor, residual: Tensor, next_weight: Tensor, eps: float = EPS
) -> Outputs:
    """The same in torch: fp32 inside, one rounding per output; the norm reads R(t)."""
    total = in_fp32(_norm_add, x, weight, residual, eps).to(x.dtype)
    return total, norm_eager(total, next_weight, eps)


def {name}_unfused(
    x: Tensor, weight: Tensor, residual: Tensor, next_weight: Tensor, eps: float = EPS
) -> Outputs:
    """Norm, add, norm: three roundings."""
    total = _norm_add(x, weight, residual, eps)
    return total, norm_eager(total, next_weight, eps)


def _norm_add(x: Tensor, weight: Tensor, residual: Tensor, eps: float) -> Tensor:
    return norm_eager(x, weight, eps) + residual


def oracle(args: Args, outputs: Outputs) -> tuple[Exact, ...]:
    n = norm_exact(args["x"], args["weight"], args["eps"])
    r = args["residual"].double()
    total = Exact(n.value + r, n.magnitude + r.abs())
    return total, norm_of(total, outputs[0], args["next_weight"], args["eps"])


SPEC = KernelSpec(
    name="{name}",
    summary="t = n(x)*w + r; R(t), R(n(R(t))*w_next)",
    fused={name},
    eager={name}_eager,
    unfused={name}_unfused,
    oracle=oracle,
    make=row_maker(
        x="rows", weight="weight", residual="rows", next_weight="weight", eps="eps"
    ),
    cases=hidden_cases(moe=False),
    outputs=(Output("sum", "one rounding"), Output("normed", "one rounding; reads R(t)")),
    rows=("x", "residual"),
    vectors=("weight", "next_weight"),
    launches_replaced="2 -> 1",
    traffic=row_traffic(fused=4, unfused=6, weights=2),
    reductions=2,
)
'''


def skeleton(pattern: Pattern, name: str) -> str:
    """The text of the file.

    Raises:
        PortError: the pattern is no stretch of a layer, or the name is no function's.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise PortError(f"{name!r} is no name of a function; give another with --name")
    if pattern.name == "norm-add-norm":
        template = _NORM_ADD_NORM
    elif pattern.ours:
        template = _OF_OURS
    else:
        raise PortError(
            f"{pattern.name} ({pattern.what}) has no references to start from; "
            "those that have: norm-add-norm and every pattern with a kernel of ours"
        )
    values = {"what": pattern.what, "pattern": pattern.name, "ours": pattern.ours, "name": name}
    for key, value in values.items():
        template = template.replace("{" + key + "}", value)
    return template


def port(pattern_name: str, name: str | None, into: Path) -> Path:
    """Write the skeleton for a pattern.

    Raises:
        PortError: see `skeleton`; or `into` is there already.
    """
    try:
        pattern = named(pattern_name)
    except LookupError as error:
        raise PortError(str(error).strip('"')) from error
    text = skeleton(pattern, name or pattern_name.replace("-", "_"))
    try:
        return write_output(into, text.encode())
    except DumpError as error:  # it is there already, or a link is
        raise PortError(str(error)) from error
