"""Finds, on a CPU, where our code would mix a tensor of the GPU with one of the host.

On a server SGLang's tensors live on a GPU; in the lab everything is on the CPU, so indexing a
host's tensor with SGLang's passes there and ends on the first server. Under `MixedDevices` each
tensor carries where it would be:

    gpu     SGLang made it with a `device=`, or it came of one that is
    host    made without a device, or `.cpu()`, or from NumPy
    (none)  not known: moved with `.to(device)`, made by us with some tensor's device, or by the
            lab, whose batches are on the host where a server's are not

An operation in our code that takes both, other than a copy, is noted with its place. What is
not known is never noted, so whatever is noted is wrong.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

GPU, HOST = "gpu", "host"
_MADE = frozenset(
    [
        "tensor",
        "as_tensor",
        "zeros",
        "ones",
        "full",
        "empty",
        "arange",
        "randint",
        "linspace",
        "eye",
        "rand",
        "randn",
    ]
)
_HOST_FROM = frozenset(["cpu", "from_numpy"])
_MOVES = frozenset(["to", "cuda"])
_COPIES = frozenset(["copy_", "__setitem__", "__set__", "__get__"])


def on_gpu(values: list[int]) -> torch.Tensor:
    """A tensor of SGLang's."""
    made = torch.tensor(values)
    made._mixed_devices_side = GPU  # type: ignore[attr-defined]
    return made


def side(tensor: torch.Tensor) -> str:
    return getattr(tensor, "_mixed_devices_side", "")


def _to_a_device(args: Any, kwargs: Any) -> bool:
    """Of `to`: not where only the type changes."""
    given = (*args[1:], *kwargs.values())
    return any(isinstance(each, str | torch.device | torch.Tensor) for each in given)


class MixedDevices(TorchFunctionMode):
    """`ours`: a part of the path of our files. `found`: "file:line name" of each mixture."""

    def __init__(self, ours: str = "/triage/", not_ours: str = "/triage/lab/") -> None:
        super().__init__()
        self.ours, self.not_ours = ours, not_ours
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        if name in _MOVES and _to_a_device(args, kwargs):
            return result.view_as(result)  # another tensor, of which nothing is known
        if name in _COPIES and name != "copy_":
            return result
        if name == "cpu" and result is args[0]:
            result = result.view_as(result)
        where = self._place(name, args, kwargs)
        if where:
            for each in pytree.tree_leaves(result):
                if type(each) is torch.Tensor:
                    each._mixed_devices_side = where  # type: ignore[attr-defined]
        return result

    def _place(self, name: str, args: Any, kwargs: dict[str, Any]) -> str:
        """Where the result is. A mixture is noted."""
        if name in _HOST_FROM:
            return HOST
        frame = sys._getframe(2)
        file = frame.f_code.co_filename
        lab, mine = self.not_ours in file, self.ours in file and self.not_ours not in file
        if name in _MADE:
            if kwargs.get("device") is None:
                return "" if lab else HOST
            return "" if mine or lab else GPU
        operands = [
            each for each in pytree.tree_leaves((args, kwargs)) if type(each) is torch.Tensor
        ]
        sides = [side(each) for each in operands if each.dim() > 0]
        indexed = name == "__getitem__" and operands and operands[0] is args[0]
        if indexed and side(args[0]) == GPU:
            return GPU  # indices of the host are moved
        if mine and GPU in sides and HOST in sides and name not in _COPIES:
            self.found.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {name}")
        return GPU if GPU in sides else HOST if HOST in sides else ""
