"""Other tools' files become dumps that show, explain and replay can read; bad ones one sentence.

Long because every tool's file is asked the same: a dump of it, or one sentence.
"""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests.dump.test_dump_round_trip import same
from tests.importers.flashinfer_capture import SIZES
from triage.cli import main
from triage.dump.file import decode, encode, read_dump, write_dump
from triage.dump.observation import Access, Failure, observations_of
from triage.errors import DumpError
from triage.explain.observed import Relation, related
from triage.export.bench import safetensors_bytes
from triage.importers import import_path
from triage.importers.recognise import read_log
from triage.replay.deduction import deduce
from triage.resolver import recorded_version
from triage.resolver.pins import parse_version


def level10(directory: Path, dump, form: str, function="trtllm_batch_decode_with_kv_cache") -> Path:
    """What FlashInfer's logging writes for SGLang's call of `dump`'s launch."""
    directory.mkdir()
    table = dump.tables.page_table.padded().astype(np.int32)
    lengths = dump.tables.cache_seqlens.astype(np.int32)
    details = {
        f"kwarg_{name}": {"shape": list(facts.shape), "dtype": f"torch.{facts.dtype}",
                          "stride": list(facts.stride), "device": "cuda:0"}
        for name, facts in dump.launch.tensors.items()
    }  # fmt: skip
    details["kwarg_kv_cache__0"] = details.pop("kwarg_k_cache")
    details["kwarg_kv_cache__1"] = details.pop("kwarg_v_cache")
    record = {
        "function_name": function,
        "module": "os",
        "call_sequence": 9,
        "input_metadata": {
            "kwarg_window_left": dump.launch.window_left,
            "kwarg_max_seq_len": dump.launch.max_seq_len,
            "kwarg_bmm1_scale": 0.25,
            "kwarg_kv_cache": {"type": "tuple", "length": 2, "items": []},
        },
        "tensor_details": details,
        "versions": {"flashinfer": "0.6.12"},
    }
    (directory / "metadata.jsonl").write_text('{"older": 1}\n' + json.dumps(record) + "\n")
    tensors = {"kwarg_block_tables": table, "kwarg_seq_lens": lengths}
    if form == "pt":
        torch.save({key: torch.from_numpy(value) for key, value in tensors.items()},
                   directory / "inputs.pt")  # fmt: skip
    else:
        (directory / "inputs.safetensors").write_bytes(safetensors_bytes(tensors))
    return directory


@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_a_flashinfer_call_is_read_whole(tmp_path, form):
    recorded = dumps.make_dump(dumps.SMALL)

    imported = import_path(level10(tmp_path / "call", recorded, form))

    assert imported.tables.cache_seqlens.tolist() == recorded.tables.cache_seqlens.tolist()
    for name in ("page_size", "num_pages", "window_left", "num_q_heads", "max_seq_len"):
        assert getattr(imported.launch, name) == getattr(recorded.launch, name)
    assert imported.provenance["lacks"]
    assert same(decode(encode(imported)).tables, imported.tables)
    # FlashInfer's own replay calls such a dump a pass; the addresses say otherwise.
    assert deduce(imported).exit_code == 1


def test_a_call_whose_cache_flashinfer_did_not_save_needs_its_shape(tmp_path):
    recorded = dumps.make_dump(dumps.SMALL)
    directory = level10(tmp_path / "call", recorded, "safetensors")
    record = json.loads((directory / "metadata.jsonl").read_text().splitlines()[-1])
    for part in "01":
        del record["tensor_details"][f"kwarg_kv_cache__{part}"]
    record["input_metadata"]["kwarg_kv_cache"] = {"type": "tuple", "value": "(tensor([..."}
    (directory / "metadata.jsonl").write_text(json.dumps(record))

    with pytest.raises(DumpError, match="--cache-shape PAGES HEADS PAGE_SIZE HEAD_DIM"):
        import_path(directory)
    imported = import_path(directory, cache_shape=(81, 1, 16, 16))

    assert deduce(imported).figures["footprint"] == deduce(recorded).figures["footprint"]


REAL = Path(__file__).with_name("flashinfer")


@pytest.mark.parametrize("name", sorted(path.name for path in REAL.iterdir()))
def test_what_flashinfer_itself_wrote_is_read(name):
    # GIVEN what a release left of a call that did not return, see flashinfer_capture.py
    recorded = dumps.make_dump(SIZES)
    launch = recorded.launch
    shape = (launch.num_pages, launch.num_kv_heads, launch.page_size, launch.head_dim)

    if name == "0.6.11.post1":  # it saves nothing of a cache that is a tuple
        with pytest.raises(DumpError, match="--cache-shape"):
            import_path(REAL / name)
    imported = import_path(REAL / name, cache_shape=shape if name == "0.6.11.post1" else None)

    # THEN it is the recorded call, in addresses, arguments and release
    assert deduce(imported).figures["footprint"] == deduce(recorded).figures["footprint"]
    assert imported.launch.window_left == launch.window_left
    assert imported.launch.arguments["out_dtype"] == "torch.bfloat16"
    assert recorded_version(imported) == parse_version(name.removesuffix("-pt"))
    assert "pools" in imported.provenance["lacks"]


