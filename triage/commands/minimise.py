"""`triage minimise`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from shlex import quote

import click

from triage.commands.options import force_option
from triage.commands.written import json_option
from triage.dump.file import encode, read_dump
from triage.files.reports import report_json
from triage.files.text import echo
from triage.files.writing import check_output, write_output
from triage.minimise import Minimised, Size, why_nothing_fails
from triage.minimise import minimise as minimise_dump
from triage.replay.deduction import deduce


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
@force_option
@json_option
def minimise(dump: Path, output: Path, force: bool, as_json: bool) -> None:
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
        if as_json:
            echo(report_json("minimise", {"written": None, "before": None, "after": None}))
        else:
            echo(f"{why_nothing_fails(recorded)}; nothing was written")
        raise SystemExit(deduce(recorded).exit_code)
    written = write_output(output, encode(found.dump), force=force, inputs=(dump,))
    if as_json:
        echo(report_json("minimise", _as_dict(found, written)))
        return
    echo(f"before: {_sentence(found.before)}")
    echo(f"after:  {_sentence(found.after)}")
    causes = ", ".join(found.signature.causes) or "cause unknown"
    echo(f"kept:   {found.signature.invariant}, {causes} ({found.trials} trials)")
    echo(f"wrote {written}")
    echo(f"next: triage export {quote(str(written))} --as pytest -o test_regression.py")


def _as_dict(found: Minimised, written: Path) -> dict[str, object]:
    return {
        "written": str(written),
        "before": asdict(found.before),
        "after": asdict(found.after),
        "invariant": found.signature.invariant,
        "causes": list(found.signature.causes),
        "trials": found.trials,
    }


def _sentence(size: Size) -> str:
    return (
        f"{size.rows} rows, {size.visible_pages} visible pages, {size.stored_entries} entries, "
        f"{size.encoded_bytes} bytes"
    )
