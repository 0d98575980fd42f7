"""Kernel launches with everything filled in but the tensors of one forward.

A forward brings new tensors of a form that was judged before: then nothing is left to
be done but the launch. Whoever keeps one of these must see to it that the tensors have
the very form (shape, strides, dtype, device) of those it was made for.

The kernels are looked up in this module at each launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from triage.device.checker_kernels import check_table_kernel, check_writes_kernel
from triage.device.packed_slot_kernels import check_packed_slots_kernel
from triage.device.recorder_kernels import record_kernel


@dataclass(frozen=True, slots=True)
class TableLaunch:
    """`check_table_kernel` of one program a row.

    none: what the kernel is given for a tensor that it does not look at.
    rest: its arguments behind the tensors, in order. constants: its constexpr ones, which
        are the last, in order: handed on by name they would cost a dict a launch.
    """

    rows: int
    state: Tensor
    none: Tensor
    rest: tuple[Any, ...]
    constants: Mapping[str, Any]
    _behind: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_behind", (*self.rest, *self.constants.values()))

    def __call__(
        self, table: Tensor, lengths: Tensor, queries: Tensor | None, requests: Tensor | None
    ) -> None:
        none = self.none
        check_table_kernel[(self.rows,)](
            self.state,
            table,
            lengths,
            none if queries is None else queries,
            none if requests is None else requests,
            *self._behind,
        )


@dataclass(frozen=True, slots=True)
class RecordLaunch:
    """`record_kernel` of one program a recorded row; fields as in `TableLaunch`."""

    rows: int
    counters: tuple[Tensor, ...]
    none: Tensor
    rest: tuple[Any, ...]
    constants: Mapping[str, Any]
    _behind: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_behind", (*self.rest, *self.constants.values()))

    def __call__(
        self, table: Tensor, lengths: Tensor, queries: Tensor | None, requests: Tensor | None
    ) -> None:
        none = self.none
        record_kernel[(self.rows,)](
            *self.counters,
            table,
            lengths,
            none if queries is None else queries,
            none if requests is None else requests,
            *self._behind,
        )


@dataclass(frozen=True, slots=True)
class WriteLaunch:
    """`check_writes_kernel` of one program a block of tokens; fields as in `TableLaunch`."""

    blocks: int
    state: Tensor
    none: Tensor
    mapping: Tensor
    rest: tuple[Any, ...]
    constants: Mapping[str, Any]
    _behind: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_behind", (*self.rest, *self.constants.values()))

    def __call__(self, loc: Tensor, swa_loc: Tensor | None, requests: Tensor | None) -> None:
        none = self.none
        check_writes_kernel[(self.blocks,)](
            self.state,
            loc,
            none if swa_loc is None else swa_loc,
            self.mapping,
            none if requests is None else requests,
            *self._behind,
        )


@dataclass(frozen=True, slots=True)
class PackedSlotLaunch:
    """`check_packed_slots_kernel` of `programs` programs; fields as in `TableLaunch`."""

    programs: int
    state: Tensor
    none: Tensor
    rest: tuple[Any, ...]
    constants: Mapping[str, Any]

    def __call__(
        self, offsets: Tensor, indices: Tensor, ends: Tensor | None, requests: Tensor | None
    ) -> None:
        none = self.none
        check_packed_slots_kernel[(self.programs,)](
            self.state,
            offsets,
            indices,
            none if ends is None else ends,
            none if requests is None else requests,
            *self.rest,
            *self.constants.values(),
        )
