"""The second round of 2026-11-30, no longer blind: told at its first wrong event, by default too.

The drivers are as their author wrote them. What the first play made of them stands in
docs/results/blind-2026-11-30b.md. Two are played quickly, all of them in the slow suite.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.lab.blind.test_round_2026_11_30 import HOST_MEMORY, play

ROUND = Path(__file__).parent / "round_2026_11_30b"

NAMED = {
    "chunk_not_admitted_cached": ("I16", "cached-not-allocated"),
    "chunk_skip_insert_leak": ("I7", "leak"),
    "decode_offload_overalloc_leak": ("I7", "leak"),
    "hicache_prefetch_double_release": ("I24", "host-page-released-twice"),
    "pure_swa_recaches_evicted": ("I7", "page-owned-twice"),
    "retract_lag_leak": ("I7", "leak"),
    "spec_alloc_len_not_recorded": ("I7", "allocation-not-recorded"),
    "swa_decode_half_alloc": ("I7", "failed-alloc-leak"),
    "triton_window_one_short": ("I12", "decode-window-short"),
}
"""Driver -> the invariant that answers, and the first cause that is named, by default."""
QUICK = ("spec_alloc_len_not_recorded", "triton_window_one_short")
BY_CHECKS = {
    "all": {"swa_decode_half_alloc": ("I7", "leak")},
    "default": {},
}
"""What answers first under one set of checks alone: with the ledger the pages are named."""


@pytest.mark.parametrize("checks", sorted(BY_CHECKS))
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow, id=name)
        for name in NAMED
    ],
)
def test_a_defect_is_told_at_its_first_wrong_event_by_name_and_the_corrected_tree_is_silent(
    name, checks, tmp_path
):
    if name.startswith("hicache") and psutil.virtual_memory().available < HOST_MEMORY:
        pytest.skip("SGLang makes no host pool where less than 10 GB of memory are free")
    row = play(tmp_path, ROUND / "defects" / f"{name}.py", checks)
    told = (row["result"], row["false_alarm"], row["own_errors"])
    assert told == ("first wrong event", "", 0), row
    answer = BY_CHECKS[checks].get(name, NAMED[name])
    assert (row["alarm"], row["named"][0]) == answer, row["answer"]


def test_every_driver_of_the_round_has_its_answer_here():
    assert set(NAMED) == {path.stem for path in (ROUND / "defects").glob("*.py")}
