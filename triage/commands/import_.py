"""`triage import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from triage.commands.options import force_option
from triage.dump.file import encode, read_dump
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.importers import import_path


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--cache-shape",
    nargs=4,
    type=click.IntRange(1),
    help="PAGES HEADS PAGE_SIZE HEAD_DIM of K, where FlashInfer did not save it.",
)
@click.option("--into", type=click.Path(path_type=Path), help="Dump that a log belongs to.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
@force_option
def import_(
    path: Path,
    into: Path | None,
    output: Path,
    cache_shape: tuple[int, int, int, int] | None,
    force: bool,
) -> None:
    """Turn PATH, another tool's evidence, into a dump.

    PATH is a FlashInfer level-10 directory, a .pt file of an earlier page-table trap, or a
    log with kv_canary, cuda-gdb or compute-sanitizer lines (then --into names
    the dump that it is about).
    """
    check_output(output, force=force, inputs=(path, into))
    dump = import_path(path, None if into is None else read_dump(into), cache_shape)
    written = write_output(output, encode(dump), force=force, inputs=(path, into))
    lacks = dump.provenance.get("lacks")
    if lacks:
        echo(f"the source does not hold: {', '.join(map(str, lacks))}")
    faults = dump.fault.facts.get("cuda_faults")
    for fault in faults if isinstance(faults, list) else []:
        echo(_sentence(fault))
    echo(f"wrote {written}")


def _sentence(fault: dict[str, Any]) -> str:
    where = f"{fault['address']:#x}"
    if fault["page_id"] is None:
        return f"{where} lies in no cache of this launch"
    entries = [f"page_table[{row}, {column}]" for row, column in fault["entries"]]
    named = ", ".join(entries) or "no entry"
    return f"{where} is page {fault['page_id']} of {fault['tensor']}, named by {named}"