def test_a_call_of_anything_else_is_not_run(tmp_path):
    directory = level10(tmp_path / "c", dumps.make_dump(dumps.SMALL), "pt", function="system")

    with pytest.raises(DumpError, match="a call of system, not of attention"):
        import_path(directory)


def trap_values(dump) -> dict:
    return {
        "page_table": torch.from_numpy(dump.tables.page_table.padded()),
        "cache_seqlens": torch.from_numpy(dump.tables.cache_seqlens),
        "k_cache_shape": (81, 1, 16, 16),
        "page_size": 16,
        "sliding_window_size": dump.launch.window_left,
        "layer_id": 22,
        "forward_mode": "DECODE",
        "is_swa": True,
    }


def test_a_file_of_the_first_trap_is_read(tmp_path):
    recorded = dumps.make_dump(dumps.SMALL)
    torch.save(trap_values(recorded), tmp_path / "oob.pt")

    imported = import_path(tmp_path / "oob.pt")

    assert deduce(imported).figures["footprint"] == deduce(recorded).figures["footprint"]
    assert imported.pools.read == "swa"
    assert "mapping" in imported.provenance["lacks"]


class Boom:
    def __reduce__(self):
        return (print, ("this must not be printed",))


def test_a_pt_file_that_names_code_is_refused_unread(tmp_path, capsys):
    torch.save({"page_table": Boom()}, tmp_path / "evil.pt")

    with pytest.raises(DumpError, match="more than tensors"):
        import_path(tmp_path / "evil.pt")
    assert "must not" not in capsys.readouterr().out


CANARY = (
    "[2026] kv_canary violation: launch_tag=HEAD_K fail_reason=POSITION+TOKEN slot_idx={slot} "
    "position=33 stored_token=17 expected_token=19 stored_chain_hash=0x1 expected_aux=0x2\n"
)


def test_canary_lines_are_kept_without_token_ids(tmp_path):
    dump = dumps.make_dump(dumps.SMALL)
    slot = int(dump.tables.req_to_token.row(2)[1]) + 5
    log = tmp_path / "server.log"
    log.write_text("noise\n" + CANARY.format(slot=slot))

    imported = import_path(log, dump)

    (seen,) = related(imported)
    assert seen.observation.values["slot"] == slot and seen.rows == (2,)
    assert "17" not in " ".join(seen.observation.text)
    assert imported.history == dump.history  # a line of a log is no launch


SANITIZER = """\
========= Invalid __global__ read of size 16 bytes
=========     at fmhaSm100fKernel_QkvBfloat16OBfloat16H256PagedKvSlidingOrChunkedCausalP64+0x1230
=========     by thread (64,0,0) in block (3,0,0)
=========     Access to {address} is out of bounds
=========     and is 1,235 bytes after the nearest allocation at 0x7f00ff000000 of size 16 bytes
"""
OLDER_SANITIZER = SANITIZER.replace("Access to", "Address")
GDB = """\
[Current focus set to CUDA kernel 0, grid 7, block (0,0,0), thread (0,0,0), device 0, sm 0]
CUDA Exception: Warp Illegal Address
The exception was triggered at PC 0x7fdc1f2d4b50
Memcheck detected an illegal access to address (@global){address}
#0  0x00007fdc1f2d4b60 in fmhaSm100fKernel_QkvBfloat16<<<(1,1,1),(512,1,1)>>> ()
"""
CORE = """\
Opening GPU coredump: core_1_1
CUDA Exception: Warp Illegal Address
The exception was triggered in kernel fmhaSm100fKernel_Qkv (grid 7)
Illegal address detected at {address}
"""


@pytest.mark.parametrize(
    "text",
    [SANITIZER, OLDER_SANITIZER, GDB, CORE],
    ids=["compute-sanitizer", "older", "cuda-gdb", "core dump"],
)
def test_a_faulting_address_becomes_a_row_and_a_column(tmp_path, text):
    dump = dumps.make_dump(dumps.E4B)
    facts = dump.launch.tensors["k_cache"]
    page_bytes = facts.storage_bytes // dump.launch.num_pages
    address = facts.data_ptr + 10742 * page_bytes + 96
    log = tmp_path / "cuda.txt"
    log.write_text(text.format(address=hex(address)))

    (found,) = related(import_path(log, dump))

    assert found.page_id == 10742
    assert found.tensor == "k_cache"
    assert found.relation is Relation.NAMED and (0, 127) in found.entries
    assert found.beyond_bytes == (10742 - 8658) * page_bytes + 96
    assert found.observation.kernel.startswith("fmhaSm100fKernel_Qkv")


