"""A file that is not a whole dump of ours is a DumpError in one sentence, cheaply."""

from __future__ import annotations

import tracemalloc
import zlib

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import dumps_fixture as dumps
from triage.dump.consistency import MAX_ROWS
from triage.dump.file import FORMAT_VERSION, MAGIC, decode, encode, read_dump
from triage.errors import DumpError

WHOLE = encode(dumps.make_dump(dumps.SMALL))
FEW_MEGABYTES = 4 << 20


def peak_bytes_of_refusing(encoded: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DumpError) as caught:
            decode(encoded)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    return peak


def section(name: str, body: bytes, required: bool = True) -> list:
    return [name, required, zlib.crc32(body, zlib.crc32(name.encode(), int(required))), body]


def file_of(*sections: list) -> bytes:
    return msgpack.packb([MAGIC, FORMAT_VERSION, *sections])


FAULT = section("fault", msgpack.packb({"invariant": "I1", "summary": "", "where": ""}))


@given(end=st.integers(0, len(WHOLE) - 1))
@settings(max_examples=300, deadline=None)
def test_a_cut_file_is_refused(end):
    assert peak_bytes_of_refusing(WHOLE[:end]) < FEW_MEGABYTES


@given(position=st.integers(0, len(WHOLE) - 1), bit=st.integers(0, 7))
@settings(max_examples=600, deadline=None)
def test_a_flipped_bit_is_refused(position, bit):
    damaged = bytearray(WHOLE)
    damaged[position] ^= 1 << bit
    assert peak_bytes_of_refusing(bytes(damaged)) < FEW_MEGABYTES


@given(noise=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
@example(noise=b"")
@example(noise=b"PK\x03\x04")
def test_noise_is_refused(noise):
    peak_bytes_of_refusing(noise)
    peak_bytes_of_refusing(WHOLE[:30] + noise)


@given(
    position=st.integers(0, len(WHOLE) - 6),
    header=st.sampled_from([b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"]),
)
@settings(max_examples=300, deadline=None)
def test_a_header_of_absurd_length_costs_nothing(position, header):
    damaged = WHOLE[:position] + header + b"\xff\xff\xff\xff" + WHOLE[position + 5 :]
    assert peak_bytes_of_refusing(damaged) < FEW_MEGABYTES


@pytest.mark.parametrize("lead", [b"\xdc\xff\xff", b"\xde\xff\xff", b"\x9f", b"\x8f\xa0"])
def test_headers_nested_a_thousand_deep_cost_nothing_even_under_a_right_checksum(lead):
    body = lead * 100_000
    assert peak_bytes_of_refusing(file_of(section("provenance", body))) < FEW_MEGABYTES


@given(body=st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
))  # fmt: skip
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("name", ["fault", "launch", "tables", "pools", "backend", "kv"])
def test_a_section_of_the_wrong_shape_is_refused_by_name(name, body):
    if name == "kv" and body == {}:
        return
    with pytest.raises(DumpError, match=name):
        decode(file_of(section(name, msgpack.packb(body))))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["int32", [2], "int32", 0, 1, b"\0" * 7], "more or fewer bytes"),
        (["int32", [1 << 40, 1 << 40], "int32", 0, 1, b""], "larger than any dump"),
        (["int32", [-1], "int32", 0, 1, b""], "not a size"),
        (["object", [1], "object", 0, 1, b"\0" * 8], "not known"),
        (["int8", [1], "uint8", 0, 1, b"\xff"], "does not fit"),
        (["int32", [1], "uint8", 0, 1 << 62, b"\xff"], "does not fit"),
        (["int32", [1], "uint8", 0, 2**64 - 1, b"\0"], "step"),
        (["float32", [1], "uint8", 0, 1, b"\xff"], "only integer arrays"),
        (["int32", [1] * 9, "int32", 0, 1, b"\0" * 4], "larger than any dump"),
        (["int32"], "is not"),
    ],
)  # fmt: skip
def test_an_array_that_lies_about_itself_is_refused(fields, reason):
    body = msgpack.packb({"k": msgpack.ExtType(1, msgpack.packb(fields))})
    with pytest.raises(DumpError, match=reason):
        decode(file_of(FAULT, section("kv", body)))


def test_a_key_that_occurs_twice_is_refused():
    body = b"\x82" + 2 * (msgpack.packb("gpu") + msgpack.packb("B200"))
    with pytest.raises(DumpError, match="twice"):
        decode(file_of(FAULT, section("provenance", body)))


def test_a_section_that_occurs_twice_is_refused():
    with pytest.raises(DumpError, match="section fault occurs twice"):
        decode(file_of(FAULT, FAULT))


def test_an_unknown_section_is_kept_unless_it_is_required():
    assert decode(file_of(FAULT, section("new", b"\x01", required=False))).extra == {"new": b"\x01"}
    with pytest.raises(DumpError, match="section new is needed"):
        decode(file_of(FAULT, section("new", b"\x01", required=True)))


@pytest.mark.parametrize("code", [0xFF, 0, 2, 127], ids=["timestamp", "0", "2", "127"])
@pytest.mark.parametrize("lead", [b"\xd7", b"\xc7\x08"], ids=["fixed", "sized"])
def test_an_extension_that_is_not_an_array_is_refused(lead, code):
    body = b"\x81\xa1x" + lead + bytes([code]) + b"\0" * 8
    with pytest.raises(DumpError, match="extension that is not an array"):
        decode(file_of(FAULT, section("provenance", body)))


def test_a_later_format_is_refused_in_one_plain_sentence():
    later = msgpack.packb([MAGIC, FORMAT_VERSION + 1, "whatever"])
    with pytest.raises(DumpError) as caught:
        decode(later)
    assert str(caught.value) == (
        f"this has dump format {FORMAT_VERSION + 1} and this triage reads format {FORMAT_VERSION}; "
        "a newer sglang-triage may read it"
    )


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "big.msgpack"
    with path.open("wb") as file:
        file.write(WHOLE)
        file.truncate(8 << 30)
    tracemalloc.start()
    with pytest.raises(DumpError, match="this reader accepts"):
        read_dump(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < FEW_MEGABYTES


def test_what_is_no_file_or_no_dump_is_named(tmp_path):
    with pytest.raises(DumpError, match="No such file"):
        read_dump(tmp_path / "absent")
    with pytest.raises(DumpError, match="is a folder"):
        read_dump(tmp_path)
    foreign = tmp_path / "model.pt"
    foreign.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(DumpError, match=r"torch\.save"):
        read_dump(foreign)


@pytest.mark.parametrize(
    ("field", "value"),
    [("page_size", 0), ("head_dim", 1 << 40), ("window_left", -7), ("num_pages", -1)],
)
def test_a_launch_of_absurd_sizes_is_refused(field, value):
    from dataclasses import replace

    dump = dumps.make_dump(dumps.SMALL)
    with pytest.raises(DumpError, match=f"launch: {field} = {value}"):
        encode(replace(dump, launch=replace(dump.launch, **{field: value})))


def test_a_batch_larger_than_any_table_is_refused_with_the_range():
    from dataclasses import replace

    dump = dumps.make_dump(dumps.SMALL)
    with pytest.raises(DumpError, match=rf"batch_size = -1 is outside \[0, {MAX_ROWS}\]"):
        encode(replace(dump, backend=replace(dump.backend, batch_size=-1)))
