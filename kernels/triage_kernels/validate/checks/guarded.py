"""Memory with something painted around it: sentinels that a stray access shows up in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from triage_kernels.core.spec import Args, KernelSpec
from triage_kernels.validate.compare import bits

# Quiet NaNs with a payload no arithmetic makes, so "still painted" can be told from
# "a NaN was computed"; for integers a value outside every index space.
PAINT = {
    torch.float16: (torch.int16, 0x7E5A),
    torch.bfloat16: (torch.int16, 0x7FDA),
    torch.float32: (torch.int32, 0x7FC5A5A5),
    torch.int32: (torch.int32, 0x5A5A5A5A),
    torch.int64: (torch.int64, 0x5A5A5A5A),
}


def paint(tensor: Tensor) -> Tensor:
    """Fill a packed tensor with its sentinel."""
    as_int, value = PAINT[tensor.dtype]
    tensor.view(as_int).fill_(value)
    return tensor


def painted(tensor: Tensor) -> Tensor:
    """Which elements still hold the sentinel."""
    return bits(tensor) == PAINT[tensor.dtype][1]


@dataclass(frozen=True, slots=True)
class Frame:
    """A view inside a painted buffer."""

    name: str
    whole: Tensor
    view: Tensor

    def damage(self) -> int:
        """Painted elements outside the view that something has written."""
        intact = painted(self.whole)
        inside = torch.zeros(self.whole.shape, dtype=torch.bool, device=self.whole.device)
        window = inside.as_strided(self.view.shape, self.view.stride(), self.view.storage_offset())
        window.fill_(True)
        return int((~intact & ~inside).sum())


def embed(args: Args, spec: KernelSpec, pad: int) -> tuple[Args, list[Frame]]:
    """The same call on views inside painted buffers: rows `pad` apart, a row before and after.

    Each argument lies further apart than the one before it, so that no stride can stand in
    for another. Integer rows are surrounded by zeros instead: a stray id must not become a
    stray load.
    """
    moved, frames = dict(args), []
    for name, value in args.items():
        if not isinstance(value, Tensor) or value.dim() not in (1, 2, 3):
            continue
        if name in spec.per_row:
            # Among legal values: a stray index must not become a stray load.
            moved[name] = torch.cat((value, value.flip(0), value))[len(value) :][: len(value)]
            moved[name].copy_(value)
            continue
        shape = list(value.shape)
        pad += 16
        if value.dim() == 2:
            outer = [shape[0] + 2, shape[1] + 2 * pad]
        elif value.dim() == 1:
            outer = [shape[0] + 2 * pad]
        else:
            outer = [shape[0] + 2, shape[1] + 1, shape[2] + 2 * pad]
        whole = torch.zeros(outer, dtype=value.dtype, device=value.device)
        if value.is_floating_point():
            paint(whole)
        if value.dim() == 2:
            view = whole[1:-1, pad : pad + shape[1]]
        elif value.dim() == 1:
            view = whole[pad : pad + shape[0]]
        else:
            view = whole[1:-1, : shape[1], pad : pad + shape[2]]
        view.copy_(value)
        moved[name] = view
        if value.is_floating_point():
            frames.append(Frame(name, whole, view))
    return moved, frames


@dataclass
class GuardedAllocation(TorchDispatchMode):
    """While active, fresh tensors lie painted between painted guards.

    It catches the allocation itself, so it serves any implementation that allocates its
    outputs, without its help.
    """

    guard: int = 4096
    frames: list[Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.__name__.split(".")[0] not in ("empty", "empty_like", "new_empty", "empty_strided"):
            return result
        if not isinstance(result, Tensor) or result.numel() == 0 or result.dtype not in PAINT:
            return result
        if not result.is_contiguous():
            return result
        whole = torch.ops.aten.empty.memory_format(
            [result.numel() + 2 * self.guard], dtype=result.dtype, device=result.device
        )
        paint(whole)
        view = whole[self.guard : self.guard + result.numel()].view(result.shape)
        self.frames.append(Frame(f"allocation {len(self.frames)}", whole, view))
        return view


def under_guard(call: Callable[..., Any], args: Args, guard: int = 4096) -> tuple[Any, list[Frame]]:
    """Call with every allocation between guards of so many elements."""
    with GuardedAllocation(guard) as mode:
        result = call(**args)
    return result, mode.frames


_FENCE = 0xFF  # NaN in every float, -1 in every integer


@dataclass(frozen=True, slots=True)
class Fence:
    """The bytes before and after one storage of a call's arguments."""

    names: str
    before: Tensor
    after: Tensor

    def damage(self) -> int:
        """Bytes of the fence that something has written."""
        sides = (self.before, self.after)
        if all(bool((side.view(torch.int64) == -1).all()) for side in sides):
            return 0
        return sum(int((side != _FENCE).sum()) for side in sides)


def reach(args: Args) -> int:
    """Bytes that the largest argument spans: how far a store with a wrong stride may go."""
    spans = [0]
    for value in args.values():
        if isinstance(value, Tensor) and value.numel():
            steps = zip(value.shape, value.stride(), strict=True)
            spans.append((1 + sum((n - 1) * s for n, s in steps)) * value.element_size())
    return max(spans)


def fenced(args: Args) -> tuple[Args, list[Fence]]:
    """Arguments with tensors of their own, each storage between fences wide enough to notice.

    Layouts stay: views of one buffer are views of one new buffer.
    """
    # Aligned as an allocation is, so that a kernel is compiled and summed as it would be.
    width = (2 * min(reach(args), 1 << 19) + (1 << 16)) // 256 * 256
    moved: Args = {}
    storages: dict[int, Tensor] = {}
    fences: dict[int, Fence] = {}
    for name, value in args.items():
        if not isinstance(value, Tensor) or not value.numel():
            moved[name] = value.clone() if isinstance(value, Tensor) else value
            continue
        storage = value.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key not in storages:
            total = 2 * width + (size + 7) // 8 * 8
            room = torch.full((total,), _FENCE, dtype=torch.uint8, device=value.device)
            whole = torch.empty(0, dtype=torch.uint8, device=value.device).set_(storage)
            room[width : width + size] = whole
            storages[key] = room
            fences[key] = Fence(name, room[:width], room[-width:])
        view = torch.empty(0, dtype=value.dtype, device=value.device)
        offset = value.storage_offset() + width // value.element_size()
        moved[name] = view.set_(
            storages[key].untyped_storage(), offset, value.shape, value.stride()
        )
    return moved, list(fences.values())
