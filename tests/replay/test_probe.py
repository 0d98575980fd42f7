"""The probe, run on the emulator, finds the emulator's own footprint."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from triage.cli import main
from triage.errors import ReplayError
from triage.replay.probe import FIRST_LAUNCH_S, ColumnProbe, Geometry, probe, reading

GEOMETRY = Geometry(length=1200, window=512, page_size=64, width=32)


def test_the_emulator_reads_its_may_set_and_nothing_else():
    found = probe("emulator", GEOMETRY, timeout_s=60)

    # oldest visible token 688; 256-token tiles begin at 512, the last one ends at 1280
    for each in found["columns"]:
        assert each["dereferenced"] == (512 // 64 <= each["column"] < 1280 // 64)
        assert (each["expected"] == "outside") != each["dereferenced"]
    assert "rounded down to 256" in found["reading"]
    json.dumps(found)
    # one launch for the 20 columns that no guess holds to be read, one for each of the others
    assert found["launches"] == 13


def test_columns_that_no_guess_foresaw_are_found_by_halving(monkeypatch):
    # GIVEN a kernel that reads columns 1 and 30 besides those of the row
    asked = []

    def launch(kernel, geometry, timeout_s, columns):
        asked.append((timeout_s, list(columns)))
        return bool({1, 30, *range(10, 19)} & set(columns)), ""

    monkeypatch.setattr("triage.replay.probe._launch", launch)
    # WHEN it is probed
    found = probe("emulator", GEOMETRY, timeout_s=60, jobs=3)
    # THEN every column has its answer, in fewer launches than columns
    read = [each["column"] for each in found["columns"] if each["dereferenced"]]
    assert read == [1, *range(10, 19), 30] and len(found["columns"]) == 32
    assert len(asked) == found["launches"] < 32
    # AND only the first launch, which builds the kernel, may take its time
    assert asked[0][0] == FIRST_LAUNCH_S and {limit for limit, _ in asked[1:]} == {60}


def test_a_launch_that_cannot_run_ends_the_probe(monkeypatch):
    monkeypatch.setattr("triage.replay.probe._launch", lambda *_: (None, "no such GPU"))

    found = probe("emulator", GEOMETRY, timeout_s=60)

    assert found["launches"] == 1
    assert found["reading"] == "could not be probed here: no such GPU"


def answers(*columns: int) -> list[ColumnProbe]:
    return [ColumnProbe(column, "", column in columns, "") for column in range(32)]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (range(10, 19), "rounded down to 64 or 128 tokens), ending at the last live page"),
        (range(8, 20), "rounded down to 256 tokens), ending at column 19, live to 18"),
        ((0, 1, *range(9, 19)), "columns 0 to 1 and 9 to 18 are dereferenced: from token 576"),
        ((0, 1, *range(9, 19)), "the tile of 96 tokens before its own, as FA3 does"),
        ((0, *range(7, 19)), "columns 0 and 7 to 18 are dereferenced: from token 448"),
        ((0, *range(7, 19)), "by no known rule"),
        ((), "guard pages were not in place"),
    ],
)
def test_the_reading_names_the_rule_that_fits(columns, sentence):
    assert sentence in reading(answers(*columns), GEOMETRY)


@pytest.mark.parametrize(
    ("kernel", "geometry", "said"),
    [
        ("triton", GEOMETRY, "never faults"),
        ("emulator", Geometry(width=0), r"width = 0 is outside \[1, 512\]"),
        ("emulator", Geometry(width=10_000), r"width = 10000 is outside \[1, 512\]"),
        ("emulator", Geometry(length=1, q_len=4), "length = 1 tokens leave no room for 4"),
        ("emulator", Geometry(length=1200, width=3), "1200 tokens do not fit 3 columns of 64"),
    ],
)
def test_what_cannot_be_probed_is_refused(kernel, geometry, said):
    with pytest.raises(ReplayError, match=said):
        probe(kernel, geometry, timeout_s=60)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_the_gpu_the_command_says_what_is_needed_and_exits_3(tmp_path):
    ran = CliRunner().invoke(main, ["probe", "-o", str(tmp_path / "probe.json")])

    assert ran.exit_code == 3
    assert "needs sm_100/103" in ran.output
    sent = json.loads((tmp_path / "probe.json").read_text())
    assert sent["kernel"] == "trtllm-gen"
    assert sent["machine"]["gpu"] == "none"
    assert sent["machine"]["torch"] == torch.__version__
    assert {"flashinfer-python", "kernel_set"} <= sent["machine"].keys()


def test_a_place_that_cannot_be_written_is_one_sentence():
    ran = CliRunner().invoke(main, ["probe", "--kernel", "emulator", "-o", "/proc/nowhere/x"])

    assert ran.exit_code == 2
    assert "Error: cannot write /proc/nowhere/x" in ran.output
