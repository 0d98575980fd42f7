"""Slots, offsets and tables spoilt below SGLang's Triton, FlashInfer and FA3 backends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main
from triage.dump.file import read_dump

KINDS = {"outside": "I1", "neighbour": "I2", "counted wrong": "I12", "short buffer": "I13"}


class Played(NamedTuple):
    mode: str
    answer: dict


@pytest.fixture(
    scope="module", params=["raise", "contain", pytest.param("log", marks=pytest.mark.slow)]
)
def played(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("dumps")
    done = prepared.python("-m", "tests.sglang.planted_slots_child", directory, request.param)
    assert done.returncode == 0, done.stderr[-2000:]
    return Played(request.param, json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def spoilt(played):
    """Each case of the child: what the trap said, in which mode."""
    return played.mode, played.answer["spoilt"]


def test_each_is_told_by_its_invariant_and_pool_before_anything_leaves_its_memory(spoilt):
    mode, cases = spoilt
    for name, seen in cases.items():
        backend, kind, space = name.split(", ")
        if kind == "length":  # against the batch's own lengths only mode `raise` judges
            assert seen["invariant"] == ("I12" if mode == "raise" else None), name
            continue
        assert seen["invariant"] == KINDS[kind], name
        assert seen["pool"] == ("swa" if space == "window" else "full"), name
        # THEN nothing reads past the pool: the launch was stopped, or given slot or page 0
        assert not seen["faulted"], name
        if backend != "fa3" and kind == "outside":
            assert seen["left"] is (mode != "contain"), name


def test_the_explanation_names_the_cause_or_none_in_every_mode_alike(spoilt):
    _, cases = spoilt
    right = {"counted wrong": "a slot stream of another length", "short buffer": "a buffer of one"}
    for name, seen in cases.items():
        kind = name.split(", ")[1]
        if kind == "length":  # no finding in `contain` and `log`
            continue
        told = CliRunner().invoke(main, ["explain", seen["dump"]]).output
        if kind in right:
            assert told.startswith(right[kind]), name
        elif kind in ("neighbour", "outside"):
            assert told.startswith("cause unknown"), name


def test_the_dump_of_a_finding_told_a_step_later_has_what_the_launch_read(spoilt):
    mode, cases = spoilt
    if mode == "raise":
        pytest.skip("mode raise stops the launch, nothing is read")
    for name, seen in cases.items():
        if seen["dump"] is None:
            assert name == "fa3, length, full"
            continue
        # GIVEN what the kernel was passed, row by row, as the lab's own oracle saw it
        dump = read_dump(Path(seen["dump"]))
        tables, rows = dump.tables, seen["read"]
        assert len(tables.page_table) == len(rows), name
        first = np.zeros(len(rows), int) if tables.stored_from is None else tables.stored_from
        # WHEN in `contain` what lies outside the pool is taken as what it was replaced by
        stored = [tables.page_table.row(row).copy() for row in range(len(rows))]
        if mode == "contain":
            for each in dump.fault.violations:
                if each.invariant == "I1":
                    stored[each.row][each.column] = 0
        # THEN the dump's table is that, from where it was recorded on
        for row, begin, read in zip(stored, first.tolist(), rows, strict=True):
            skipped = begin if name.startswith("fa3") else 0  # its tables begin at position 0
            kept, given = row[begin:].tolist(), read[skipped:]
            if "short buffer" in name:  # the offsets reach past it: nothing is there to be read
                given = given + [0] * (len(kept) - len(given))
            assert kept == given[: len(kept)] and kept, name


def test_whose_hand_is_told_of_the_page_that_a_slot_lies_in(spoilt):
    mode, cases = spoilt
    if mode != "raise":
        pytest.skip("page histories are on in mode raise")
    seen = cases["triton, neighbour, full"]
    assert seen["pages"] and seen["value"] // seen["page size"] in seen["pages"]
    assert seen["value"] not in seen["pages"]


def test_a_row_too_narrow_for_a_drafts_last_step_is_told_before_the_kernel_packs_it(played):
    if played.mode == "log":
        pytest.skip("mode log lets the kernel write past the row")
    rows = played.answer["rows"]
    # GIVEN a buffer whose rows hold the requests and not the tokens of a draft's steps
    assert rows["narrow"]["trapped"] == ["I13", "TritonMultiStepDraftBackend.common_template"]
    # AND one that has room is silent to the end
    assert rows["wide"]["trapped"] is None
    assert rows["wide"]["launches"] > rows["narrow"]["launches"]
