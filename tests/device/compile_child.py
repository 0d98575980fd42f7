"""Compiles the device kernels for GPUs that are not here. Prints JSON: kernel -> spills.

A process of its own, because Triton decides at import whether it interprets.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from triage.device import (
    checker_kernels,
    packed_slot_kernels,
    page_note_kernels,
    recorder_kernels,
)

TABLE = {
    "PAGE": 64,
    "QUERIES": 2,
    "REAL": 2,
    "REQUEST": True,
    "IDENTITY": True,
    "MAPPED": True,
    "PADDING": 2,
    "SAFE": True,
    "CAPACITY": 256,
    "BLOCK": 1024,
}
WRITES = {
    "PAGE": 64,
    "REAL": 2,
    "REQUEST": True,
    "SWA": True,
    "MAPPED": True,
    "CAPACITY": 256,
    "BLOCK": 1024,
}
STREAM = {
    "ENDS": 1,
    "BY_REQUEST": True,
    "IDENTITY": True,
    "MAPPED": True,
    "SAFE": True,
    "OFFSETS": 8,
    "INDICES": 9,
    "PARTS": 8,
    "CAPACITY": 64,
    "KEPT": 2,
    "MAX_ROWS": 1024,
    "MAX_CELLS": 1 << 20,
    "BLOCK": 1024,
}
RECORD = {
    "PAGE": 64,
    "QUERIES": 2,
    "BY_REQUEST": True,
    "CHECKER": True,
    "SLOTS": 256,
    "MAX_ROWS": 256,
    "MAX_COLUMNS": 2048,
    "CHANGES": 2048,
    "OWNERS": 257,
    "FINGERPRINT": True,
    "BLOCK": 512,
}
NOTE = {"NUMBER_BITS": 22, "POSITION_BITS": 14, "BLOCK": 1024}
WIDE = ("state", "mapping", "request", "loc", "swa_loc", "cursor", "sequence", "checker")
WIDE = (*WIDE, "header", "index", "end", "words")
ADDRESSES = ("pool", "slots", "second_pool", "second_slots")


def compiled(kernel: Any, constants: dict[str, Any], capability: int) -> Any:
    signature = {}
    for name in kernel.arg_names:
        if name in constants:
            signature[name] = "constexpr"
        elif name in ADDRESSES:
            signature[name] = "i64"
        elif name.endswith("_ptr"):
            signature[name] = "*i64" if name.removesuffix("_ptr") in WIDE else "*i32"
        else:
            signature[name] = "i32"
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32))


def spilled_bytes(cubin: bytes) -> int:
    """STACK bytes by cuobjdump, which Triton brings along."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run(
            [tool, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    return max(int(number) for number in re.findall(r"STACK:(\d+)", usage.stdout))


def main() -> None:
    told = {}
    for capability in (90, 100, 103, 120):
        for name, kernel, constants in (
            ("check_table", checker_kernels.check_table_kernel, TABLE),
            ("check_writes", checker_kernels.check_writes_kernel, WRITES),
            ("check_packed_slots", packed_slot_kernels.check_packed_slots_kernel, STREAM),
            ("record changes", recorder_kernels.record_kernel, {**RECORD, "COLUMNS": 0}),
            ("note_pages", page_note_kernels.note_pages_kernel, NOTE),
            ("record window", recorder_kernels.record_kernel, {**RECORD, "COLUMNS": 10}),
        ):
            cubin = compiled(kernel, constants, capability).asm["cubin"]
            told[f"{name} sm_{capability}"] = spilled_bytes(cubin)
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
