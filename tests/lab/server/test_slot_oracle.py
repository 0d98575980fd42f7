"""The oracle of FlashInfer's slots: what it judges, and that it and the traps name one step."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main
from triage.lab.server.slot_oracle import Stream, judge


def stream(**other) -> Stream:
    """Two rows of 5 and 3 tokens in a window of 4, as SGLang packs them."""
    facts = {
        "indptr": np.array([0, 4, 7]),
        "indices": np.array([41, 42, 43, 44, 80, 81, 82]),
        "ends": np.array([5, 3]),
        "slots": np.array([[20, 21, 22, 23, 24], [60, 61, 62, 0, 0]]),
        "mapping": np.arange(100) + 20,
        "window": 4,
        "decodes": True,
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


def test_slots_of_the_dummy_page_are_nobodys():
    lost = np.zeros(100, dtype=np.int64)
    assert len(judge(stream(mapping=lost, indices=np.zeros(7, dtype=np.int64))).entries) == 7


def played(directory, mode: str, begins: int) -> dict:
    done = prepared.python("-m", "tests.lab.server.slots_child", directory, mode, begins)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_oracle_sees_nothing_in_a_sound_run_and_judges_every_forward(tmp_path):
    seen = played(tmp_path, "raise", 0)
    assert seen["first wrong"] is None and not seen["failures"] and not seen["trapped"]
    assert seen["tables"] == 2 * seen["steps"] > 20 and not seen["skipped"]


@pytest.mark.parametrize("mode", ["raise", "contain"])
def test_an_exchange_is_told_in_the_oracles_first_wrong_step_and_named(tmp_path, mode):
    seen = played(tmp_path, mode, 12)
    # GIVEN two requests of which each reads the other's newest slot, from some forward on
    assert seen["first wrong"] is not None and seen["space"] == "swa"
    # THEN the alarm is of that very forward
    assert seen["trapped"]["invariant"] == "I2"
    late = seen["trapped"]["step"] - seen["first wrong"]
    assert late == 0 if mode == "raise" else late <= 1, seen
    # AND the dump names it, though one of contain holds no slots
    told = CliRunner().invoke(main, ["explain", seen["trapped"]["dump"], "--json"]).output
    assert json.loads(told)["named"] == ["exchanged-pages"], told
