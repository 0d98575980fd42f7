"""What is written is what is read: every section, every element type, durably and small."""

from __future__ import annotations

import io
import stat
from dataclasses import fields, is_dataclass, replace

import msgpack
import numpy as np
import pytest

from tests import dumps_fixture as dumps
from triage.dump.dtypes import PLAIN, RAW_STORAGE, dtype_name, from_raw
from triage.dump.file import FORMAT_VERSION, MAGIC, decode, encode, read_dump, write_dump
from triage.dump.sections import Dump, Ragged, Tables
from triage.errors import DumpError
from triage.evidence import Evidence


def same(left, right) -> bool:
    """Deep equality in which arrays are equal if type, shape and every bit are."""
    if isinstance(left, np.ndarray):
        return (
            isinstance(right, np.ndarray)
            and dtype_name(left) == dtype_name(right)
            and left.shape == right.shape
            and left.tobytes() == right.tobytes()
        )
    if is_dataclass(left):
        return type(left) is type(right) and all(
            same(getattr(left, field.name), getattr(right, field.name)) for field in fields(left)
        )
    if isinstance(left, (tuple, list)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return left == right


@pytest.mark.parametrize("table", dumps.TABLE_KINDS)
def test_a_dump_reads_back_as_it_was_written(table, tmp_path):
    dump = dumps.make_dump(dumps.SMALL, table)

    path = write_dump(dump, tmp_path)

    assert same(read_dump(path), dump)


@pytest.mark.parametrize("name", [*RAW_STORAGE, *PLAIN])
@pytest.mark.parametrize("shape", [(2, 3, 4), (0, 5), (), (7,)], ids=str)
def test_every_element_type_keeps_every_bit(name, shape):
    rng = np.random.default_rng(1)
    storage = np.dtype(RAW_STORAGE.get(name) or PLAIN[name])
    count = int(np.prod(shape))
    raw = np.frombuffer(rng.bytes(count * storage.itemsize), dtype=storage).reshape(shape)
    if name == "bool":
        raw = rng.integers(0, 2, shape).astype(bool)
    array = np.asarray(from_raw(name, raw).reshape(shape) if name in RAW_STORAGE else raw)
    dump = Dump(fault=Evidence("I1", "", ""), kv={"k": array})

    restored = decode(encode(dump)).kv["k"]

    assert same(restored, array)


@pytest.mark.parametrize(
    "values",
    [
        [0, 64, 128],
        [7],
        [-5, 59, 123],
        [np.iinfo(np.int64).min, np.iinfo(np.int64).max],
        [2**40, 2**40 + 1],
        [3, 3, 3],
        [64] * 5000 + [65],
    ],
    ids=["page starts", "one", "negative", "whole range", "far", "constant", "late odd one"],
)
def test_narrowed_integers_are_exact(values):
    array = np.array(values, dtype=np.int64)
    assert same(decode(encode(Dump(fault=Evidence("I1", "", ""), kv={"k": array}))).kv["k"], array)


def test_views_are_stored_by_value_whatever_their_strides():
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    dump = Dump(fault=Evidence("I1", "", ""), kv={"t": base.T[::2], "big": base.astype(">f4")})

    restored = decode(encode(dump)).kv

    assert np.array_equal(restored["t"], base.T[::2])
    assert np.array_equal(restored["big"], base)


def test_the_file_is_msgpack_as_a_whole_and_begins_with_magic_and_version():
    outer = msgpack.unpackb(encode(dumps.make_dump(dumps.SMALL)))

    assert outer[:2] == [MAGIC, FORMAT_VERSION]
    assert {section[0] for section in outer[2:]} >= {"fault", "launch", "tables", "pools"}


def test_of_an_object_with_no_place_in_a_dump_its_class_is_kept_and_never_its_text():
    class Odd:
        def __repr__(self) -> str:
            return "odd" * 200

    facts = {"layout": Odd(), "pages": np.int64(3), "path": ("a", 1), "huge": 1 << 80}
    restored = decode(encode(Dump(fault=Evidence("I1", "", "", facts=facts)))).fault.facts

    assert restored["layout"] == "<Odd>"
    assert restored["pages"] == 3
    assert restored["path"] == ["a", 1]
    assert restored["huge"] == str(1 << 80)


def test_a_section_from_a_later_writer_survives_reading_and_rewriting():
    dump = replace(dumps.make_dump(dumps.SMALL), extra={"weather": b"\x01\x02"})

    restored = decode(encode(decode(encode(dump))))

    assert restored.extra == {"weather": b"\x01\x02"}


def test_the_newest_launches_of_a_long_history_are_kept():
    history = tuple({"launch_id": index} for index in range(5000))

    restored = decode(encode(Dump(fault=Evidence("I1", "", ""), history=history)))

    assert restored.history[-1] == {"launch_id": 4999}
    assert len(restored.history) == 1024


def test_a_history_of_large_entries_is_cut_rather_than_the_dump_lost():
    history = tuple({"launch_id": each, "rows": list(range(200))} for each in range(1000))

    restored = decode(encode(Dump(fault=Evidence("I1", "", ""), history=history)))

    assert restored.history[-1]["launch_id"] == 999
    assert 100 < len(restored.history) < 1000


def test_the_file_is_private_and_nothing_else_is_left_behind(tmp_path):
    directory = tmp_path / "new" / "dumps"

    first = write_dump(dumps.make_dump(dumps.SMALL), directory)
    second = write_dump(dumps.make_dump(dumps.SMALL), directory)

    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert sorted(directory.iterdir()) == sorted([first, second])


def test_a_directory_that_cannot_be_written_is_a_dump_error_with_the_reason(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")

    with pytest.raises(DumpError, match=r"cannot write a dump into .*file"):
        write_dump(dumps.make_dump(dumps.SMALL), blocked)


def test_a_full_disk_leaves_no_partial_file(tmp_path, monkeypatch):
    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("triage.dump.file.os.fsync", no_space)

    with pytest.raises(DumpError, match="No space left on device"):
        write_dump(dumps.make_dump(dumps.SMALL), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("offsets", [[0, 9, 3, 4, 4], [0, 1], list(range(20))])
def test_wrong_query_offsets_do_not_cost_the_dump(offsets):
    dump = dumps.make_dump(dumps.SMALL)
    offsets = np.array(offsets, dtype=np.int64)
    dump = replace(dump, launch=replace(dump.launch, q_len_per_req=0, cum_seq_lens_q=offsets))

    assert same(decode(encode(dump)), dump)


def test_tables_that_contradict_each_other_are_refused_when_written():
    ragged = Ragged(np.arange(3, dtype=np.int32), np.array([0, 2, 9]))
    tables = Tables(ragged, np.array([1, 2], dtype=np.int32))

    with pytest.raises(DumpError, match="page_table does not have one slice for each of 2 rows"):
        encode(Dump(fault=Evidence("I1", "", ""), tables=tables))


def test_the_e4b_dump_is_at_most_half_of_what_torch_would_save():
    torch = pytest.importorskip("torch")
    sizes = dumps.E4B
    context_slots = sizes.longest + 4
    full_width = {
        "page_table": torch.zeros(sizes.rows, sizes.longest // sizes.page_size, dtype=torch.int32),
        "cache_seqlens": torch.zeros(sizes.rows, dtype=torch.int32),
        "req_to_token": torch.zeros(sizes.rows, context_slots, dtype=torch.int32),
        "mapping": torch.zeros(sizes.rows, context_slots, dtype=torch.int32),
    }
    saved = io.BytesIO()
    torch.save(full_width, saved)

    assert len(encode(dumps.make_dump())) <= saved.tell() / 2