def observed(text: str):
    return read_log(io.BytesIO(text.encode()), "a log").observations


def test_the_drivers_own_line_names_an_address_without_a_kernel():
    line = "NVRM: Xid (PCI:0000:1b:00): 31, MMU Fault: ENGINE GRAPHICS faulted @ 0x7f3c_00000000."

    (seen,) = observed(line)

    assert (seen.address, seen.kernel, seen.access) == (0x7F3C00000000, "", Access.UNKNOWN)
    assert seen.failure is Failure.ILLEGAL_ADDRESS


def test_an_address_elsewhere_is_matched_to_nothing():
    (seen,) = observed("NVRM: Xid (PCI:0000:1b:00): 31, MMU Fault: faulted @ 0x1000.")

    (found,) = related(dumps.make_dump(dumps.SMALL), (seen,))

    assert found.relation is Relation.ELSEWHERE
    assert found.page_id is None and found.entries == ()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.log", b"nothing here", "holds no line that is known"),
        ("x.pt", b"PK\x03\x04broken", "damaged"),
        ("x.safetensors", b"\x00" * 20, "import the directory"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)

    ran = CliRunner().invoke(main, ["import", str(tmp_path / name), "-o", str(tmp_path / "out")])

    assert ran.exit_code == 2
    assert reason in ran.output and ran.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff" * 8, b"\x10\0\0\0\0\0\0\0" + b"[" * 16, b"\x02\0\0\0\0\0\0\0{}"],
    ids=["empty", "absurd header", "no JSON", "no tensors"],
)
def test_a_damaged_safetensors_file_is_a_dump_error(tmp_path, damage):
    directory = level10(tmp_path / "call", dumps.make_dump(dumps.SMALL), "safetensors")
    (directory / "inputs.safetensors").write_bytes(damage)

    with pytest.raises(DumpError):
        import_path(directory)


def test_the_command_writes_a_dump_and_says_what_the_source_lacks(tmp_path):
    recorded = dumps.make_dump(dumps.SMALL)
    directory = level10(tmp_path / "call", recorded, "safetensors")
    out = tmp_path / "imported"

    ran = CliRunner().invoke(main, ["import", str(directory), "-o", str(out)])

    assert ran.exit_code == 0
    assert "does not hold: req_to_token" in ran.output
    assert read_dump(out).launch.api == recorded.launch.api


@pytest.mark.parametrize("release", ["0.5.15.post1", "0.5.23"])
def test_the_line_that_kv_canary_itself_writes_is_read(release):
    # GIVEN SGLang's own formatting, taken out of its module: the rest of it needs a GPU
    installed = Path(sys.prefix) / "sglang" / release
    path = installed / "sglang/srt/kv_canary/runner/violation_reporter.py"
    if not path.exists():
        pytest.skip(f"SGLang {release} is not installed here, or has no kv_canary")
    source = path.read_text()
    line = re.search(r"structured_line = (\(.*?\n    \))", source, re.DOTALL)
    names = {"tag_label": "SWEEP_V", "reasons": ["chain_hash", "position"], "u64_mask": 2**64 - 1}
    numbers = ("slot_idx", "position", "stored_token", "expected_token")
    names |= dict.fromkeys((*numbers, "stored_chain_hash", "expected_aux"), -7)

    (seen,) = observed(eval(line[1], {}, names))

    assert seen.values == {
        "tag": "SWEEP_V",
        "reason": "chain_hash+position",
        "slot": -7,
        "position": -7,
        "pool": "full",
    }


def test_a_log_alone_becomes_a_dump_without_a_launch(tmp_path):
    (tmp_path / "x.log").write_text(CANARY.format(slot=3))

    ran = CliRunner().invoke(
        main, ["import", str(tmp_path / "x.log"), "-o", str(tmp_path / "out.msgpack")]
    )

    assert ran.exit_code == 0, ran.output
    dump = read_dump(tmp_path / "out.msgpack")
    assert dump.launch is None and len(observations_of(dump.fault.facts)) == 1


def test_an_address_is_reported_by_the_command(tmp_path):
    dump = dumps.make_dump(dumps.E4B)
    path = write_dump(replace(dump, history=()), tmp_path, name="d")
    facts = dump.launch.tensors["k_cache"]
    address = facts.data_ptr + 10742 * (facts.storage_bytes // dump.launch.num_pages)
    log = tmp_path / "log"
    log.write_text(SANITIZER.format(address=hex(address)))

    ran = CliRunner().invoke(
        main, ["import", str(log), "--into", str(path), "-o", str(tmp_path / "out")]
    )

    assert "is page 10742 of k_cache, named by block_tables[0, 127]" in ran.output
