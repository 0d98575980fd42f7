"""What a decode step launches, told from the kernels' names and counts of a recorded trace.

The counts are those of SGLang 0.5.14 on an H200, 26B-A4B at its true dimensions, one row, graphs:
stock, and with every fused op. The file divides stock's by 16 steps, where there were 4.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from triage.bench import fused_table, launch_account, layer_launches
from triage.errors import LabError
from triage.lab.server import shapes

RECORDED = Path(__file__).parent / "data" / "launches-26B-A4B-h200.jsonl"
SHAPE = shapes.find("26B-A4B")
STAGE1 = "_fwd_grouped_kernel_stage1"


@pytest.fixture
def notes():
    return {note["side"]: note for note in map(json.loads, RECORDED.read_text().splitlines())}


@pytest.fixture
def counts(notes):
    """Of stock: name -> launches recorded."""
    kept = notes["stock"]["launches"]
    return {name: round(each * kept["steps"]) for name, (_, each) in kept["kernels"].items()}


def purpose(account, part):
    return {row.purpose for row in account.rows if part in row.name}


def test_steps_and_purposes_of_a_recorded_decode_on_both_sides(notes):
    stock, fused = (
        launch_account.stored(notes[side]["launches"], SHAPE) for side in ("stock", "fused")
    )
    assert stock.steps == fused.steps == 4
    assert stock.by_purpose == {
        "kernels": 10,
        "matrix products": 5,
        "split-K sums": 3,
        "attention": 2,
        "cache write": 1,
        "experts": 6,
        "outside the layers": 40.25,
    }
    # the fused side has one norm more, of the first layer's input, and no cache write of its own
    assert fused.by_purpose == {
        **stock.by_purpose,
        "kernels": pytest.approx(5 + 1 / 30),
        "cache write": 0,
    }


def test_norms_of_flashinfer_are_no_attention_and_the_last_one_is_of_no_layer(counts):
    found = launch_account.of(counts, SHAPE)
    assert purpose(found, "_gemma_qkv_rmsnorm_kernel") == {launch_account.KERNELS}
    assert purpose(found, "create_flashinfer_kv_indices") == {launch_account.OUTSIDE}
    norms = {row.purpose: row.a_step for row in found.rows if "::RMSNormKernel<" in row.name}
    assert norms == {launch_account.KERNELS: 120, launch_account.OUTSIDE: 1}


def test_of_two_activations_the_tanh_one_is_the_dense_blocks(counts):
    found = launch_account.of(counts, SHAPE)
    assert purpose(found, "ActivationKind)2") == {launch_account.KERNELS}
    assert purpose(found, "ActivationKind)1") == {launch_account.EXPERTS}
    # AND under one name one a layer is the experts'
    both = {name.replace("ActivationKind)1", "ActivationKind)2"): 0 for name in counts}
    for name, n in counts.items():
        both[name.replace("ActivationKind)1", "ActivationKind)2")] += n
    assert launch_account.of(both, SHAPE).by_purpose == found.by_purpose


def test_products_outside_the_layers_are_taken_out_also_under_a_layers_name(counts):
    # GIVEN a head whose product runs under the name of a layer's
    found = launch_account.of(counts, SHAPE)
    (head,) = [name for name in counts if name.startswith("nvjet_sm90_tst_256x8")]
    counts["nvjet_sm90_tst_64x8_64x16_4x1_v_bz_TNT"] += counts.pop(head)
    assert launch_account.of(counts, SHAPE).by_purpose == found.by_purpose


@pytest.mark.parametrize(
    ("part", "change", "why"),
    [
        (STAGE1, -1, "119 launches of decode attention are no whole steps of 30 layers"),
        (STAGE1, 30, "attention says 5 steps, softcap_inplace_logits_kernel.* says 4"),
        ("softcap", 1, "attention says 4 steps, softcap.* says 5"),
        ("_fwd_kernel_stage2", 2, "_fwd_kernel_stage2 .*122 times in 4 steps, .*not a whole"),
        ("_gemma4_routing_kernel", -1, "_gemma4_routing_kernel .*119 times in 4 steps"),
    ],
)
def test_counts_that_are_no_whole_steps_are_refused_with_the_reason(counts, part, change, why):
    (name,) = [name for name in counts if part in name]
    counts[name] += change
    with pytest.raises(LabError, match=why):
        launch_account.of(counts, SHAPE)


def test_another_number_of_layers_is_refused(counts):
    with pytest.raises(LabError, match="no whole steps of 35 layers"):
        launch_account.of(counts, shapes.find("E2B"))


def test_without_a_second_sign_the_steps_are_refused(counts):
    bare = {name: n for name, n in counts.items() if not ("softcap" in name or "ArgMax" in name)}
    with pytest.raises(LabError, match="4 steps, and no soft cap or arg max is there to confirm"):
        launch_account.of(bare, SHAPE)
    with pytest.raises(LabError, match=r"no decode step of Triton.*most seen: gemm"):
        launch_account.of({"gemm": 1}, SHAPE)


def test_raw_counts_and_older_notes_give_one_table(notes, counts):
    raw = {**notes["stock"], "launches": {"layers": 30, "counts": counts}}
    table = fused_table.launches_markdown([notes["stock"]])
    assert fused_table.launches_markdown([raw]) == table
    assert "| 26B-A4B | stock | 10.00 | 5.00 | 3.00 | 2.00 | 1.00 | 6.00 | 40.25 | 4 |" in table


def test_a_side_that_gives_no_account_has_its_reason_in_the_table(notes, counts):
    # GIVEN counts of a server of fewer layers than the shape has
    small = {**notes["stock"], "launches": {"layers": 12, "counts": counts}}
    silent = {"shape": "E2B", "side": "fused", "launches": None, "why": "the server said no"}
    table = fused_table.launches_markdown([small, silent])
    assert "| stock | not counted: attention says 10 steps, softcap" in table
    assert "| E2B | fused | not counted: the server said no |" in table


def test_what_is_no_trace_is_told(tmp_path):
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(LabError, match=r"t\.json is no trace"):
        layer_launches.read(tmp_path / "t.json")
