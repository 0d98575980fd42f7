"""Each kind of text is recognised for what it says, however it was pasted."""

from __future__ import annotations

import gzip
import io
import json

import pytest

from tests.importers import texts
from triage.dump.kernel_names import Role, kernel_of
from triage.dump.observation import Access, Failure, Form, Observation
from triage.importers.recognise import read_log
from triage.importers.scan import open_text


def observed(text: str | bytes) -> tuple[Observation, ...]:
    raw = text.encode() if isinstance(text, str) else text
    return read_log(io.BytesIO(raw), "a log").observations


def the(text: str) -> Observation:
    (seen,) = observed(text)
    return seen


KINDS = {
    "sanitizer": (texts.SANITIZER, Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "sanitizer, Triton": (texts.SANITIZER_TRITON, Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "sanitizer, older": (texts.SANITIZER_OLDER_TRITON, Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "sanitizer, store": (texts.SANITIZER_STORE, Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "sanitizer, hardware": (texts.SANITIZER_HARDWARE, Form.SANITIZER, Failure.ILLEGAL_ADDRESS),
    "sanitizer, misaligned": (texts.SANITIZER_MISALIGNED, Form.SANITIZER, Failure.MISALIGNED),
    "cuda-gdb": (texts.GDB_LIVE, Form.DEBUGGER, Failure.ILLEGAL_ADDRESS),
    "core": (texts.CORE, Form.CORE, Failure.MISALIGNED),
    "core, store": (texts.CORE_STORE, Form.DEBUGGER, Failure.ILLEGAL_ADDRESS),
    "Xid 13": (texts.XID_13, Form.DRIVER, Failure.OUT_OF_RANGE_SHARED),
    "Xid 31": (texts.XID_31.format(kind="READ"), Form.DRIVER, Failure.ILLEGAL_ADDRESS),
    "Xid 79": (texts.XID_79, Form.DRIVER, Failure.HARDWARE),
    "leak": (texts.LEAK, Form.LEAK, Failure.LEAK),
    "leak, busy": (texts.LEAK_BUSY, Form.LEAK, Failure.COUNTED_TWICE),
    "leak of rows": (texts.LEAK_ROWS, Form.LEAK, Failure.ROW_LEAK),
    "pages held and free": (texts.PAGE_USED_AFTER_FREE, Form.LEAK, Failure.USED_AFTER_FREE),
    "async error": (texts.ASYNC, Form.EXCEPTION, Failure.ILLEGAL_ADDRESS),
    "async error, a window's address": (
        texts.ASYNC.replace(
            "an illegal memory access was encountered",
            "operation not supported on global/shared address space",
        ),
        Form.EXCEPTION,
        Failure.ILLEGAL_ADDRESS,
    ),
    "at the call": (texts.AT_THE_CALL, Form.CUDA_ERROR, Failure.ILLEGAL_ADDRESS),
    "FA3": (texts.FA3, Form.CUDA_ERROR, Failure.MISALIGNED),
    "assert": (
        texts.DEVICE_ASSERT.format(block=1, thread=2),
        Form.DEVICE_ASSERT,
        Failure.ASSERT,
    ),
    "tree": (texts.TREE, Form.ASSERTION, Failure.TREE),
    "canary": (texts.CANARY.format(pool="FULL", slot=99), Form.CANARY, Failure.CANARY),
    "FlashInfer": (
        texts.FLASHINFER.format(name="trtllm_batch_decode_with_kv_cache"),
        Form.CALL,
        Failure.CALL,
    ),
    "TMA": (texts.TMA.format(code=700), Form.TMA, Failure.ILLEGAL_ADDRESS),
    "TMA, refused": (texts.TMA.format(code=1), Form.TMA, Failure.DESCRIPTOR),
    "Python's end": (
        "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n",
        Form.EXCEPTION,
        Failure.EXCEPTION,
    ),
    "peers": (texts.PEERS, Form.PEER, Failure.ENDED),
    "stopped": (texts.STOPPED, Form.PEER, Failure.STOPPED),
    "a plugin": (texts.PLUGIN, Form.EXCEPTION, Failure.NOT_LOADED),
    "a trap of ours": (texts.OURS, Form.TRAP, Failure.TRAPPED),
}


def essence(seen: Observation):
    """What must not depend on how a text was pasted."""
    return (
        seen.form,
        seen.failure,
        seen.kernel,
        seen.kernel_at,
        seen.access,
        seen.space,
        seen.address,
        seen.nearest,
        {key: value for key, value in seen.values.items() if key not in ("frames", "message")},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_recognised(kind):
    text, form, failure = KINDS[kind]
    seen = [(each.form, each.failure) for each in observed(text)]
    assert (form, failure) in seen


PASTED = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "coloured": lambda text: "".join(f"\x1b[31m{line}\x1b[0m\n" for line in text.splitlines()),
    "no last newline": lambda text: text.rstrip("\n"),
    "quoted in a mail": lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
    "docker compose": lambda text: "".join(f"sglang-1  | {line}\n" for line in text.splitlines()),
    "containerd": lambda text: "".join(
        f"2026-11-03T10:00:09.123456789Z stderr F {line}\n" for line in text.splitlines()
    ),
    "docker's JSON files": lambda text: "".join(
        json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026-11-03T10:00:00Z"}) + "\n"
        for line in text.splitlines()
    ),
    "between other lines": lambda text: (
        "[2026-11-03 09:59:00 TP0] Decode batch. #running-req: 4\n" * 50
        + text
        + "[2026-11-03 10:09:00 TP0] The server is fired up and ready to roll!\n" * 50
    ),
}


@pytest.mark.parametrize("way", PASTED)
@pytest.mark.parametrize("kind", KINDS)
def test_how_it_was_pasted_makes_no_difference(kind, way):
    text = KINDS[kind][0]
    assert [essence(each) for each in observed(PASTED[way](text))] == [
        essence(each) for each in observed(text)
    ]


def test_a_packed_log_is_read(tmp_path):
    path = tmp_path / "server.log.gz"
    path.write_bytes(gzip.compress(texts.SANITIZER.encode()))
    with open_text(path) as stream:
        assert read_log(stream, "x").observations[0].kernel == texts.FMHA


def test_a_text_of_windows_is_read(tmp_path):
    path = tmp_path / "server.log"
    path.write_bytes(texts.XID_31.format(kind="READ").encode("utf-16"))
    with open_text(path) as stream:
        assert read_log(stream, "x").observations[0].address == 0x7E5500A01000


def test_the_kernel_its_line_the_access_and_the_nearest_allocation_are_kept():
    seen = the(texts.SANITIZER)
    assert (seen.kernel, seen.access, seen.access_bytes) == (texts.FMHA, Access.READ, 32)
    assert seen.address == 0x7E5500A01C40
    assert seen.nearest == {
        "address": 0x7E5500000000,
        "bytes": 10485760,
        "distance": 7233,
        "side": "after",
    }
    triton = the(texts.SANITIZER_TRITON)
    assert (triton.kernel, triton.kernel_at) == ("_fwd_kernel", "extend_attention.py:402")
    older = the(texts.SANITIZER_OLDER_TRITON)
    assert older.kernel == "fused_moe_kernel" and older.kernel_at.endswith("_kernels.py:310")
    assert older.access is Access.WRITE  # an atomic writes


def test_a_store_instruction_is_a_write():
    seen = the(texts.CORE_STORE)
    assert (seen.access, seen.address) == (Access.WRITE, 0x7E5500A01C40)
    assert seen.kernel_at == "mem_cache/memory_pool.cu:88"


@pytest.mark.parametrize("kind", ["READ", "WRITE"])
def test_the_driver_says_whether_it_was_a_write(kind):
    seen = the(texts.XID_31.format(kind=kind))
    assert (seen.access.name, seen.rank, seen.values["process"]) == (kind, "pid 771", "python3")


def test_what_a_text_does_not_say_is_not_recorded():
    seen = the(texts.SANITIZER_HARDWARE)
    assert (seen.address, seen.access, seen.nearest) == (None, Access.UNKNOWN, None)


def test_a_pool_sum_tells_a_loss_from_an_over_count():
    full, swa = observed(texts.LEAK)
    assert (full.failure, full.values["tokens"]) == (Failure.LEAK, 256)
    assert swa.failure is Failure.BALANCED
    assert the(texts.LEAK_BUSY).values["tokens"] == 16
    assert full.rank == "DP1 TP3"


def test_a_wrapped_line_is_as_an_unwrapped_one():
    line = texts.CANARY.format(pool="SWA", slot=40321)
    whole = the(line)
    for width in (30, 47, 62, 72):
        words, rows = line.split(" "), [""]
        for word in words:
            if len(rows[-1]) + len(word) >= width:
                rows.append("")
            rows[-1] += f" {word}" if rows[-1] else word
        assert the("\n".join(rows)).values == whole.values
        assert the("\n  ".join(rows)).values == whole.values
    assert whole.values["pool"] == "swa"


def test_a_sanitizer_line_that_a_client_wrapped_is_joined():
    wrapped = texts.SANITIZER.replace("nearest allocation at", "nearest\nallocation at")
    wrapped = wrapped.replace(" is out of bounds", "\nis out of bounds")
    assert essence(the(wrapped)) == essence(the(texts.SANITIZER))


def test_ranks_that_write_into_each_other_are_told_apart():
    # GIVEN two ranks whose lines alternate
    first = texts.SANITIZER.splitlines()
    second = texts.SANITIZER_HARDWARE.splitlines() + [""] * 20
    mixed = [
        f"[rank{rank}]: {line}"
        for pair in zip(first, second, strict=False)
        for rank, line in enumerate(pair)
    ]
    # WHEN they are read
    one, other = observed("\n".join(mixed))
    # THEN each keeps its own kernel and address
    assert (one.rank, one.kernel, one.address) == ("rank 0", texts.FMHA, 0x7E5500A01C40)
    assert (other.rank, other.address) == ("rank 1", None) and other.kernel.startswith("nvjet")


def test_alike_reports_are_counted_not_repeated():
    text = "".join(
        texts.DEVICE_ASSERT.format(block=b, thread=t) for b in range(9) for t in range(64)
    )
    seen = the(text)
    assert seen.count > 9 and seen.values["asserted"] == "srcIndex < srcSelectDimSize"


def test_a_text_cut_off_in_a_report_keeps_what_it_says():
    cut = texts.SANITIZER[: texts.SANITIZER.index("Access to")]
    seen = the(cut)
    assert (seen.kernel, seen.access, seen.address) == (texts.FMHA, Access.READ, None)


def test_a_traceback_whose_source_line_names_the_message_is_one_report():
    text = (
        '    assert not full_leak, f"Full Pool Mem Leak Detected! {full_msg}"\n' + texts.LEAK_BUSY
    )
    assert the(text).values["pool"] == "full"


@pytest.mark.parametrize(
    ("name", "at", "attention", "covered", "role"),
    [
        (texts.FMHA, "", True, True, Role.READS_KV),
        ("kernel_mha", "", True, True, Role.READS_KV),
        ("_fwd_grouped_kernel_stage1", "decode_attention.py:9", True, False, Role.READS_KV),
        ("_fwd_kernel", "extend_attention.py:402", True, False, Role.READS_KV),
        ("void flash::flash_fwd_splitkv_kernel<X>(P)", "", True, False, Role.READS_KV),
        ("void reshape_and_cache_flash_kernel<T>(T)", "", False, False, Role.WRITES_KV),
        ("void store_kv_cache<(long)128, int>(P)", "", False, False, Role.WRITES_KV),
        ("create_flashinfer_kv_indices_triton", "", False, False, Role.INDICES),
        ("bmm_Bfloat16_E4m3_Fp32_t128x32", "", False, False, Role.OTHER),
        ("nvjet_tst_128x64", "", False, False, Role.OTHER),
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", "", False, False, Role.OTHER),
        ("check_table_kernel", "", False, False, Role.CHECK),
        ("_preamble_kernel", "triage_kernels/attention_preamble.py:9", False, False, Role.FUSED),
        ("mystery_kernel_v2", "", None, False, Role.UNKNOWN),
        ("_fwd_kernel", "", None, False, Role.UNKNOWN),
    ],
)
def test_a_kernel_is_known_by_its_name_or_not_at_all(name, at, attention, covered, role):
    kernel = kernel_of(name, at)
    assert (kernel.attention, kernel.covered, kernel.role) == (attention, covered, role)


def test_a_kind_that_is_new_is_shown_and_called_unknown():
    log = read_log(io.BytesIO(b"GPU 3 exploded: fatal error in quantum unit\n"), "x")
    assert log.observations == ()
    assert "quantum unit" in log.scanned.suspicious[0]
