"""Slots, offsets and tables spoilt below SGLang's Triton, FlashInfer and FA3 backends."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main

KINDS = {"outside": "I1", "neighbour": "I2", "counted wrong": "I12", "short buffer": "I13"}


class Played(NamedTuple):
    mode: str
    answer: dict


@pytest.fixture(scope="module", params=["raise", "contain"])
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
            assert seen["left"] is (mode == "raise"), name


def test_the_explanation_names_the_cause_or_none(spoilt):
    mode, cases = spoilt
    if mode != "raise":
        pytest.skip("mode contain keeps no slots to explain")
    right = {"counted wrong": "a slot stream of another length", "short buffer": "a buffer of one"}
    for name, seen in cases.items():
        kind = name.split(", ")[1]
        told = CliRunner().invoke(main, ["explain", seen["dump"]]).output
        if kind in right:
            assert told.startswith(right[kind]), name
        elif kind == "neighbour":
            assert told.startswith("cause unknown"), name
        elif kind == "outside":  # below the window nothing visible is wrong
            assert told.startswith(("cause unknown", "nothing wrong")), name


def test_whose_hand_is_told_of_the_page_that_a_slot_lies_in(spoilt):
    mode, cases = spoilt
    if mode != "raise":
        pytest.skip("page histories are on in mode raise")
    seen = cases["triton, neighbour, full"]
    assert seen["pages"] and seen["value"] // seen["page size"] in seen["pages"]
    assert seen["value"] not in seen["pages"]


def test_a_row_too_narrow_for_a_drafts_last_step_is_told_before_the_kernel_packs_it(played):
    rows = played.answer["rows"]
    # GIVEN a buffer whose rows hold the requests and not the tokens of a draft's steps
    assert rows["narrow"]["trapped"] == ["I13", "TritonMultiStepDraftBackend.common_template"]
    # AND one that has room is silent to the end
    assert rows["wide"]["trapped"] is None
    assert rows["wide"]["launches"] > rows["narrow"]["launches"]
