"""How a compiled kernel spreads a row over threads: what decides the order of its sums.

Read from the TTGIR of a compilation, so it needs no GPU. Two compilations that give every
reduction one `RowLayout` add a row's elements in one order.
`python -m triage_kernels.perf.layouts OP...` prints the layouts of each op over strides.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import Any

_REDUCE = re.compile(r'"tt\.reduce".*?\}\) : \(tensor<((?:\d+x)+)\w+, (#\w+)>', re.DOTALL)
_ENCODING = re.compile(r"^(#\w+) = #ttg\.blocked<(.*)>$", re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class RowLayout:
    """Elements side by side in a thread, threads and warps along the row."""

    width: int
    per_thread: int
    threads: int
    warps: int


def row_layouts(kernel: Any) -> tuple[RowLayout, ...]:
    """The layouts of all reductions along the last dimension, sorted, each once.

    Raises:
        KeyError: a reduction is over something else than a blocked layout.
    """
    ir = kernel.asm["ttgir"]
    encodings = dict(_ENCODING.findall(ir))
    found = set()
    for shape, name in _REDUCE.findall(ir):
        last = [
            int(re.findall(rf"{field} = \[([^\]]*)\]", encodings[name])[0].split(",")[-1])
            for field in ("sizePerThread", "threadsPerWarp", "warpsPerCTA")
        ]
        found.add(RowLayout(int(shape.split("x")[-2]), *last))
    return tuple(sorted(found))


def main(ops: list[str]) -> None:
    import torch

    from triage_kernels.core.launch import recording
    from triage_kernels.perf.aot import compile_launch
    from triage_kernels.validate.checks.guarded import embed
    from triage_kernels.validate.registry import select

    for spec in select(ops):
        assert spec.fused is not None
        case = spec.cases[0]
        for dtype in (torch.bfloat16, torch.float32):
            args = spec.make(case.dims, 16, dtype, torch.Generator().manual_seed(0))
            calls = {f"pad {pad}": embed(args, spec, pad)[0] for pad in (16, 3)}
            for name, call in {"packed rows": args, **calls}.items():
                with recording() as written:
                    spec.fused(**call)
                layouts = [row_layouts(compile_launch(launch, 90)) for launch in written]
                record = {
                    "op": spec.name,
                    "case": case.name,
                    "dtype": str(dtype),
                    "call": name,
                    "layouts": str(layouts),
                }
                sys.stdout.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
