"""Whatever is named on the command line: a result or one sentence and exit 2, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.torture.targets import Memory
from triage.cli import main
from triage.dump.file import encode
from triage.dump.sections import Ragged, Tables

READERS = (
    ("show",),
    ("show", "-v"),
    ("report", "--json"),
    ("show", "--json"),
    ("explain",),
    ("replay", "--kernel", "emulator"),
    ("minimise", "-o", "OUT"),
    ("export", "-o", "OUT"),
    ("import", "-o", "OUT"),
    ("redact", "-o", "OUT"),
)
SECONDS = 30


@pytest.fixture(autouse=True)
def in_time():
    """What waits for a writer that never comes is ended, and fails."""

    def late(*_):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def named(tmp_path, kind):
    path = tmp_path / "it.msgpack"
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a device":
        return "/dev/zero"
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "a link to nothing":
        path.symlink_to(tmp_path / "nothing")
    elif kind == "an empty file":
        path.touch()
    elif kind == "a folder whose parts are FIFOs":
        (tmp_path / "call").mkdir()
        for name in ("metadata.jsonl", "inputs.safetensors", "inputs.pt"):
            os.mkfifo(tmp_path / "call" / name)
        return str(tmp_path / "call")
    elif kind == "a FIFO named as a tensor file":
        path = tmp_path / "it.pt"
        os.mkfifo(path)
    return str(path)


KINDS = (
    "a FIFO",
    "a device",
    "a directory",
    "a socket",
    "a link to nothing",
    "an empty file",
    "a folder whose parts are FIFOs",
    "a FIFO named as a tensor file",
    "nothing",
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused_by_every_reader_at_once(tmp_path, kind):
    path = named(tmp_path, kind)
    for words in READERS:
        out = tmp_path / "out"
        done = CliRunner().invoke(
            main, [*(str(out) if word == "OUT" else word for word in words), path]
        )
        assert done.exit_code == 2, (words, done.output, done.exception)
        assert done.output.startswith("Error: ") and len(done.output.splitlines()) <= 2, words
        assert not out.exists(), words


def test_standard_input_is_read_once_as_it_comes_and_refused_where_a_file_is_needed():
    # GIVEN a log of 300 MB on standard input, which no reader may hold
    line = b"nothing of interest here, nothing at all, and nothing after it either\n"
    code = (
        "import resource, sys; from triage.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (400 << 20,) * 2)\n"
        "main(['explain', '-'])"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    for _ in range(300):
        child.stdin.write(line * ((1 << 20) // len(line)))
    child.stdin.write(b"RuntimeError: CUDA error: an illegal memory access was encountered\n")
    said, _ = child.communicate()
    # THEN it is answered in the memory that a short one takes
    assert child.returncode == 0 and b"illegal" in said.lower()
    for words in READERS:
        if words[0] not in ("explain", "import", "report"):
            done = CliRunner().invoke(main, [word.replace("OUT", "out") for word in [*words, "-"]])
            assert done.exit_code == 2 and "name a file" in done.output


def table_of(rows, entries):
    """A table in which one row has all the entries, and every other none: no writer makes it."""
    base, offsets = dumps.make_dump(dumps.SMALL), np.zeros(rows + 1, np.int64)
    offsets[-1] = entries
    tables = Tables(
        page_table=Ragged(np.ones(entries, np.int64), offsets),
        cache_seqlens=np.ones(rows, np.int64),
    )
    with pytest.MonkeyPatch.context() as unlimited:
        unlimited.setattr("triage.dump.consistency.MAX_TABLE_ENTRIES", 1 << 60)
        return encode(replace(base, tables=tables))


def deflated_pt(megabytes):
    """A `.pt` whose one tensor is packed a thousand times smaller than it says."""
    import torch

    stored = io.BytesIO()
    torch.save({"page_table": torch.zeros(megabytes << 18, dtype=torch.int32)}, stored)
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(stored) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return packed.getvalue()


def broad_pt():
    """A `.pt` of one value seen as a table of a billion, stride 0."""
    import torch

    stored = io.BytesIO()
    table = torch.zeros(1, dtype=torch.int32).expand(1 << 15, 1 << 15)
    torch.save({"page_table": table, "cache_seqlens": torch.ones(4)}, stored)
    return stored.getvalue()


def nested_metadata():
    return b"[" + b"[]," * 300_000 + b"[]]"


def header_of_lists():
    body = nested_metadata()
    return struct.pack("<Q", len(body)) + body


BOMBS = {
    "8,000 rows, one of 20,000 pages.msgpack": lambda: table_of(8_000, 20_000),
    "4 rows of 4 million pages.msgpack": lambda: table_of(4, 4_000_000),
    "deflated.pt": lambda: deflated_pt(200),
    "stride 0.pt": broad_pt,
    "lists.json": nested_metadata,
    "one long line.log": lambda: b"CUDA error: " * 400_000,
    "gzip of nothing.log": lambda: gzip.compress(bytes(200 << 20)),
    "utf-16.log": lambda: ("\U0001f600 CUDA error\n" * 200_000).encode("utf-16"),
    "nested.log": lambda: b"Traceback (most recent call last):\n" * 100_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_no_large_memory(tmp_path, name):
    # GIVEN a file that says it is far larger than it is, or is hard to read
    content = BOMBS[name]()
    path = tmp_path / name
    path.write_bytes(content)
    (tmp_path / "small.msgpack").write_bytes(encode(dumps.make_dump(dumps.SMALL)))
    (tmp_path / "small.log").write_text("RuntimeError: CUDA error: an illegal memory access\n")
    memory = Memory()
    for words in READERS:
        words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
        words += ["--force"] if "-o" in words else []
        for each in ("small.msgpack", "small.log"):  # what is imported is no file's
            CliRunner().invoke(main, [*words, str(tmp_path / each)])
        memory.begin()
        began = time.thread_time()
        done = CliRunner().invoke(main, [*words, str(path)])
        spent = time.thread_time() - began
        # THEN every reader answers or refuses it in 64 MiB and twice its size
        assert done.exit_code in (0, 1, 2, 3, 4, 5), (words, done.output, done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit), words
        assert memory.over_kib() <= (64 << 10) + 2 * (len(content) >> 10), words
        assert spent < 1 + 2 * len(content) / 2**20, words


def test_time_is_linear_in_the_length_of_a_log(tmp_path):
    spent = []
    for lines in (2_000, 20_000):
        path = tmp_path / f"{lines}.log"
        path.write_text(
            "RuntimeError: CUDA error: an illegal memory access was encountered at "
            + "=" * 60
            + "\n========= Invalid __global__ read of size 4 bytes\n" * lines
        )
        began = time.thread_time()
        done = CliRunner().invoke(main, ["explain", "--json", str(path)])
        spent.append(time.thread_time() - began)
        assert json.loads(done.stdout)
    assert spent[1] < 20 * max(spent[0], 0.02), spent


WRITERS = {
    "minimise": ["minimise", "DUMP", "-o", "OUT"],
    "import": ["import", "LOG", "-o", "OUT"],
    "redact": ["redact", "DUMP", "-o", "OUT"],
    "picture": ["show", "DUMP", "--picture", "OUT.svg"],
    "port": ["fusions", "port", "norm-add-norm", "--into", "OUT"],
    **{
        f"export {kind}": ["export", "DUMP", "--as", kind, "-o", "OUT"]
        for kind in ("pytest", "script", "sglang-test")
    },
}


@pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
def test_no_command_writes_through_a_planted_link_over_a_file_or_over_its_input(tmp_path, words):
    named = {name: tmp_path / name for name in ("DUMP", "LOG", "OUT", "OUT.svg")}
    named["DUMP"].write_bytes((DUMPS / "smoke_stale_swa_state.msgpack").read_bytes())
    named["LOG"].write_text("RuntimeError: CUDA error: an illegal memory access was encountered\n")
    out, victim = named["OUT.svg" if "OUT.svg" in words else "OUT"], tmp_path / "victim"
    command = [str(named.get(word, word)) for word in words]
    victim.write_text("precious")
    # GIVEN under the output's name a link to a file, a link to none, or a file
    for planted in (victim, tmp_path / "nothing", None):
        out.unlink(missing_ok=True)
        if planted is None:
            out.write_text("precious")
        else:
            out.symlink_to(planted)
        # WHEN the command writes there THEN it refuses, and nothing is touched
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 2 and "exists" in done.output, done.output
        assert victim.read_text() == "precious" and not (tmp_path / "nothing").exists()
        assert out.is_symlink() or out.read_text() == "precious"
    # AND with nothing there it writes
    out.unlink()
    assert CliRunner().invoke(main, command).exit_code in (0, 1) and out.exists()
    # AND never over its input, with --force neither
    if "port" not in words:
        source = next(named[word] for word in words if word in ("DUMP", "LOG"))
        before = source.read_bytes()
        again = [str(source) if word == str(out) else word for word in command]
        assert CliRunner().invoke(main, [*again, "--force"]).exit_code == 2
        assert source.read_bytes() == before


DUMPS = Path(__file__).resolve().parents[2] / "dumps"
