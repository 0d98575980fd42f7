"""The lab's caches are eight numbers wide; no GPU kernel is."""

from __future__ import annotations

from pathlib import Path

from triage.dump.file import read_dump
from triage.replay.flashinfer_kernels import with_served_head_dim

DUMPS = Path(__file__).resolve().parents[2] / "dumps"


def test_a_lab_dump_is_widened_and_says_so_and_keeps_its_addresses():
    dump = read_dump(DUMPS / "smoke_stale_swa_state.msgpack")
    wide, sentence = with_served_head_dim(dump)
    assert wide.launch is not None and dump.launch is not None
    assert (dump.launch.head_dim, wide.launch.head_dim) == (8, 64)
    assert "8" in sentence and "64" in sentence and "synthesised" in sentence
    assert wide.tables is dump.tables and wide.launch.num_pages == dump.launch.num_pages


def test_a_served_width_is_left_alone():
    dump, _ = with_served_head_dim(read_dump(DUMPS / "smoke_stale_swa_state.msgpack"))
    assert with_served_head_dim(dump) == (dump, "")
