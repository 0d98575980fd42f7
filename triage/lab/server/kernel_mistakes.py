"""Kernel mistakes of a blind round, in the fused kernels that a real server computes with.

    gelu-overflows     intel/llm-scaler#484: tanh from exponentials that overflow; NaN for large
                       gates, which a model of fan-in weights has
    residual-stride    NVIDIA/TensorRT-LLM#14810: the residual is read with the row stride of the
                       input. A server's rows are packed, so its answers cannot show it

Each is our kernel's source with a few words changed. Found twice: by `triage kernels validate
--callable` on the server's own GPU, and by what the server answers with it.

A server has it from the moment its control file is there; it has to be eager, since a graph keeps
what it captured. Beside each of the first calls the sound kernel is launched and compared.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triage_kernels.validate.defects import DEFECTS, Mutant

from triage.errors import LabError, did_you_mean
from triage.lab.blind.kernels import ABOUT
from triage.lab.server import plugin_folder
from triage.lab.server.late import Lines, Moments, Observer, Step, moments, observe

COMPARED = 400
"""Calls whose result is compared with the sound kernel's; each waits for the device."""


class Mistake(NamedTuple):
    """shows: do a server's answers change with it?"""

    mutant: Mutant
    shows: bool


def _known(name: str) -> Mutant:
    return next(each for each in DEFECTS if each.name == name)


MISTAKES: dict[str, Mistake] = {
    "gelu-overflows": Mistake(_known("tanh-overflows"), shows=True),
    "residual-stride": Mistake(
        Mutant(
            "residual-stride",
            "gemma_rmsnorm_residual_scalar",
            "rmsnorm_residual_scalar",
            "the residual is read with the row stride of the input",
            (
                (
                    "        x.stride(0),\n        residual.stride(0),",
                    "        x.stride(0),\n        x.stride(0),",
                ),
            ),
            link="https://github.com/NVIDIA/TensorRT-LLM/pull/14810",
        ),
        shows=False,
    ),
}


def find(name: str) -> Mistake:
    """The mistake called `name`, or LabError with the known ones."""
    if name not in MISTAKES:
        meant = did_you_mean(name, MISTAKES)
        raise LabError(f"no kernel mistake {name!r}{meant}; known: {', '.join(MISTAKES)}")
    return MISTAKES[name]


def write_folder(name: str, directory: Path) -> Path:
    """The mistake as a folder of a blind round: `kernel.py`, `correct.py`, what it is."""
    from triage_kernels import ops
    from triage_kernels.validate.mutants import source_of

    mutant = find(name).mutant
    folder = directory / name
    folder.mkdir(parents=True, exist_ok=True)
    correct = Path(ops.__file__).with_name(f"{mutant.module}.py").read_text()
    (folder / "correct.py").write_text(correct)
    (folder / "kernel.py").write_text(source_of(mutant))
    about = {
        "reference": mutant.link,
        "what": mutant.what,
        "op": mutant.op,
        "callable": mutant.op,
        "expected": mutant.what,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    return folder


class Mistaken(Observer):
    """Puts the mistaken launcher in the place of ours, and compares what both compute."""

    def __init__(self, name: str, folder: Path, control: Path, out: Path) -> None:
        self.mutant, self.folder = find(name).mutant, folder
        self.control, self.lines = control, Lines(out)
        self.on = False
        self.calls = 0

    def bind(self, moments: Moments) -> None:
        from triage_kernels.validate.mutants import plant

        self.folder.mkdir(parents=True, exist_ok=True)
        module = importlib.import_module(f"triage_kernels.ops.{self.mutant.module}")
        self.sound = getattr(module, self.mutant.op)
        self.mistaken = plant(self.mutant, self.folder)
        setattr(module, self.mutant.op, self.call)

    def begin(self, step: Step) -> None:
        self.on = self.on or self.control.exists()

    def call(self, *args: Any, **kwargs: Any) -> Tensor:
        if not self.on:
            return self.sound(*args, **kwargs)
        result = self.mistaken(*args, **kwargs)
        self.calls += 1
        if self.calls <= COMPARED and kwargs.get("out") is None:
            self._compare(result, self.sound(*args, **kwargs))
        return result

    def _compare(self, result: Tensor, right: Tensor) -> None:
        wrong = result != right  # NaN is unlike anything, itself too
        nan = torch.isnan(result) & ~torch.isnan(right)
        counts = torch.stack([wrong.sum(), nan.sum()]).tolist()
        self.lines.write(
            "call", step=moments().now, elements=result.numel(), unlike=counts[0], nan=counts[1]
        )


def read(path: Path) -> dict[str, Any]:
    """Figures of the calls in `path`: how many, with how many elements unlike and NaN."""
    rows = [line for line in Lines.read(path) if line["kind"] == "call"]
    sums = {name: sum(row[name] for row in rows) for name in ("elements", "unlike", "nan")}
    return {"calls": len(rows), "first step": rows[0]["step"] if rows else None, **sums}


def plugin(name: str, directory: Path, *, control: Path, out: Path) -> Path:
    """A plugin folder with which a server computes with the mistake once `control` is there."""
    find(name)
    call = f"{__name__}:insert"
    folder = directory / "mistaken-source"
    return plugin_folder.write(
        directory,
        f"kernel-{name}",
        call,
        mistake=name,
        folder=str(folder),
        control=str(control),
        out=str(out),
    )


def insert(mistake: str, folder: str, control: str, out: str) -> None:
    observe(Mistaken(mistake, Path(folder), Path(control), Path(out)))
