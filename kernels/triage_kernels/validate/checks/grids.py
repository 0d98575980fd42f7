"""More rows than the second dimension of a grid takes: none is dropped, no launch would fail.

A GPU launches at most 65,535 programs in a grid's second and third dimension and refuses more,
often where nobody asks. The interpreter knows no such limit, so grids are looked at; and it
is slow, so of each launch only the first programs run and the last, with narrow rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from triage_kernels.core.interpreter import interpreting
from triage_kernels.core.launch import planned
from triage_kernels.core.spec import as_tuple, copy_args
from triage_kernels.validate.checks.subject import Finding, Subject, failed, passed, skipped
from triage_kernels.validate.compare import same_bits

LIMIT = 65_535
ROWS = LIMIT + 2
# Any width will do: rows as narrow as an op takes them, one head, one layer.
_NARROW = {"N": 16, "HQ": 1, "HKV": 1, "layers": 1}
_FIRST, _LAST = 6, 6


class _EdgePrograms:
    """A kernel's function that runs for the first programs of a grid and the last alone."""

    def __init__(self, function: Callable[..., Any], builder: Any, grids: list[Any]) -> None:
        self._function, self._builder, self._grids = function, builder, grids
        # What the interpreter asks of a kernel's function.
        self.__globals__, self.__name__ = function.__globals__, function.__name__
        self.__signature__ = inspect.signature(function)

    def __call__(self, **args: Any) -> None:
        (x, y, z), (nx, ny, nz) = self._builder.grid_idx, self._builder.grid_dim
        number, programs = (x * ny + y) * nz + z, nx * ny * nz
        if number == 0:
            self._grids.append((nx, ny, nz))
        if number < _FIRST or number >= programs - _LAST:
            self._function(**args)


@contextmanager
def _edges_of_grids() -> Iterator[list[tuple[int, int, int]]]:
    from triton.runtime import interpreter

    grids: list[tuple[int, int, int]] = []
    run = interpreter.GridExecutor.__call__

    def launched(self: Any, *args: Any, **named: Any) -> Any:
        function = self.fn
        self.fn = _EdgePrograms(function, interpreter.interpreter_builder, grids)
        try:
            return run(self, *args, **named)
        finally:
            self.fn = function

    with patch.object(interpreter.GridExecutor, "__call__", launched):
        yield grids


def rows_past_65535(subject: Subject) -> Iterator[Finding]:
    """The last of 65,537 rows is as it is among five."""
    if subject.dtype == torch.float32:
        yield skipped("-", "run in 16 bits: grids do not follow the dtype")
        return
    case = subject.cases[0]
    dims = {name: _NARROW.get(name, size) for name, size in case.dims.items()}
    few = subject.spec.make(dims, 5, subject.dtype, torch.Generator().manual_seed(18))
    few = {k: v.to(subject.device) if isinstance(v, torch.Tensor) else v for k, v in few.items()}
    if few.get("slots") is not None:
        few["slots"] = torch.full_like(few["slots"], -1)  # many rows of one slot would race
    want = subject.run(few)
    many = subject.by_row(few, torch.arange(ROWS) % 5)
    partly = subject.device == "cpu" and interpreting()
    width = _NARROW["N"]
    # Tiles of that width: the lanes of wider ones would idle, and the loops of some be long.
    with ExitStack() as stack:
        grids = stack.enter_context(_edges_of_grids()) if partly else []
        stack.enter_context(planned(width, 2048, width, 4))
        # Unfenced: fences as wide as these rows would take longer than the rows.
        got = as_tuple(subject.call(**copy_args(many)))
    for grid in grids:
        if max(grid[1:]) > LIMIT:
            detail = f"a grid of {grid}; a GPU takes {LIMIT} in the second and third dimension"
            yield failed(case.name, detail)
    for output, mine, other in zip(subject.spec.outputs, got, want, strict=False):
        if output.rows:
            difference = same_bits(mine[[0, -1]], other[[0, (ROWS - 1) % 5]])
            make = failed if difference.count else passed
            yield make(f"{case.name}, {ROWS} rows, {output.name}", difference.describe())
