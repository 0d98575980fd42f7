"""Checks on a call's arguments, made before anything is launched.

Every message says what was seen and what was allowed. Overlap is decided for the
layouts that occur (column slices of one buffer); where two views cannot be shown
disjoint, they count as overlapping.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from triage_kernels.core.errors import ContractError

FLOATS = (torch.bfloat16, torch.float16, torch.float32)
INTS = (torch.int32, torch.int64)


def _refuse(name: str, seen: object, allowed: str) -> None:
    raise ContractError(f"{name} is {seen}; allowed: {allowed}")


def check_rows(name: str, tensor: Tensor, like: Tensor | None = None) -> None:
    """`tensor` is [M, N] floating, last stride 1; with `like` also its shape, dtype and device."""
    if tensor.dim() != 2:
        _refuse(name, f"{tensor.dim()}-D with shape {tuple(tensor.shape)}", "2-D [M, N]")
    if tensor.dtype not in FLOATS:
        _refuse(name, tensor.dtype, "bfloat16, float16, float32")
    if tensor.shape[1] == 0:
        _refuse(name, f"of shape {tuple(tensor.shape)}", "at least one column")
    if tensor.shape[1] > 1 and tensor.stride(1) != 1:
        _refuse(name, f"strided {tensor.stride()}", "last stride 1")
    if tensor.stride(0) < 0:
        _refuse(name, f"strided {tensor.stride()}", "a row stride of at least 0")
    if like is None:
        return
    if tensor.shape != like.shape:
        _refuse(name, f"of shape {tuple(tensor.shape)}", f"{tuple(like.shape)}")
    if tensor.dtype != like.dtype:
        _refuse(name, tensor.dtype, f"{like.dtype}, the dtype of the rows")
    check_device(name, tensor, like)


def _check_packed(
    name: str, tensor: Tensor, length: int, like: Tensor, dtypes: tuple[torch.dtype, ...]
) -> None:
    if tensor.dim() != 1 or tensor.shape[0] != length:
        _refuse(name, f"of shape {tuple(tensor.shape)}", f"({length},)")
    if tensor.dtype not in dtypes:
        _refuse(name, tensor.dtype, ", ".join(str(d).removeprefix("torch.") for d in dtypes))
    if length > 1 and tensor.stride(0) != 1:
        _refuse(name, f"strided {tensor.stride()}", "stride 1")
    check_device(name, tensor, like)


def check_vector(name: str, tensor: Tensor, length: int, like: Tensor) -> None:
    """`tensor` is a packed floating vector of `length` on the device of `like`."""
    _check_packed(name, tensor, length, like, FLOATS)


def check_vectors(x: Tensor, **vectors: Tensor) -> None:
    """Each is a packed floating vector as long as the rows of `x`, on its device."""
    for name, tensor in vectors.items():
        check_vector(name, tensor, x.shape[1], x)


def check_index(name: str, tensor: Tensor, length: int, like: Tensor) -> None:
    """`tensor` is a packed int32 or int64 vector of `length` on the device of `like`."""
    _check_packed(name, tensor, length, like, INTS)


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """`value` is one of `allowed`."""
    if value not in (known := tuple(allowed)):
        _refuse(name, repr(value), ", ".join(known))


def check_beside(name: str, tensor: Tensor, q: Tensor) -> None:
    """`tensor` has the dtype, the number of rows and the device of `q`."""
    check_device(name, tensor, q)
    if tensor.dtype != q.dtype or tensor.shape[0] != q.shape[0]:
        _refuse(
            name,
            f"{tensor.dtype} with {tensor.shape[0]} rows",
            f"{q.dtype} with {q.shape[0]}, as q",
        )


def check_scalar(name: str, tensor: Tensor, like: Tensor) -> None:
    """`tensor` holds exactly one float on the device of `like`: it is read by the kernel."""
    if tensor.numel() != 1 or tensor.dtype not in FLOATS:
        _refuse(name, f"{tensor.dtype} of shape {tuple(tensor.shape)}", "one float, 0-d or [1]")
    check_device(name, tensor, like)


def check_device(name: str, tensor: Tensor, like: Tensor) -> None:
    if tensor.device != like.device:
        _refuse(name, f"on {tensor.device}", f"{like.device}, where the rows are")


def check_heads(name: str, tensor: Tensor, heads: int, head_dim: int) -> None:
    """`tensor` is [M, heads * head_dim], heads packed at stride head_dim."""
    check_rows(name, tensor)
    if tensor.shape[1] != heads * head_dim:
        _refuse(name, f"{tensor.shape[1]} wide", f"{heads} heads x {head_dim} = {heads * head_dim}")


def span(tensor: Tensor) -> tuple[int, int]:
    """First and one-past-last byte that `tensor` can touch."""
    if tensor.numel() == 0:
        return (0, 0)
    size = tensor.element_size()
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    start = tensor.data_ptr()
    return start, start + (reach + 1) * size


def same_memory(a: Tensor, b: Tensor) -> bool:
    """Whether both are the very same view: the only overlap an in-place form allows."""
    return (a.data_ptr(), a.shape, a.stride(), a.dtype) == (
        b.data_ptr(),
        b.shape,
        b.stride(),
        b.dtype,
    )


def overlap(a: Tensor, b: Tensor) -> bool:
    """Whether two views may share an element."""
    (a0, a1), (b0, b1) = span(a), span(b)
    if a1 <= b0 or b1 <= a0:
        return False
    if a.dim() != 2 or b.dim() != 2 or a.element_size() != b.element_size():
        return True
    pitch = a.stride(0) * a.element_size()
    if pitch <= 0 or pitch != b.stride(0) * b.element_size():
        return True
    # Rows of one pitch: the column intervals decide, modulo the pitch.
    width_a, width_b = (t.shape[1] * t.element_size() for t in (a, b))
    shift = (b.data_ptr() - a.data_ptr()) % pitch
    return shift < width_a or pitch - shift < width_b


def check_writable(name: str, tensor: Tensor) -> None:
    """Refuse an output whose own rows share memory (an expanded or too narrowly strided view)."""
    if tensor.shape[0] > 1 and tensor.stride(0) < tensor.shape[1]:
        _refuse(
            name,
            f"strided {tensor.stride()} with rows of {tensor.shape[1]}",
            "rows that do not overlap each other, since it is written",
        )


def check_disjoint(name: str, written: Tensor, **read: Tensor | None) -> None:
    """Refuse a tensor that is written while another argument of the call overlaps it."""
    for other, tensor in read.items():
        if tensor is not None and overlap(written, tensor):
            raise ContractError(
                f"{name} and {other} share memory; allowed: disjoint, since {name} is written"
            )


def output(out: Tensor | None, like: Tensor, **rows: Tensor) -> Tensor:
    """A fresh tensor like `like`, or the caller's `out` once it is shown to be safe.

    Each program reads its whole row before it writes it, so `out` may be the very
    same view as one of `rows`; any other overlap with them is refused.
    """
    if out is None:
        return torch.empty(like.shape, dtype=like.dtype, device=like.device)
    check_rows("out", out, like)
    check_writable("out", out)
    for name, tensor in rows.items():
        if not same_memory(out, tensor):
            check_disjoint("out", out, **{name: tensor})
    return out
