"""`triage show`: the fault first, on one screen, in any terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.report.inputs import with_history
from triage.cli import main
from triage.dump.file import read_dump, write_dump
from triage.evidence import Evidence, Violation
from triage.report.brief import SCREEN, brief

GOLDEN = sorted((Path(__file__).resolve().parents[2] / "dumps").glob("*.msgpack"))
BY_NAME = [pytest.param(path, id=path.stem) for path in GOLDEN]


def lines(dump, width=80) -> list[str]:
    return [line.plain for line in brief(dump, "a.msgpack", width)]


@pytest.mark.parametrize("path", BY_NAME)
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_it_fits_one_screen_at_any_width(path, width):
    shown = lines(read_dump(path), width)
    assert len(shown) < SCREEN
    end = next(at for at, line in enumerate(shown) if line.startswith("next:"))
    assert max(map(len, shown[:end])) <= width  # a command is not broken in two


def test_the_faulting_rows_come_before_cause_hand_and_command():
    shown = "\n".join(lines(read_dump(GOLDEN[0])))
    assert GOLDEN[0].stem == "e4b_out_of_range"
    order = [
        "a live page-table entry is outside the pool that is read (I1)",
        "block_tables[47, 135] = 8658 not in [1, 8658), expected 5590, request 48",
        "block_tables[53, 136] = 8659 not in [1, 8658), expected 7374, request 54",
        "who put these there: not recorded",
        "cause  SWA state not swapped with the pool (high confidence)",
        "   47  ...#~~~~~~~!",
        "next:  triage replay a.msgpack --fix state-swap",
    ]
    places = [shown.index(text) for text in order]
    assert places == sorted(places)


def test_at_seventy_columns_the_table_is_there():
    for path in GOLDEN:
        shown = lines(read_dump(path), 70)
        assert any(line.startswith("table  ") for line in shown), path.stem


def test_what_the_trap_counted_and_no_query_sees_is_told_apart():
    shown = "\n".join(lines(read_dump(GOLDEN[-1]), 120))
    assert "6 entries in 1 row" in shown
    assert "4 of 16 visible entries: 4 wrong id space; 2 more that no query sees" in shown


def test_a_small_table_is_drawn_whole():
    shown = lines(with_history(dumps.make_dump(dumps.SMALL)))
    start = next(at for at, line in enumerate(shown) if line.startswith("table"))
    assert [line.split()[0] for line in shown[start + 1 : start + 5]] == ["0", "1", "2", "3"]


def test_a_sound_dump_raises_no_alarm():
    dump = replace(dumps.make_dump(dumps.SMALL, "right"), fault=Evidence("", "", "a snapshot"))
    text = "\n".join(lines(dump))
    assert "nothing wrong is seen" in text and "who put" not in text and "!" not in text


def test_a_fault_without_a_launch_is_shown_too():
    fault = Evidence(
        "I6", "page 88 was freed twice", "free", total=1, rows_affected=1,
        violations=(Violation("I6", "full pages", 0, 0, 88, 1, 100),),
    )  # fmt: skip
    bare = replace(dumps.make_dump(), fault=fault, launch=None, tables=None, pools=None)
    text = "\n".join(lines(bare))
    assert "full pages[0, 0] = 88" in text and "triage explain a.msgpack" in text
    assert text.count("page 88 was freed twice") == 1


def test_a_dump_of_long_words_stays_on_its_screen():
    long = "x" * 5_000 + " and " * 800
    dump = dumps.make_dump(dumps.SMALL)
    evil = replace(dump, fault=replace(dump.fault, summary=long, where=long, invariant=long))
    assert len(lines(evil)) < SCREEN


@pytest.fixture
def dump(tmp_path) -> Path:
    return write_dump(dumps.make_dump(dumps.SMALL), tmp_path, name="small.msgpack")


def test_since_when_ids_were_wrong_is_told_once():
    dump = with_history(dumps.make_dump(dumps.SMALL, "right"))
    crash = replace(dump.fault, invariant="", summary="", facts={"kind": "crash"})
    shown = " ".join(" ".join(lines(replace(dump, fault=crash))).split())
    assert shown.count("ids were wrong since") == 1
    assert "reads no wrong page" in shown


def test_everything_else_is_behind_v(dump):
    short = CliRunner().invoke(main, ["show", str(dump)]).output
    whole = CliRunner().invoke(main, ["show", "-v", str(dump)]).output
    assert "provenance" not in short and "provenance" in whole and "tensors" in whole


def run(dump: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
    return subprocess.run(
        [sys.executable, "-m", "triage", "show", str(dump)],
        env={**clean, **environment},
        capture_output=True,
    )


def test_colour_is_for_terminals_and_obeys_no_color(dump):
    assert b"\x1b[" not in run(dump).stdout, "a pipe"
    assert b"\x1b[" in run(dump, FORCE_COLOR="1").stdout
    assert b"\x1b[3" not in run(dump, FORCE_COLOR="1", NO_COLOR="1").stdout


@pytest.mark.parametrize("width", [60, 80, 140, 200])
@pytest.mark.parametrize("command", [["explain"], ["replay", "--kernel", "emulator"]], ids=" ".join)
def test_sentences_fit_the_terminal_and_commands_and_links_stay_whole(command, width, dump):
    name, *options = command
    shown = CliRunner(env={"COLUMNS": str(width)}).invoke(main, [name, str(dump), *options]).output
    piped = CliRunner().invoke(main, [name, str(dump), *options]).output
    # THEN no line is wider, but for what has no place to break
    for line in shown.splitlines():
        assert len(line) <= width or line.startswith("next: ") or len(line.split()) <= 2
    # AND nothing is lost or added, and a pipe gets whole sentences
    assert shown.split() == piped.split()
    assert max(map(len, piped.splitlines())) > 100


@pytest.mark.skipif(shutil.which("less") is None, reason="no less on this machine")
@pytest.mark.parametrize(("flags", "colour"), [("-FXR", "1"), ("-FX", "")])
def test_through_less_colours_are_colours_or_not_there(flags, colour, dump):
    # GIVEN a terminal of 200 lines, so that less ends by itself
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 120, 0, 0))
    command = f"{sys.executable} -m triage show {dump} | less {flags}"
    environment = {**os.environ, "TERM": "xterm", "LESS": ""}
    environment |= {"FORCE_COLOR": colour} if colour else {}
    environment.pop("NO_COLOR", None)
    child = subprocess.Popen(
        ["sh", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert child.wait(timeout=60) == 0
    # THEN it shows no escape as text, and a colour only where it was asked for
    assert b"fault" in shown and b"ESC" not in shown
    assert bool(re.search(rb"\x1b\[(?:1;)?3[1-7]m", shown)) is bool(colour)


def test_a_stream_that_is_ascii_gets_ascii(tmp_path):
    dump = dumps.make_dump(dumps.SMALL)
    named = replace(dump, fault=replace(dump.fault, where="décodage → 17"))
    path = write_dump(named, tmp_path, name="accents.msgpack")
    shown = run(path, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii() and b"d\\xe9codage" in shown.stdout
