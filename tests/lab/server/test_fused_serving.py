"""Fused ops on servers: what is served, what is compared, what a table says of what is missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from triage.bench import fused_serving, fused_table
from triage.bench.pair_results import Agreement, Result, Results
from triage.lab.server import shapes
from triage.sglang.fixes import fused_measured
from triage.sglang.fixes.fused import OPS

ONE = "1x100x128"
"""Workload C in its short form, one by one."""


def made(side, turn, tpot_ms, agreement=None):
    return Result("E2B", side, ONE, turn, tpot_ms, 20.0, 100.0, ("a",), 1.0, agreement)


def test_answers_are_compared_token_by_token():
    # GIVEN one equal answer, and one that differs from its third token on
    found = Agreement.of([(1, 2, 3, 4), (5, 6, 0, 0)], [(1, 2, 3, 4), (5, 6, 7, 8)])
    assert found == Agreement(answers=2, differ=1, equal=0.75, first=2, median_first=2)
    assert Agreement.of([(1,)], [(1,)]) == Agreement(1, 0, 1.0, None, None)


def test_an_agreement_is_read_back_from_its_line(tmp_path):
    results = Results(tmp_path / "r.jsonl")
    results.add(made("fused", 0, 9.0, Agreement(2, 1, 0.75, 2, 2.0)))
    assert Results(tmp_path / "r.jsonl").all == results.all


def test_a_workload_of_which_nothing_is_recorded_says_so_in_the_table():
    pairs = [made("stock", 0, 10.0), made("fused", 0, 9.0, Agreement(2, 1, 0.75, 2, 2.0))]
    rows = fused_table.markdown(pairs, fused_serving.named_loads()).splitlines()
    (c,) = [row for row in rows if row.startswith("| E2B | C ")]
    assert "| C (100/128, short) | one by one | fused | 10.00 ms | -10.00 % |" in c
    assert c.endswith("| 75.0 % | 2 | 1 |")
    missing = [row for row in rows if fused_table.NOT_MEASURED in row]
    assert len(missing) == 4 * 5 - 1


def test_no_two_workloads_of_a_shape_have_the_same_load():
    """The results know a load by its lengths alone."""
    named = [(one.shape, one.load) for one in fused_serving.named_loads()]
    assert len(set(named)) == len(named)


def test_the_results_are_drawn_with_or_without_any():
    pairs = [made("stock", 0, 10.0), made("fused", 0, 9.0)]
    for results in ([], pairs):
        picture = fused_table.draw(results, fused_serving.named_loads(), ".png")
        assert picture.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto", "auto"),
        ("routing+moe-tail", "routing,moe-tail"),
        ("fused+pdl", ",".join((*OPS, "pdl"))),
        ("stock", None),
    ],
)
def test_a_side_is_called_by_its_ops(name, value):
    assert fused_serving.side_of(name).environment.get("SGLANG_TRIAGE_FUSED") == value
    with pytest.raises(Exception, match="no side warp; known: stock, fused, auto, pdl, post-attn"):
        fused_serving.side_of("warp")


def test_stock_and_fused_are_served_and_a_side_that_does_not_start_is_left_out(machine, tmp_path):
    """GIVEN a server that ends while it starts with `auto`
    WHEN three sides are measured
    THEN stock and the other are compared, why the third is missing is kept, and nothing runs."""
    out = tmp_path / "fused.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "triage.bench.fused_serving", "E2B", "--small"),
            *("--workload", "C", "--turns", "1", "--out", str(out), "--budget-s", "60"),
            *("--port", str(machine.port), "--side", "stock", "--side", "fused"),
            *("--side", "auto"),
        ],
        env={**machine.environment, "FAKE_SERVER": "alone", "SGLANG_TRIAGE_FUSED": "routing"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    (failed,) = [line for line in lines if "failed" in line]
    assert failed["side"] == "auto" and "Attempted to call function" in failed["failed"]
    # AND launches that could not be counted leave a reason
    (why, _) = [line["why"] for line in lines if "launches" in line]
    assert "records no trace" in why
    # AND the variable of the shell reaches no side
    logs = {line["side"]: line["log"] for line in lines if "log" in line}
    assert logs["stock"] == [] and logs["fused"] == ["sglang-triage fused op ple-tail: in use"]
    row = next(line for line in done.stdout.splitlines() if line.startswith("| E2B | C "))
    assert "| at once | fused |" in row and row.endswith("| 99.2 % | 127 | 1 |")
    assert machine.left() == []


def test_what_was_measured_three_times_is_what_auto_goes_by(tmp_path):
    results = Results(tmp_path / "r.jsonl")
    results.note({"shape": "E2B", "gpu": "NVIDIA H200", "sglang": "0.5.14", "mtp": False})
    for turn in range(3):
        results.add(made("stock", turn, 10.0))
        results.add(made("fused", turn, 9.0))
        results.add(made("ple-tail", turn, 10.1))
    results.add(Result("E2B", "stock", "1x3000x48", 0, 1.0, 1.0, 1.0, ("a",)))
    results.add(Result("E2B", "fused", "1x3000x48", 0, 2.0, 1.0, 1.0, ("a",)))
    found = [fused_measured.Measured.read(one) for one in fused_serving.measurements(results.path)]
    assert [sorted(one.ops) for one in found] == [
        ["attention-preamble", "ple-tail", "ple-tail-next-norm", "post-attn-norms"],
        ["ple-tail"],
    ]
    assert [list(one.loads) for one in found] == [[ONE], [ONE]]
    taken = fused_measured.taken(found, "0.5.14", "NVIDIA H200")
    assert taken == {"attention-preamble", "ple-tail-next-norm", "post-attn-norms"}


def test_every_op_has_a_place_in_some_shape():
    shown = [fused_serving.places(shape) for shape in shapes.SHAPES.values()]
    assert frozenset().union(*shown) == set(OPS)
