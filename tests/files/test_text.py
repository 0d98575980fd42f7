"""Text of a stranger reaches a terminal, a log and JSON without moving anything."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table

import triage
from triage.files.text import console, echo, printable_log, to_json

HOSTILE = "\x1b]0;title\x07\x1b[31mred\r\x9b2J\N{RIGHT-TO-LEFT OVERRIDE}\u2028\ud800"
SAFE = "\\x1b]0;title\\x07\\x1b[31mred\\r\\x9b2J\\u202e\\u2028\\ud800"


def test_what_is_echoed_is_printable_and_keeps_its_lines(capsys):
    echo(f"one\t{HOSTILE}\ntwo")
    assert capsys.readouterr().out == f"one\t{SAFE}\ntwo\n"


def test_a_rich_console_prints_nothing_of_a_stranger_as_it_is():
    out = io.StringIO()
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    printer = console(file=out)
    printer.width = 200
    printer.print(table)
    printer.print(f"[red]{HOSTILE}[/red]")
    assert out.getvalue().count(r"\x1b[31mred") >= 1
    assert all(char.isprintable() for char in out.getvalue().replace("\n", ""))
    assert "[red]" in out.getvalue()


def test_a_log_record_is_made_printable_with_its_arguments(caplog):
    logger = printable_log("triage.text.test")
    with caplog.at_level(logging.WARNING, "triage.text.test"):
        logger.warning("said %s", HOSTILE)
        logger.warning("%d is no number", "x")
    assert [record.getMessage() for record in caplog.records] == [
        f"said {SAFE}",
        "%d is no number",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (np.float32("-inf"), "-inf"),
        (b"\x00\xff", "00ff"),
        ({1: np.arange(2)}, {"1": [0, 1]}),
        (np.zeros(1, dtype=[("bfloat16", "<u2")]), [[0]]),
        (b"\x00" * 100, "00" * 64 + "... (100 bytes)"),
        (object, "<class 'object'>"),
    ],
)
def test_json_is_valid_whatever_a_dump_holds(value, shown):
    assert json.loads(to_json(value), parse_constant=pytest.fail) == shown


def test_commands_and_reports_print_through_this_one_place():
    root = Path(triage.__file__).parent
    others = [
        f"{path.relative_to(root)}: {forbidden}"
        for room in ("commands", "report", "fleet", "export", "importers", "explain")
        for path in (root / room).rglob("*.py")
        for forbidden in ("click.echo(", "rich.console", "json.dumps(")
        if forbidden in path.read_text() and "TYPE_CHECKING" not in path.read_text()
    ]
    # What these write with json.dumps is a file's own format, which they made themselves.
    formats = ("export/bench.py", "fleet/journal.py")
    assert [each for each in others if not each.startswith(formats)] == []
