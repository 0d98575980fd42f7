"""Compile every kernel for every target without a GPU, and look at what came out.

What is compiled is what a call launches: each launcher is run with its launches written
down instead of made, and the signature follows from those arguments. A kernel fails on
any fp64 instruction (a Python float that became a double), any register spill and any
local memory. Source of the numbers: PTX text, and `cuobjdump` of the Triton wheel.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from triage_kernels.core.errors import KernelError
from triage_kernels.core.launch import KernelLaunch, recording
from triage_kernels.core.models import WIDTHS
from triage_kernels.core.spec import Case, KernelSpec
from triage_kernels.validate.providers import Unavailable, resolve
from triage_kernels.validate.registry import select

ARCHITECTURES = (90, 100, 103, 120)
# Divisible by 16, as batches are when alignment matters; the number itself is not compiled in,
# but an op may launch one compilation for many rows and another for few.
_ROWS = (16, 1)
_POINTERS = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
_RESOURCES = re.compile(r"REG:(\d+)\s+STACK:(\d+)\s+SHARED:(\d+)\s+LOCAL:(\d+)")


@dataclass(frozen=True, slots=True)
class Compiled:
    """One kernel on one target.

    Attributes:
        f64: PTX instructions on doubles. spills: loads and stores of local memory.
        widest_load: bytes of the widest global load.
    """

    op: str
    case: str
    arch: int
    dtype: str
    num_warps: int
    registers: int
    shared_bytes: int
    stack_bytes: int
    local_bytes: int
    spills: int
    f64: int
    widest_load: int

    @property
    def clean(self) -> bool:
        return not (self.f64 or self.spills or self.stack_bytes or self.local_bytes)

    def complaint(self) -> str:
        counts = {
            "fp64 instructions": self.f64,
            "local memory accesses": self.spills,
            "stack bytes": self.stack_bytes,
            "local bytes": self.local_bytes,
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _tool(name: str) -> Path:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    if not path.is_file():
        raise KernelError(f"the Triton wheel has no {name} at {path}")
    return path


def signature(
    launch: KernelLaunch, floats: str = "fp32"
) -> tuple[dict[str, str], dict[str, Any], dict[tuple[int, ...], list[Any]]]:
    """Types, constants and alignment of a launch, as Triton would specialise it.

    A runtime float becomes `floats`: "fp32" in a plain launch, "fp64" in one that
    Inductor makes of the same kernel.
    """
    names = launch.kernel.arg_names
    values: dict[str, Any] = {
        **dict(zip(names, launch.args, strict=False)),
        **launch.constants,
    }
    types: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attrs: dict[tuple[int, ...], list[Any]] = {}
    for position, name in enumerate(names):
        value = values[name]
        parameter = launch.kernel.params[position]
        specialised = not parameter.do_not_specialize
        if parameter.is_constexpr or (specialised and type(value) is int and value == 1):
            types[name], constants[name] = "constexpr", value
            continue
        aligned = True
        if isinstance(value, Tensor):
            types[name] = _POINTERS[value.dtype]
            aligned = value.data_ptr() % 16 == 0
        elif isinstance(value, float):
            types[name], aligned = floats, False
        else:
            types[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            aligned = value % 16 == 0
        if aligned and specialised:
            attrs[(position,)] = [["tt.divisibility", 16]]
    return types, constants, attrs


def cases(spec: KernelSpec) -> tuple[Case, ...]:
    """The op's cases, and for row kernels every model width in each convention."""
    found: dict[str, Case] = {}
    for case in spec.cases:
        if "N" not in case.dims or "layers" in case.dims:
            found[case.name] = case
            continue
        rest = {k: v for k, v in case.dims.items() if k != "N"}
        convention = "".join(f" {k}={v}" for k, v in rest.items())
        for width in WIDTHS:
            name = f"H={width}{convention}"
            found[name] = replace(case, name=name, dims={"N": width, **rest})
    return tuple(found.values())


