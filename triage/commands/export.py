"""`triage export`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from triage.commands.completion import export_formats, names
from triage.commands.options import force_option
from triage.commands.written import json_option, tell_written
from triage.dump.file import read_dump
from triage.export import FORMATS, write_export
from triage.export import export as export_dump

RUN_BY = {
    "pytest": ("python -m pytest", "pytest"),
    "script": ("python", "Python alone; to run the launch itself, torch and FlashInfer"),
    "sglang-test": ("python", "SGLang and torch"),
    "sglang-tree": ("python", "SGLang and torch"),
    "flashinfer-tree": (
        "python -m pytest",
        "pytest, FlashInfer, and an sm_100 or sm_103: it is skipped elsewhere",
    ),
}
"""Format -> what runs its file, and what has to be installed for it."""


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "--as",
    "kind",
    shell_complete=names(export_formats),
    default="pytest",
    show_default=True,
    help=", ".join(FORMATS) + ".",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Where to.")
@force_option
@click.option("--whole", is_flag=True, help="Keep the launch as recorded, do not minimise it.")
@json_option
def export(dump: Path, kind: str, output: Path, whole: bool, force: bool, as_json: bool) -> None:
    """Turn the failure in DUMP into a file for whoever has to fix it.

    Each file fails on the recorded page table and passes on the right one;
    its first lines say how. sglang-tree and flashinfer-tree put theirs where those
    projects keep their tests, OUTPUT being a checkout; flashinfer-bench writes a directory.
    """
    files = export_dump(read_dump(dump), kind, shrink=not whole)
    written = write_export(files, output, force=force, inputs=(dump,))
    then, notes = [], []
    if kind in RUN_BY:
        runs, needs = RUN_BY[kind]
        then, notes = [f"{runs} {quote(str(written[0]))}"], [f"it needs {needs}"]
    tell_written(written, as_json=as_json, next_commands=then, notes=notes)
