"""Tensors that say they live on a GPU and refuse to be mixed with the host's, as CUDA's do.

On a CPU every tensor is on one device, so code that indexes a host's tensor with a GPU's
passes there and ends on the first server. Values are kept on the host; what CUDA raises for a
mixture is raised here: no operand of more than one element may be elsewhere, but for a copy.

    with pretended_gpu():                # factories with `device=GPU` make such tensors too
        check(on_gpu(slots), on_gpu(mapping))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("meta")
"""Its name: a build of PyTorch without CUDA starts nothing for this one."""
_CROSSES = ("aten.copy_", "aten._to_copy")
_HOST_INDICES_ARE_MOVED = ("aten.index.", "aten.index_put", "aten._unsafe_index")


class OnGpu(torch.Tensor):
    """A tensor of the pretended GPU; `held` has its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnGpu:
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=GPU, requires_grad=False,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnGpu({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def on_gpu(values: torch.Tensor) -> OnGpu:
    return OnGpu(values.clone())


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = str(func)
    operands = [
        each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)
    ]
    ours = [each for each in operands if isinstance(each, OnGpu)]
    strange = [each for each in operands if not isinstance(each, OnGpu) and each.dim() > 0]
    to = kwargs.get("device")
    there = bool(ours) if to is None else torch.device(to).type == GPU.type
    if ours and strange and not name.startswith(_CROSSES):
        moved = name.startswith(_HOST_INDICES_ARE_MOVED) and isinstance(args[0], OnGpu)
        if not moved:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found {GPU} and cpu ({name})"
            )
    if name.startswith("aten.copy_"):
        there = isinstance(args[0], OnGpu)
    if "device" in kwargs and to is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
    bare_args, bare_kwargs = pytree.tree_map_only(OnGpu, lambda one: one.held, (args, kwargs))
    result = func(*bare_args, **bare_kwargs)
    if name.startswith(("aten._local_scalar_dense", "aten.item")):
        return result
    if operands and result is bare_args[0] if bare_args else False:
        return args[0]  # in place
    return pytree.tree_map_only(torch.Tensor, OnGpu, result) if there else result


class _Factories(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to = kwargs.get("device")
        if to is not None and torch.device(to).type == GPU.type:
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Within it, what is made with `device=GPU` is on it."""
    with _Factories():
        yield
