"""What a compiled kernel does before it has waited for the launch in front, read off its PTX.

Of a kernel that is launched to overlap (`core.dependent`), on every path through it: nothing is
written before `griddepcontrol.wait`, nothing read but what it may read early, the next launch is
not let in before, and no path ends without. Which argument an access belongs to is followed from
the parameters through the registers that its address is made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from triage_kernels.core.dependent import dependent_launches
from triage_kernels.core.errors import KernelError
from triage_kernels.core.launch import KernelLaunch, recording
from triage_kernels.core.spec import Args, Case, KernelSpec
from triage_kernels.perf.aot import compile_launch, signature

_ROWS = 16

_REGISTER = re.compile(r"%[a-z]+\d+")
_LABEL = re.compile(r"^(\$\w+):")
_PARAMETER = re.compile(r"_param_(\d+)")
_ACCESS = re.compile(r"\b((?:ld|st|atom|red)\.global|cp\.async\.(?:ca|cg|bulk))\S*")
_NO_RESULT = ("st.", "red.", "cp.", "bra", "ret", "bar.", "griddep", "setp", "mbarrier")
WAIT, LET_IN = "griddepcontrol.wait", "griddepcontrol.launch_dependents"


@dataclass(slots=True)
class _Block:
    lines: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


def too_early(ptx: str, names: Sequence[str], may_read: Collection[str]) -> list[str]:
    """What is done too early, in words; empty for a kernel that waits as it should.

    names: of the kernel's parameters in their order. may_read: those of them that nobody writes.
    """
    blocks = _blocks(ptx)
    origin = _origins(line for block in blocks.values() for line in block.lines)
    before: dict[str, bool] = {}
    pending = [(next(iter(blocks)), False)]
    while pending:  # a block is waited for only if it is on every way into it
        label, waited = pending.pop()
        if before.get(label, True) <= waited and label in before:
            continue
        before[label] = before.get(label, True) and waited
        out = before[label] or any(WAIT in line for line in blocks[label].lines)
        pending += [(after, out) for after in blocks[label].after]
    found: list[str] = []
    for label, block in blocks.items():
        waited = before.get(label, True)
        for line in block.lines:
            waited = waited or WAIT in line
            if not waited:
                found += _complaints(line, origin, names, may_read)
    return list(dict.fromkeys(found))


def launched_too_early(
    spec: KernelSpec, case: Case, call: Callable[..., Any], arch: int = 90
) -> list[str]:
    """The same of everything that `call` launches for a case, compiled and not run. Needs no GPU.

    Raises:
        KernelError: it makes no dependent launch.
    """
    args = spec.make(case.dims, _ROWS, torch.bfloat16, torch.Generator().manual_seed(0))
    with dependent_launches(), recording() as launches:
        call(**args)
    if not launches or not all(launch.launch_pdl for launch in launches):
        raise KernelError(f"{spec.name} makes launches that do not overlap, or none")
    found: list[str] = []
    for launch in launches:
        _, constants, _ = signature(launch)
        names = [name for name in launch.kernel.arg_names if name not in constants]
        ptx = compile_launch(launch, arch).asm["ptx"]
        found += too_early(ptx, names, readable_early(launch, args, spec.early))
    return found


def readable_early(launch: KernelLaunch, args: Args, early: Collection[str]) -> list[str]:
    """The kernel's names for the arguments `early` of the call that made this launch."""
    allowed = {args[name].data_ptr() for name in early if isinstance(args.get(name), Tensor)}
    named = zip(launch.kernel.arg_names, launch.args, strict=False)
    return [n for n, arg in named if isinstance(arg, Tensor) and arg.data_ptr() in allowed]


def _complaints(
    line: str, origin: dict[str, set[int]], names: Sequence[str], may_read: Collection[str]
) -> Iterator[str]:
    if LET_IN in line:
        yield "lets the next launch in before it waits"
    elif re.search(r"\bret;", line):
        yield "a path ends without waiting"
    elif access := _ACCESS.search(line):
        address = line[line.index("[") : line.index("]")]
        of = set().union(*(origin.get(one, set()) for one in _REGISTER.findall(address)))
        owners = sorted(names[number] for number in of if number < len(names))
        reads = access[1] == "ld.global"
        pointers = [owner for owner in owners if owner.endswith("_ptr")] or ["an unknown argument"]
        for owner in pointers:
            if not reads or owner not in may_read:
                yield f"{'reads' if reads else 'writes'} {owner} before it waits"


def _blocks(ptx: str) -> dict[str, _Block]:
    """The basic blocks of the kernel by label, in their order, and where each may go on."""
    body = ptx[ptx.index("{", ptx.index(".entry")) :]
    blocks = {"": _Block()}
    label, open_end = "", True
    for raw in body.splitlines():
        line = raw.split("//")[0].strip()
        if found := _LABEL.match(line):
            if open_end:
                blocks[label].after.append(found[1])
            label, open_end = found[1], True
            blocks[label] = _Block()
        elif line and open_end:
            block = blocks[label]
            block.lines.append(line)
            jump = re.search(r"\bbra(?:\.uni)?\s+(\$\w+)", line)
            if jump:
                block.after.append(jump[1])
            if (jump and not line.startswith("@")) or line == "ret;":
                open_end = False
            elif jump:
                # What follows a conditional jump is a block of its own, without a label in PTX.
                label = f"{label}+"
                block.after.append(label)
                blocks[label] = _Block()
    return blocks


def _origins(lines: Iterator[str]) -> dict[str, set[int]]:
    """Register -> numbers of the parameters that its value is computed from, loads excepted."""
    made: list[tuple[list[str], list[str]]] = []
    origin: dict[str, set[int]] = {}
    for line in lines:
        code = re.sub(r"^@!?%p\d+\s+", "", line)
        registers = _REGISTER.findall(code)
        if not registers or code.startswith(_NO_RESULT) or _ACCESS.match(code):
            continue
        if code.startswith("ld.param"):
            number = _PARAMETER.search(code)
            if number:
                origin.setdefault(registers[0], set()).add(int(number[1]))
        else:
            made.append((registers[:1], registers[1:]))
    changed = True
    while changed:
        changed = False
        for results, sources in made:
            of = set().union(*(origin.get(source, set()) for source in sources))
            for result in results:
                if not of <= origin.setdefault(result, set()):
                    origin[result] |= of
                    changed = True
    return origin
