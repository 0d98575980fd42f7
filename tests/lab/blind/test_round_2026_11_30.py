"""The blind round of 2026-11-30, no longer blind: its defects are answered, and by their names.

The drivers are as their author wrote them, from SGLang's public fixes. What each first play
made of them stands in docs/results/blind-2026-11-30.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared

ROUND = Path(__file__).parent / "round_2026_11_30"

NAMED = {
    "chunk_row_given_away": ("I17", "row-left-while-running"),
    "hicache_split_backup": ("I24", "storage-backup-incomplete"),
    "pd_prebuilt_prefix_slots": ("I3", "prebuilt-slots"),
    "retract_keeps_swa_evicted": ("I15", "stale-eviction-frontier"),
    "swa_recover_frees_locked": ("I17", "locked-prefix-freed"),
}
"""Driver -> the invariant that answers, and the cause that is named."""


def play(directory: Path, names: list[str], version: str, checks: str) -> dict[str, dict]:
    """What the player says of each driver, by name."""
    request, results = directory / "request.json", directory / "results.jsonl"
    asked = {
        "files": [str(ROUND / "defects" / f"{name}.py") for name in names],
        "checks": [checks],
        "directory": str(directory / "dumps"),
        "results": str(results),
        "rehearse": False,
    }
    request.write_text(json.dumps(asked))
    done = prepared.python("-m", "triage.lab.blind.player", request, version=version, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["driver"]: row for row in rows}


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> dict[str, dict]:
    return play(tmp_path_factory.mktemp("round"), list(NAMED), "0.5.18", "all")


@pytest.mark.parametrize("name", NAMED)
def test_a_defect_is_answered_at_its_first_wrong_event_by_name_and_the_corrected_tree_is_silent(
    name, quick
):
    row = quick[name]
    assert (row["result"], row["false_alarm"], row["own_errors"]) == ("first wrong event", "", 0)
    assert (row["alarm"], row["named"]) == (NAMED[name][0], [NAMED[name][1]]), row["answer"]
