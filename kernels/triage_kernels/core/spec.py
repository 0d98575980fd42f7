"""What the registry knows of a kernel.

A `KernelSpec` is everything that the validator, the ahead-of-time check, the bench and
the tests need, so that none of them names an op. Arguments travel as one dict from
argument name to value; a fused launcher, its eager twin, the unfused chain and the
fp64 oracle all take the same dict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Args = dict[str, Any]
Outputs = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One shape: which model it comes from and why it is worth running."""

    name: str
    variant: str
    dims: Mapping[str, int] = field(hash=False)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """One result, and the rounding points between it and the inputs.

    Attributes:
        in_place: the argument this result is written into, None when it is fresh.
        rows: whether row i of the result depends on row i of the inputs alone.
    """

    name: str
    rounding: str
    in_place: str | None = None
    rows: bool = True


@dataclass(frozen=True, slots=True)
class Exact:
    """The fp64 answer of the oracle for one output.

    Attributes:
        value: float64, the shape of the output.
        magnitude: sum of the absolute terms before cancellation, the unit of the
            error that fp32 arithmetic may make.
        slack: further absolute error that a legal tie of an inner rounding explains.
    """

    value: Tensor
    magnitude: Tensor
    slack: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Misuse:
    """A call the contract forbids. `args` are complete; running it must do no harm.

    Attributes:
        or_right: an implementation may also accept it and give the right answer.
    """

    label: str
    args: Args
    or_right: bool = False


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that a call must move: every input read once, every output written once."""

    fused: int
    unfused: int


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A kernel, its references and its cases.

    Attributes:
        fused: our launcher, called with the arguments by name; None where only SGLang ships one.
        eager: twin in plain torch: fp32 arithmetic, one rounding where the kernel has one.
        unfused: the chain of separate operations it replaces, with their roundings.
        oracle: (arguments, outputs as computed) -> exact answers. A stage that reads an
            already rounded output is judged from that output, not from a recomputed one.
        make: (dims, rows, dtype, generator) -> arguments on the CPU.
        rows, vectors: names of the [M, N] arguments and of the weights.
        per_row: names of the [M] index arguments.
        computed: weights that are computed from parameters, perhaps by the launch in front.
        unbound: weights whose length no other argument fixes.
        launches_replaced: launches of SGLang's eager path, as read in its source.
        misuse: calls that have to be refused, beyond the generic ones.
        poison: the same call with NaN wherever the contract says that nothing is read.
        reductions: sums or maxima that wait for each other between the first load and the
            last store: with two trips to memory, the floor of a call with few rows.
        judge: "rows" for error bounds; "routing" for the contract of a selection.
    """

    name: str
    summary: str
    fused: Callable[..., Tensor | Outputs] | None
    eager: Callable[..., Tensor | Outputs]
    unfused: Callable[..., Tensor | Outputs]
    oracle: Callable[[Args, Outputs], tuple[Exact, ...]]
    make: Callable[[Mapping[str, int], int, torch.dtype, torch.Generator], Args]
    cases: tuple[Case, ...]
    outputs: tuple[Output, ...]
    rows: tuple[str, ...]
    vectors: tuple[str, ...]
    launches_replaced: str
    traffic: Callable[[Mapping[str, int], int, int], Traffic]
    misuse: Callable[[Args], tuple[Misuse, ...]] = lambda args: ()
    poison: Callable[[Args], Args] = lambda args: args
    judge: Literal["rows", "routing"] = "rows"
    per_row: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    reductions: int = 1

    @property
    def early(self) -> tuple[str, ...]:
        """Arguments that a dependent launch may read while the one in front still runs."""
        return tuple(name for name in self.vectors if name not in self.computed)

    @property
    def in_place(self) -> frozenset[str]:
        return frozenset(o.in_place for o in self.outputs if o.in_place)


def as_tuple(result: Tensor | Outputs) -> Outputs:
    """A launcher's result as a tuple, whatever its number of outputs."""
    return (result,) if isinstance(result, Tensor) else tuple(result)


def copy_args(args: Args) -> Args:
    """Arguments with tensors of their own, each in the layout of the original.

    Views of one buffer stay views of one (new) buffer: aliasing and padding are part
    of what is tested.
    """
    storages: dict[int, Tensor] = {}
    copied: Args = {}
    for name, value in args.items():
        if not isinstance(value, Tensor):
            copied[name] = value
            continue
        storage = value.untyped_storage()
        flat = storages.get(storage.data_ptr())
        if flat is None or not storage.data_ptr():
            whole = torch.empty(0, dtype=torch.uint8, device=value.device).set_(storage)
            flat = storages[storage.data_ptr()] = whole.clone()
        view = torch.empty(0, dtype=value.dtype, device=value.device)
        copied[name] = view.set_(
            flat.untyped_storage(), value.storage_offset(), value.shape, value.stride()
        )
    return copied


def to_device(args: Args, device: str) -> Args:
    """Tensors moved to `device`, in packed layout; None and numbers as they are."""
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in args.items()}
