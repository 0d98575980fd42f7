"""`triage import`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from triage.commands.options import force_option
from triage.commands.written import json_option, tell_written
from triage.dump.file import encode, read_dump
from triage.explain.observed import related
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
@json_option
def import_(
    path: Path,
    into: Path | None,
    output: Path,
    cache_shape: tuple[int, int, int, int] | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn PATH, another tool's evidence, into a dump.

    PATH is a FlashInfer level-10 directory, a .pt file of an earlier page-table trap, or a
    log. What a log tells is added to the dump that --into names, or makes a dump that holds no
    launch. To explain it there is no need to import it: triage explain takes all of them.
    """
    check_output(output, force=force, inputs=(path, into))
    dump = import_path(path, None if into is None else read_dump(into), cache_shape)
    written = write_output(output, encode(dump), force=force, inputs=(path, into))
    lacks = dump.provenance.get("lacks")
    notes = [f"the source does not hold: {', '.join(map(str, lacks))}"] if lacks else []
    for seen in related(dump):
        notes.append(f"{seen.observation.form.value}: {seen.observation.failure.value}")
        notes += [f"  {sentence}" for sentence in seen.sentences]
    then = (f"triage explain {quote(str(written))}",)
    tell_written((written,), as_json=as_json, next_commands=then, notes=notes)
