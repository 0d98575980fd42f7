"""The validator's checks, one subject a module; `ALL` names them in the order they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from triage_kernels.validate.checks import (
    far,
    grids,
    memory,
    misuse,
    neighbours,
    numeric,
    routing,
    rows,
    semantics,
)
from triage_kernels.validate.checks.subject import Finding, Subject

Check: TypeAlias = Callable[[Subject], Iterator[Finding]]

ALL: dict[str, Check] = {
    "error-bound": numeric.error_bound,
    "relative-l2-floor": numeric.relative_l2_floor,
    "no-worse-than-unfused": numeric.no_worse_than_unfused,
    "eager-twin": numeric.eager_twin,
    "outliers": numeric.outliers,
    "mixed-weights": numeric.mixed_weights,
    "dtype-follows-input": semantics.dtype_follows_input,
    "specials": semantics.specials,
    "gelu-tail": semantics.gelu_tail,
    "stateless": semantics.stateless,
    "empty-batch": semantics.empty_batch,
    "row-invariance": rows.row_invariance,
    "stride-invariance": rows.stride_invariance,
    "nan-padding": memory.nan_padding,
    "sentinel-guards": memory.sentinel_guards,
    "aliasing": memory.aliasing,
    "in-place-out": memory.in_place_out,
    "slot-bounds": memory.slot_bounds,
    "int32-overflow": far.int32_overflow,
    "far-positions": far.positions_to_2_31,
    "rows-past-65535": grids.rows_past_65535,
    "refuses-misuse": misuse.refuses_misuse,
    "selection-contract": routing.selection_contract,
    "illegal-ids": routing.illegal_ids,
    "dependent-launch": neighbours.waits_for_previous,
}
