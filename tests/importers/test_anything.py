"""`triage explain ANYTHING`: files, folders, standard input, and what nobody knows."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.importers import texts
from tests.importers.test_import import level10
from triage.cli import main
from triage.dump.file import encode, write_dump
from triage.importers.scan import scan


def explained(*arguments: object, stdin: bytes | None = None) -> tuple[int, str]:
    ran = CliRunner().invoke(main, ["explain", *map(str, arguments)], input=stdin)
    return ran.exit_code, ran.output


def test_standard_input_may_be_a_log_or_a_dump():
    code, output = explained("-", stdin=texts.SANITIZER.encode())
    assert code == 0 and texts.FMHA[:60] in output
    code, output = explained("-", stdin=encode(dumps.make_dump(dumps.SMALL)))
    assert code == 0 and "SWA state not swapped" in output


def test_a_folder_of_logs_and_dumps_is_explained_whole(tmp_path):
    (tmp_path / "rank0.log").write_text(texts.ASYNC)
    (tmp_path / "dmesg.gz").write_bytes(gzip.compress(texts.XID_13.encode()))
    (tmp_path / "armed.771").write_text("")
    (tmp_path / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    write_dump(dumps.make_dump(dumps.SMALL), tmp_path, name="d.msgpack")
    code, output = explained(tmp_path)
    assert code == 0
    assert "rank0.log: SGLang exception" in output
    assert "dmesg.gz: NVIDIA driver (Xid)" in output
    assert "d.msgpack: a dump of this tool" in output and "armed.771" not in output
    assert "d.png" not in output


def test_a_warning_that_carries_the_error_is_one(tmp_path):
    log = tmp_path / "x.log"
    line = "[rank0]:[W1130 02:19:20 CUDAEvent.h:57] Warning: CUDA warning: {} (function ~CUDAEvent)"
    log.write_text(line.format("an illegal memory access was encountered"))
    assert "illegal memory access, as the host heard of it" in explained(log)[1]
    log.write_text(line.format("driver shutting down"))
    assert "nothing is known here" in explained(log)[1]


def test_what_nobody_knows_is_called_unknown_and_shown(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("all is well\nfrobnicator: fatal error 17 in the flux unit\n")
    code, output = explained(log)
    assert code == 0
    assert "nothing is known here" in output and "flux unit" in output and "unknown" in output


def test_an_input_that_cannot_be_read_is_said_and_is_exit_2(tmp_path):
    log = tmp_path / "x.log"
    log.write_text(texts.SANITIZER)
    code, output = explained(log, tmp_path / "typo.msgpack")
    assert code == 2
    assert "typo.msgpack: cannot be read" in output and texts.FMHA[:60] in output
    assert explained(tmp_path / "typo.msgpack")[0] == 2


def test_an_elf_file_is_a_core_dump_to_be_opened(tmp_path):
    core = tmp_path / "core_host_1"
    core.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(64))
    code, output = explained(core)
    assert code == 0 and f"target cudacore {core}" in output.replace("\n", "")


# -- FlashInfer's level-10 folders ---------------------------------------------------------------


def captured(
    directory: Path, flushes: int, *, function="trtllm_batch_decode_with_kv_cache"
) -> Path:
    """What a call leaves that a CUDA graph captured, after so many replays that returned."""
    level10(directory, dumps.make_dump(dumps.SMALL, "right"), "pt", function=function)
    record = json.loads((directory / "metadata.jsonl").read_text().splitlines()[-1])
    record |= {"graph_capture": True, "execution_status": "graph_capture_pending_flush"}
    inputs = directory / "inputs.pt"
    lines = [record]
    for number in range(1, flushes + 1):
        flushed = record | {"execution_status": "inputs_saved", "graph_capture_flush_index": number}
        below = directory / "graph_flushes" / f"flush_{number:04d}"
        below.mkdir(parents=True)
        shutil.copy(inputs, below)
        (below / "metadata.jsonl").write_text(json.dumps(flushed) + "\n")
        lines = [record, flushed]
    if not flushes:
        inputs.unlink()
    (directory / "metadata.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return directory


ABSENT = "the replay that faulted is absent"


def test_a_captured_call_that_was_never_flushed_says_what_is_absent(tmp_path):
    code, output = explained(captured(tmp_path / "call", 0))
    assert code == 0
    assert "never flushed" in output and ABSENT in output and "--disable-cuda-graph" in output


def test_the_newest_flush_is_read_and_is_not_the_fault(tmp_path):
    code, output = explained(captured(tmp_path / "call", 3))
    assert code == 0
    assert "flush 3 of 3" in output and ABSENT in output
    assert "nothing wrong" not in output


def test_of_a_flush_whose_table_is_wrong_the_cause_is_at_most_medium(tmp_path):
    directory = captured(tmp_path / "call", 1)
    tensors = torch.load(directory / "inputs.pt")
    tensors["kwarg_block_tables"] = tensors["kwarg_block_tables"] + 5000
    torch.save(tensors, directory / "inputs.pt")
    code, output = explained(directory)
    assert code == 0 and ABSENT in output and "(high confidence)" not in output


def test_the_folder_that_holds_the_calls_is_read_for_the_one_that_did_not_return(tmp_path):
    top = tmp_path / "calls"
    top.mkdir()
    (top / "session.jsonl").write_text("{}\n")
    for number, name in enumerate(("rmsnorm", "trtllm_batch_decode_with_kv_cache")):
        level10(top / f"2026_{number}_{name}", dumps.make_dump(dumps.SMALL), "pt", function=name)
    code, output = explained(top)
    assert code == 0
    assert "2 calls, of which 2026_1_trtllm_batch_decode_with_kv_cache was read" in output
    assert "outside [0, 81)" in output


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("xqa", "attention, but not one of the two calls that are covered here: xqa"),
        ("BatchDecodeWithPagedKVCacheWrapper.run", "attention, but not one of the two calls"),
        ("trtllm_batch_decode_with_kv_cache_mla", "attention, but not one of the two calls"),
        ("silu_and_mul", "no attention call is among them: silu_and_mul"),
    ],
)
def test_other_calls_are_named_and_told_from_attention(tmp_path, function, told):
    call = level10(tmp_path / "call", dumps.make_dump(dumps.SMALL), "pt", function=function)
    code, output = explained(call)
    assert code == 0 and told in output


# -- cost ----------------------------------------------------------------------------------------


class Endless:
    """A log of `size` bytes that is made as it is read, one report in its midst."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.block = b"[2026-11-03 10:00:00 TP0] Decode batch. #running-req: 4, #token: 99\n" * 2000

    def read(self, size: int) -> bytes:
        if self.left <= 0:
            return b""
        half = self.left
        self.left -= len(self.block)
        hit = half > 20_000_000 >= self.left
        return texts.SANITIZER.encode() + self.block if hit else self.block


def test_a_long_log_is_read_in_memory_that_does_not_grow_with_it():
    tracemalloc.start()
    found = scan(Endless(40_000_000), "a log")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.total_bytes > 40_000_000 and found.hits["========="] >= 1
    assert peak < 16_000_000


def test_explaining_a_dump_or_a_log_imports_no_torch(tmp_path):
    dump = write_dump(dumps.make_dump(dumps.SMALL), tmp_path, name="d.msgpack")
    log = tmp_path / "a.log"
    log.write_text(texts.SANITIZER)
    code = (
        "import sys; from click.testing import CliRunner; from triage.cli import main; "
        f"ran = CliRunner().invoke(main, ['explain', {str(dump)!r}, {str(log)!r}]); "
        "assert ran.exit_code == 0, ran.output; "
        "print(sorted({'torch', 'triton', 'sglang', 'flashinfer'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
