"""`triage minimise`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from triage.commands.options import force_option
from triage.dump.file import encode, read_dump
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.minimise import Size
from triage.minimise import minimise as minimise_dump
from triage.replay.deduction import deduce


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
@force_option
def minimise(dump: Path, output: Path, force: bool) -> None:
    """Shrink DUMP to the smallest launch that fails in the same way.

    On a dump that does not fail nothing is written, and the exit code is that
    of replaying it.
    """
    check_output(output, force=force, inputs=(dump,))
    recorded = read_dump(dump)

    def progress(size: Size, step: str) -> None:
        echo(f"  {step:<16}{_sentence(size)}", err=True)

    found = minimise_dump(recorded, progress)
    if found is None:
        echo("this dump does not fail; nothing was written")
        raise SystemExit(deduce(recorded).exit_code)
    written = write_output(output, encode(found.dump), force=force, inputs=(dump,))
    echo(f"before: {_sentence(found.before)}")
    echo(f"after:  {_sentence(found.after)}")
    causes = ", ".join(found.signature.causes) or "cause unknown"
    echo(f"kept:   {found.signature.invariant}, {causes} ({found.trials} trials)")
    echo(f"wrote {written}")
    echo(f"next: triage export {quote(str(written))} --as pytest -o test_regression.py")


def _sentence(size: Size) -> str:
    return (
        f"{size.rows} rows, {size.visible_pages} visible pages, {size.stored_entries} entries, "
        f"{size.encoded_bytes} bytes"
    )
