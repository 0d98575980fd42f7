"""The paged kernels compile for the GPUs they are meant for, without one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMPILE = """
import sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triage.replay import paged_kernels

cc, head_dim, kv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
pointers = {"query": "*bf16", "k_cache": kv, "v_cache": kv, "sinks": "*fp32", "out": "*fp32"}
constants = {
    "num_q_heads": 8, "num_kv_heads": 1, "head_dim": head_dim, "page_size": 64,
    "HAS_SINKS": True, "BLOCK_M": 32, "BLOCK_N": 64 if head_dim <= 128 else 32,
    "BLOCK_D": head_dim,
}
scalars = {"width": "i32", "num_pages": "i32", "window_left": "i32", "scale": "fp32"}
names = paged_kernels.paged_attention.arg_names
signature = {
    name: "constexpr" if name in constants else scalars.get(name) or pointers.get(name, "*i64")
    for name in names
}
source = ASTSource(paged_kernels.paged_attention, signature, constants)
binary = compile(source, target=GPUTarget("cuda", cc, 32))
assert binary.metadata.shared <= 227 * 1024, binary.metadata.shared

constants = {"page_size": 64, "LIKELY_TILE": 128, "MAY_TILE": 256, "BLOCK": 128}
scalars = {"width": "i32", "num_pages": "i32", "extent": "i32", "window_left": "i32"}
pointers = {"page_table": "*i32", "counts": "*i32"}
signature = {
    name: "constexpr" if name in constants else scalars.get(name) or pointers.get(name, "*i64")
    for name in paged_kernels.count_footprint.arg_names
}
compile(
    ASTSource(paged_kernels.count_footprint, signature, constants),
    target=GPUTarget("cuda", cc, 32),
)
"""


@pytest.mark.parametrize("cc", [90, 100])
@pytest.mark.parametrize(("head_dim", "kv"), [(256, "*bf16"), (128, "*fp8e4nv")])
def test_paged_attention_compiles_ahead_of_time(cc, head_dim, kv):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    ran = subprocess.run(
        [sys.executable, "-c", COMPILE, str(cc), str(head_dim), kv],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
