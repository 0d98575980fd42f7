"""Servers side by side: what is timed, what is compared, and a run that goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from triage.bench import server_pairs
from triage.bench.server_pairs import Load, Result, Results, Side
from triage.lab.server.ports import HIGHEST_PORT
from triage.lab.server.smoke.run import port_of


def made(side: str, turn: int, tpot_ms: float, outputs=("same",)) -> Result:
    return Result("E4B", side, "1x8x4", turn, tpot_ms, 20.0, 100.0, outputs)


def test_a_difference_is_that_of_one_turn_so_a_slow_while_is_slow_for_both():
    slow_while = [made(side, turn, cost * (1 + turn)) for turn in range(5)
                  for side, cost in (("off", 10.0), ("contain", 10.2))]  # fmt: skip
    (tpot, *_) = server_pairs.differences(slow_while)
    assert (tpot.side, tpot.measure, tpot.turns) == ("contain", "tpot_ms", 5)
    assert tpot.median == pytest.approx(2.0)
    assert (tpot.low, tpot.high) == (pytest.approx(2.0), pytest.approx(2.0))


def test_answers_that_differ_are_counted_and_a_turn_of_one_side_alone_is_not():
    found = [made("off", 0, 10.0, ("a", "b")), made("fused", 0, 9.0, ("a", "c"))]
    found.append(made("off", 1, 10.0))
    (tpot, *_) = server_pairs.differences(found)
    assert (tpot.turns, tpot.equal) == (1, 0.5)


def test_a_run_that_was_cut_off_goes_on_where_it_ended(tmp_path):
    results = Results(tmp_path / "pairs.jsonl")
    results.note({"side": "off", "start_s": 1.0})
    results.add(made("off", 0, 10.0))
    results.add(made("contain", 0, 10.0))
    results.add(made("off", 1, 10.0))
    again = Results(tmp_path / "pairs.jsonl")
    assert again.all == results.all
    assert again.turns("E4B", "1x8x4", ("off", "contain")) == 1


@pytest.mark.parametrize("text", ["32x128", "x1x1", "1x1x1*", "many"])
def test_a_load_says_how_it_is_written(text):
    with pytest.raises(Exception, match="CONCURRENCYxINPUTxOUTPUT"):
        Load.parse(text)


def test_a_side_is_a_name_and_its_variables():
    side = Side.parse("both:SGLANG_TRIAGE_FUSED=ple-tail+routing,SGLANG_TRTLLM_MHA_DEBUG=1")
    assert side.environment == {
        "SGLANG_TRIAGE_FUSED": "ple-tail,routing",
        "SGLANG_TRTLLM_MHA_DEBUG": "1",
    }
    with pytest.raises(Exception, match="NAME:VARIABLE=VALUE"):
        Side.parse("fused:SGLANG_TRIAGE_FUSED")


def test_two_servers_are_started_loaded_in_turn_and_stopped(machine, tmp_path):
    """GIVEN a server that needs 4 ms a token, and 5 ms with the traps on
    WHEN both sides are measured THEN the table says a quarter more, and nothing is left running."""
    out = tmp_path / "pairs.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "triage.bench.server_pairs", "E4B", "--small"),
            *("--side", "off", "--side", "default:SGLANG_TRTLLM_MHA_DEBUG=1"),
            *("--load", "2x8x40", "--turns", "2", "--out", str(out), "--budget-s", "60"),
            *("--work", str(tmp_path / "work"), "--port", str(machine.port)),
        ],
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if "| tpot |" in line]
    assert 10 < float(row.split("|")[6].split()[0]) < 40
    assert row.endswith("| 2 | 100% |")
    starts = [json.loads(line) for line in out.read_text().splitlines() if "start_s" in line]
    assert {one["side"] for one in starts} == {"off", "default"}
    assert machine.left() == []


def test_every_port_leaves_room_for_the_second_one_that_sglang_takes():
    for first in (1_024, 30_000, HIGHEST_PORT):
        for index in range(60):
            assert port_of(first, index) >= 1_024 and port_of(first, index) + 10_000 <= 65_535
