"""The table of `triage kernels aot --markdown`: a row per op, with the range over its targets."""

from __future__ import annotations

from triage_kernels.perf.aot import Compiled
from triage_kernels.perf.report import compiled_markdown


def compiled(op: str, registers: int, shared: int, spills: int = 0) -> Compiled:
    return Compiled(op, "case", 90, "bf16", 4, registers, shared, 0, 0, spills, 0, 16)


def test_an_op_has_one_row_and_one_that_spills_is_counted():
    results = [compiled("a", 40, 0), compiled("b", 255, 64, spills=8), compiled("a", 64, 1024)]

    assert compiled_markdown(results).splitlines()[2:] == [
        "| a | 2 | 40 to 64 | up to 1024 | none |",
        "| b | 1 | 255 to 255 | up to 64 | in 1 |",
    ]
