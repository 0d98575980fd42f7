"""What the `triage kernels` commands share: options, and the choice of Triton's interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.files.text import echo
from triage.files.writing import check_output

DTYPE = click.Choice(["float16", "bfloat16", "float32"])
DEVICE = click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="cpu runs Triton's interpreter.",
)
OUTPUT = click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append each result to this JSON-lines file as it is made; what it holds is not redone.",
)
BUDGET = click.option(
    "--budget-seconds", type=float, default=None, help="Stop before starting what would come later."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")


def check_outputs(force: bool, *paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            check_output(path, force=force)


def prepare(device: str) -> None:
    from triage_kernels.core.errors import InterpreterError
    from triage_kernels.core.interpreter import use_device

    try:
        use_device(device)
    except InterpreterError as error:
        echo(f"CANNOT_RUN: {error}", err=True)
        raise SystemExit(3) from error


def dtypes_of(names: tuple[str, ...]) -> tuple[Any, ...]:
    from triage_kernels.validate.results import DTYPES

    return tuple(DTYPES[name] for name in names)


ALSO = click.option(
    "--also",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A Python file with a SPEC of its own; it is run.",
)


def loaded(files: tuple[Path, ...]) -> tuple[Any, ...]:
    """The registry entries of files outside the registry."""
    from triage_kernels.core.errors import KernelError
    from triage_kernels.validate.registry import load

    try:
        return tuple(map(load, files))
    except KernelError as error:
        raise click.UsageError(str(error)) from error
