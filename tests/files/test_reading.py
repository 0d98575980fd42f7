"""What may be read: regular files within a limit, in linear time and memory."""

import os
import threading
import time
import tracemalloc

import pytest

from triage.errors import DumpError
from triage.files.reading import read_lines, read_regular


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "standard input", "missing"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    # GIVEN a path that would never end, never answer or is not there
    path = {"device": "/dev/zero", "standard input": "-", "directory": str(tmp_path)}.get(
        kind, str(tmp_path / "x")
    )
    if kind == "fifo":
        os.mkfifo(path)
    # WHEN it is read, THEN one sentence names it, without waiting
    begin = time.monotonic()
    with pytest.raises(DumpError, match=path):
        read_regular(type(tmp_path)(path), 1 << 20)
    assert time.monotonic() - begin < 1


def test_the_limit_is_looked_at_before_anything_is_read(tmp_path):
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    tracemalloc.start()
    with pytest.raises(DumpError, match=f"{1 << 40} bytes, this reader accepts 1024"):
        read_regular(sparse, 1024)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_lines_are_cut_at_their_limit_and_time_is_linear(tmp_path):
    # GIVEN a file of one endless line, and one of twice its length
    seconds = []
    for size in (8 << 20, 16 << 20):
        (tmp_path / "log").write_bytes(b"x" * size + "\nlast \N{GRINNING FACE}\xff".encode())
        begin = time.process_time()
        lines = list(read_lines(tmp_path / "log", 1 << 30, max_line_bytes=100))
        seconds.append(time.process_time() - begin)
        assert lines == ["x" * 100, "last \N{GRINNING FACE}\xff"]
    # THEN twice the bytes take about twice the time
    assert seconds[1] < 4 * seconds[0] + 0.05


def test_lines_end_as_text_does_and_other_bytes_are_replaced(tmp_path):
    (tmp_path / "log").write_bytes(b"one\r\ntwo\n\nfour\xff")
    assert list(read_lines(tmp_path / "log", 100)) == [
        "one",
        "two",
        "",
        "four\N{REPLACEMENT CHARACTER}",
    ]


def test_a_file_that_grows_while_it_is_read_ends(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"line\n" * 1000)
    stop = threading.Event()

    def grow():
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"more\n" * 1000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        assert sum(1 for _ in read_lines(path, 1 << 30)) < 10_000_000
    finally:
        stop.set()
        writer.join()


def test_a_folder_is_told_what_takes_one(tmp_path):
    with pytest.raises(DumpError, match="is a folder: name one of its files, or give it to"):
        read_regular(tmp_path, 100)
