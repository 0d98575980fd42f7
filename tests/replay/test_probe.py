"""The probe, run on the emulator, finds the emulator's own footprint."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from triage.cli import main
from triage.errors import ReplayError
from triage.probe import ColumnProbe, Geometry, probe, reading

GEOMETRY = Geometry(length=1200, window=512, page_size=64, width=32)


def test_the_emulator_reads_its_may_set_and_nothing_else():
    found = probe("emulator", GEOMETRY, timeout_s=60)

    # oldest visible token 688; 256-token tiles begin at 512, the last one ends at 1280
    for each in found["columns"]:
        assert each["dereferenced"] == (512 // 64 <= each["column"] < 1280 // 64)
        assert (each["expected"] == "outside") != each["dereferenced"]
    assert "rounded down to 256" in found["reading"]
    json.dumps(found)


def answers(*columns: int) -> list[ColumnProbe]:
    return [ColumnProbe(column, "", column in columns, "") for column in range(32)]


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (range(10, 19), "rounded down to 64 or 128 tokens), ending at the last live page"),
        (range(8, 20), "rounded down to 256 tokens), ending at column 19, live to 18"),
        ((0, *range(10, 19)), "with gaps"),
        ((), "guard pages were not in place"),
    ],
)
def test_the_reading_names_the_rule_that_fits(columns, sentence):
    assert sentence in reading(answers(*columns), GEOMETRY)


@pytest.mark.parametrize(
    ("kernel", "geometry"),
    [
        ("triton", GEOMETRY),
        ("emulator", Geometry(width=0)),
        ("emulator", Geometry(width=10_000)),
        ("emulator", Geometry(length=1200, width=3)),
    ],
)
def test_what_cannot_be_probed_is_refused(kernel, geometry):
    with pytest.raises(ReplayError):
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