def launches(
    spec: KernelSpec,
    dims: Mapping[str, int],
    dtype: torch.dtype,
    call: Callable[..., Any] | None = None,
) -> list[KernelLaunch]:
    """What our launcher, or a foreign `call`, would launch: each compilation once."""
    if call is None:
        assert spec.fused is not None
        found: dict[str, KernelLaunch] = {}
        for rows in _ROWS:
            with recording() as written:
                spec.fused(**spec.make(dims, rows, dtype, torch.Generator().manual_seed(0)))
            for each in written:
                found.setdefault(repr((each.constants, each.num_warps)), each)
        return list(found.values())
    args = spec.make(dims, _ROWS[0], dtype, torch.Generator().manual_seed(0))
    foreign: list[KernelLaunch] = []

    def note(kernel: Any, *positional: Any, grid: Any, warmup: bool, **options: Any) -> None:
        warps = options.pop("num_warps", 4)
        foreign.append(KernelLaunch(kernel, tuple(grid), positional, options, warps))

    with mock.patch.object(JITFunction, "run", note):
        call(**args)
    return foreign


def compile_launch(
    launch: KernelLaunch, arch: int, floats: str = "fp32", instrumentation: str = ""
) -> Any:
    """Compile what a launch would run; runs on no GPU and launches nothing.

    `instrumentation` is one of Triton's sanitizers; only 3.9 and later take any.
    """
    types, constants, attrs = signature(launch, floats)
    source = ASTSource(launch.kernel, types, constants, attrs)
    target = GPUTarget("cuda", arch, 32)
    options: dict[str, Any] = {
        "num_warps": launch.num_warps,
        "enable_fp_fusion": launch.enable_fp_fusion,
    }
    if launch.launch_pdl:
        options["launch_pdl"] = True
    if instrumentation:
        options["instrumentation_mode"] = instrumentation
    return triton.compile(source, target=target, options=options)


def inspect(kernel: Any) -> dict[str, int]:
    """Registers, memory, spills, fp64 instructions and load width of a compiled kernel."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(kernel.asm["cubin"])
        usage, sass = (
            subprocess.run(
                [_tool("cuobjdump"), flag, cubin], check=True, capture_output=True, text=True
            ).stdout
            for flag in ("-res-usage", "-sass")
        )
    match = _RESOURCES.search(usage)
    if match is None:
        raise KernelError(f"cuobjdump reported no resource usage: {usage[:200]!r}")
    registers, stack, shared, local = (int(group) for group in match.groups())
    wide = [int(bits or 32) // 8 for bits in re.findall(r"\bLDG\.E(?:\.\w+)*?\.(64|128)\b", sass)]
    ptx = kernel.asm["ptx"]
    return {
        "registers": registers,
        "stack_bytes": stack,
        "shared_bytes": max(shared, kernel.metadata.shared),
        "local_bytes": local,
        "spills": len(re.findall(r"\b(?:LDL|STL)\b", sass)),
        "f64": len(re.findall(r"\.f64\b", ptx)),
        "widest_load": max(wide, default=4),
    }


def compile_all(
    ops: Sequence[str] = (),
    archs: Sequence[int] = ARCHITECTURES,
    dtypes: Sequence[torch.dtype] = (torch.bfloat16,),
    provider: str = "ours",
    floats: str = "fp32",
) -> Iterator[Compiled]:
    """Compile and inspect, one result at a time. Ops that the provider has not are left out."""
    for spec in select(ops):
        call = resolve(provider, spec, "cpu")
        if isinstance(call, Unavailable):
            continue
        foreign = None if provider == "ours" else call
        for case in cases(spec):
            for dtype in dtypes:
                for launch in launches(spec, case.dims, dtype, foreign):
                    for arch in archs:
                        yield Compiled(
                            op=spec.name,
                            case=case.name,
                            arch=arch,
                            dtype=str(dtype).removeprefix("torch."),
                            num_warps=launch.num_warps,
                            **inspect(compile_launch(launch, arch, floats)),
                        )
