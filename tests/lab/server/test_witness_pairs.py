"""What a witness costs, by two servers a side: what is compared, and a run that goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from triage.bench.pair_results import Result, Results
from triage.bench.witness_pairs import NAMES, markdown, shares


def played(turn: int, *tpot_ms: float, sides=NAMES) -> list[Result]:
    return [
        Result("E4B", side, "1x128x100", turn, each, 20.0, 1000 / each, ("same",))
        for side, each in zip(sides, tpot_ms, strict=False)
    ]


def test_what_servers_differ_by_is_told_beside_the_share_and_is_none_of_it():
    # GIVEN a machine that slows down, second servers 3 % slower, and a witness of 1 %
    found = [
        one
        for turn in range(6)
        for one in played(turn, *(each * (1 + turn) for each in (10.0, 10.1, 10.3, 10.403)))
    ]
    tpot, tokens = shares(found)
    assert (tpot.measure, tpot.turns) == ("tpot_ms", 6)
    assert [tpot.share, tpot.low, tpot.high] == pytest.approx([1.0] * 3)
    assert [tpot.off, tpot.on] == pytest.approx([3.0, 3.0])
    assert tokens.share == pytest.approx(-0.990, abs=1e-3)
    assert "| 1x128x100 | tpot | +1.00 % |" in markdown([tpot])


def test_a_turn_that_not_all_four_played_does_not_count():
    assert shares(played(0, 10.0, 11.0, 10.0)) == []
    (tpot, _) = shares([*played(0, 10.0, 11.0, 10.0), *played(1, 10.0, 12.0, 10.0, 12.0)])
    assert (tpot.turns, tpot.share) == (1, pytest.approx(20.0))


@pytest.mark.slow
def test_four_servers_are_loaded_in_turn_within_the_budget_and_a_later_run_goes_on(
    machine, tmp_path
):
    """GIVEN a server that needs 5 ms a token, and 6 ms with a witness
    WHEN it is measured twice THEN the table says a fifth more, by the turns of both runs."""
    out = tmp_path / "witness.jsonl"

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(sys.executable, "-m", "triage.bench.witness_pairs", "--small"),
                *("--load", "2x8x40", "--out", str(out), "--budget-s", "60"),
                *("--work", str(tmp_path / "work"), "--port", str(machine.port), *options),
            ],
            env=machine.environment,
            capture_output=True,
            text=True,
            timeout=150,
        )

    for turns in ("1", "3"):
        done = run("--turns", turns)
        assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "| tpot |" in line]
    assert 10 < float(row.split("|")[3].split()[0]) < 35
    assert row.endswith("| 3 |")
    starts = [json.loads(line) for line in out.read_text().splitlines() if "start_s" in line]
    assert {one["side"] for one in starts} == set(NAMES)
    assert machine.left() == []
    # AND what was measured otherwise is not mixed with it
    refused = run("--every", "5")
    assert refused.returncode == 2 and "--every 100" in refused.stderr
    assert Results(out).turns("E4B", "2x8x40", NAMES) == 3
