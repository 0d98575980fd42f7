"""Hand a dump over: one self-contained file, its tables inline as literals.

Each format shows the failure on the recorded table and its absence on the
rebuilt one. What comes from a dump enters a file only as `repr` of numbers,
lists and cleaned text; nothing of it is ever evaluated as code.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from triage.dump.sections import Dump
from triage.errors import ReplayError, did_you_mean
from triage.export.bench import bench_files
from triage.export.flashinfer_test import flashinfer_tree
from triage.export.literals import Literals
from triage.export.pytest_file import pytest_file
from triage.export.script import script_file
from triage.export.sglang_test import sglang_test_file, sglang_tree
from triage.files.writing import check_output, write_output
from triage.minimise import minimise, why_nothing_fails

MAX_ENTRIES = 100_000

Files = dict[str, bytes]
"""Path relative to the output -> content; the key "" is the output itself."""

FORMATS: dict[str, Callable[[Literals], Files]] = {
    "pytest": lambda case: {"": pytest_file(case).encode()},
    "script": lambda case: {"": script_file(case).encode()},
    "sglang-test": lambda case: {"": sglang_test_file(case).encode()},
    "sglang-tree": sglang_tree,
    "flashinfer-tree": flashinfer_tree,
    "flashinfer-bench": bench_files,
}


def export(dump: Dump, kind: str, *, shrink: bool = True) -> Files:
    """The files of format `kind` for the failure in `dump`.

    Raises:
        ReplayError: for an unknown format, or a dump that does not fail.
    """
    if kind not in FORMATS:
        raise ReplayError(
            f"unknown format {kind!r}{did_you_mean(kind, FORMATS)}; known: {', '.join(FORMATS)}"
        )
    found = minimise(dump)
    if found is None:
        raise ReplayError(f"{why_nothing_fails(dump)}; there is nothing to hand over")
    case = found.dump if shrink else dump
    assert case.tables is not None
    entries = len(case.tables.page_table.values)
    if entries > MAX_ENTRIES:
        kept = "even minimised it has" if shrink else "as recorded it has"
        raise ReplayError(
            f"the page table is too large for a source file: {kept} {entries} entries, at most "
            f"{MAX_ENTRIES} fit; " + ("send the dump itself" if shrink else "let it be minimised")
        )
    return FORMATS[kind](Literals.of(case))


def write_export(
    files: Files, output: Path, *, force: bool = False, inputs: tuple[Path, ...] = ()
) -> list[Path]:
    """Write the files at `output` (a file, or a directory where there are several).

    Raises:
        ReplayError: one is there and `force` is not given, or one of them is of `inputs`;
            nothing was written then.
    """
    paths = {output / name if name else output: content for name, content in files.items()}
    for path in paths:
        check_output(path, force=force, inputs=inputs, error=ReplayError)
    return [
        write_output(path, content, force=force, inputs=inputs, error=ReplayError)
        for path, content in paths.items()
    ]
