"""The oracle of packed slots: what it judges, and that it and the traps name one step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests import prepared
from triage.cli import main
from triage.dump.file import read_dump
from triage.lab import versions
from triage.lab.server.late import Lines
from triage.lab.server.slot_oracle import Stream, _Copy, judge
from triage.lab.server.slot_plans import Plan


def stream(**other) -> Stream:
    """Two rows of 5 and 3 tokens in a window of 4, as SGLang packs them."""
    facts = {
        "indptr": np.array([0, 4, 7]),
        "indices": np.array([41, 42, 43, 44, 80, 81, 82]),
        "ends": np.array([5, 3]),
        "slots": np.array([[20, 21, 22, 23, 24], [60, 61, 62, 0, 0]]),
        "mapping": np.arange(100) + 20,
        "window": 4,
        "counted": True,
    }
    return Stream(**(facts | other))


def test_slots_that_the_mapping_names_are_sound():
    assert not judge(stream())


def test_another_slot_is_told_with_its_position():
    wrong = np.array([41, 42, 43, 82, 80, 81, 44])
    assert judge(stream(indices=wrong)).entries == [(0, 4, 82, 44), (1, 2, 44, 82)]


def test_a_row_of_another_length_is_told():
    short = stream(indptr=np.array([0, 3, 6]), indices=np.array([42, 43, 44, 80, 81, 82]))
    assert judge(short).entries == [(0, -1, 3, 4)]


def test_a_window_that_lacks_its_oldest_slot_is_sound_where_that_is_spared_and_no_shorter_one():
    # GIVEN a decode through Triton as released: a window of 4 is cut to 3, a row of 3 is whole
    released = {"indptr": np.array([0, 3, 6]), "indices": np.array([42, 43, 44, 80, 81, 82])}
    assert not judge(stream(**released, spare=1))
    # AND a backend in which that is corrected
    assert not judge(stream(spare=1))
    # WHEN the window lacks two slots, or a row that it does not cut lacks one
    shorter = stream(indptr=np.array([0, 2, 4]), indices=np.array([43, 44, 81, 82]), spare=1)
    assert judge(shorter).entries == [(0, -1, 2, 4), (1, -1, 2, 3)]


def test_a_row_without_tokens_is_sound_and_one_that_has_a_slot_too_many_is_told():
    none = stream(indptr=np.array([0, 0, 3]), indices=np.array([80, 81, 82]), ends=np.array([0, 3]))
    assert not judge(none)
    more = stream(indptr=np.array([0, 1, 4]), indices=np.array([9, 80, 81, 82]), ends=[0, 3])
    assert judge(more).entries == [(0, -1, 1, 0)]


def test_slots_that_the_books_had_at_the_launch_are_no_fault_of_the_launch():
    # GIVEN a row that moved to other slots while its launch waited, as under overlap scheduling
    moved = torch.tensor([[20, 21, 22, 23, 24], [70, 71, 72, 0, 0]])
    before = torch.tensor([[20, 21, 22, 23, 24], [60, 61, 62, 0, 0]])
    indptr, ends = torch.tensor([0, 5, 8]), torch.tensor([5, 3])
    indices = torch.tensor([20, 21, 22, 23, 24, 60, 61, 62])
    plan = Plan("full", -1, indptr, indices, ends, counted=True)

    def copied(at_launch: tuple | None, indices: torch.Tensor = indices) -> _Copy:
        return _Copy(
            "target", False, plan, indptr, indices, ends, (moved, None), at_launch, done=None
        )

    assert len(copied(None).judged().entries) == 3
    assert not copied((before, None)).judged()
    # WHEN a slot is neither's THEN that one is told
    foreign = indices.clone()
    foreign[6] = 33
    assert copied((before, None), foreign).judged().entries == [(1, 1, 33, 71)]


def test_slots_of_the_dummy_page_are_nobodys():
    lost = np.zeros(100, dtype=np.int64)
    assert len(judge(stream(mapping=lost, indices=np.zeros(7, dtype=np.int64))).entries) == 7


REAL = "0.5.14"
"""The release of the real servers."""


def played(directory, mode: str, begins: int, backend: str, form: str, release: str | None) -> dict:
    if release and release not in versions.available():
        pytest.skip(f"SGLang {release} is not unpacked beside the installed one")
    child = "tests.lab.server.slots_child"
    done = prepared.python("-m", child, directory, mode, begins, backend, form, version=release)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("backend", "form", "mode", "release"),
    [
        ("flashinfer", "eager", "raise", None),
        ("triton", "eager", "raise", None),
        ("triton", "graph", "contain", None),
        ("triton", "graph", "contain", REAL),
    ],
)
def test_the_oracle_sees_nothing_in_a_sound_run_and_judges_every_forward(
    tmp_path, backend, form, mode, release
):
    seen = played(tmp_path, mode, 0, backend, form, release)
    assert seen["first wrong"] is None and not seen["failures"]
    assert seen["tables"] == 2 * seen["steps"] > 20 and not seen["skipped"]
    # AND no trap tells anything but that a decode through Triton lacks a slot, as released
    assert not seen["trapped"] and not seen["dumps"]
    assert seen["others"] == (["I12"] if backend == "triton" else [])


@pytest.mark.parametrize(
    ("backend", "form", "mode", "release"),
    [
        ("flashinfer", "eager", "raise", None),
        ("flashinfer", "eager", "contain", None),
        ("triton", "eager", "raise", None),
        ("triton", "eager", "contain", None),
        ("triton", "graph", "contain", None),
        ("triton", "graph", "log", None),
        ("triton", "graph", "contain", REAL),
    ],
)
def test_an_exchange_is_told_in_the_oracles_first_wrong_step_and_named(
    tmp_path, backend, form, mode, release
):
    seen = played(tmp_path, mode, 12, backend, form, release)
    # GIVEN two requests of which each reads the other's newest slot, from some forward on
    assert seen["first wrong"] == 12 and seen["space"] == "swa" and not seen["failures"]
    assert seen["form"] == ("captured" if form == "graph" else "eager")
    # THEN the alarm is of that very forward; `log` writes its dump when the step is over
    if mode == "log":
        assert not seen["trapped"] and seen["steps"] > 20
        ((path, step),) = seen["dumps"].items()
    else:
        assert seen["trapped"]["invariant"] == "I2"
        path, step = seen["trapped"]["dump"], seen["trapped"]["step"]
    late = step - seen["first wrong"]
    assert late == 0 if mode == "raise" else late <= 1, seen
    # AND the dump has the slot that the oracle saw the launch read, and names the exchange
    dump = read_dump(path)
    wrong = next(line for line in Lines.read(tmp_path / "oracle.jsonl") if line["kind"] == "wrong")
    example = wrong["example"]
    assert dump.fault.forward_mode == "DECODE" and wrong["entries"] == 2
    assert dump.tables.page_table.row(example["row"])[example["column"]] == example["id"]
    told = CliRunner().invoke(main, ["explain", path, "--json"]).output
    assert json.loads(told)["named"] == ["exchanged-pages"], told
    # AND what a server in `contain` leaves can be computed again, by two kernels
    for kernel in ("eager", "triton") if (mode, form) == ("contain", "graph") else ():
        told = CliRunner().invoke(main, ["replay", path, "--kernel", kernel])
        assert told.exit_code == 1 and "REPRODUCED" in told.output, told.output
        assert "wrong in 2 of" in told.output
