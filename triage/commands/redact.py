"""`triage redact`."""

from __future__ import annotations

from pathlib import Path

import click

from triage.commands.options import force_option
from triage.commands.written import json_option, tell_written
from triage.dump.file import encode, read_dump
from triage.dump.redact import redact as redact_dump
from triage.dump.taken_out import taken_out
from triage.files.writing import check_output, write_output


@click.command()
@click.argument("dump", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
@click.option("--keep-kv", is_flag=True, help="Keep keys, values and queries: a user's text.")
@click.option(
    "--keep-identity",
    is_flag=True,
    help="Keep the names of host and user, and ids of requests as they are.",
)
@force_option
@json_option
def redact(
    dump: Path, output: Path, keep_kv: bool, keep_identity: bool, force: bool, as_json: bool
) -> None:
    """Write DUMP without what a stranger need not know.

    Tables, lengths, sizes and addresses stay: they are the evidence. Out go environment
    variables and server arguments but for those that matter to a launch, what an exception
    said, paths, host and user, ids of requests (a hash of each stays), unknown sections, and
    keys and values. Dumps that are written
    now have passed this already; older ones have not.
    """
    check_output(output, force=force, inputs=(dump,))
    given = read_dump(dump)
    cleaned = redact_dump(given, kv=keep_kv, identity=keep_identity)
    written = write_output(output, encode(cleaned), force=force, inputs=(dump,))
    gone = taken_out(given, cleaned)
    notes = [f"took out {each}" for each in gone] or ["nothing in it had to be taken out"]
    tell_written((written,), as_json=as_json, notes=notes)
