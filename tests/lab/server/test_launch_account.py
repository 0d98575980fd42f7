"""What a decode step launches, told from the kernels' names and counts of a recorded trace.

The counts are those of SGLang 0.5.14 on an H200, 26B-A4B and E2B at their true dimensions, one row,
graphs: stock, and with every fused op. The files divide stock's by 16 steps, where there were 4.
"""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner

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


def test_what_only_layers_that_share_keys_and_values_launch_is_the_layers():
    lines = RECORDED.with_name("launches-E2B-h200.jsonl").read_text().splitlines()
    stock, fused = (
        launch_account.stored(note["launches"], shapes.find("E2B"))
        for note in map(json.loads, lines)
    )
    # GIVEN zeros in place of a key, in the 20 of 35 layers that have none of their own
    assert purpose(stock, "FillFunctor<c10::BFloat16>") == {launch_account.KERNELS}
    assert stock.by_purpose["kernels"] == pytest.approx(13 + 20 / 35)
    assert stock.by_purpose["cache write"] == pytest.approx(15 / 35)
    # THEN what is outside the layers is the same where our preamble needs no such zeros
    assert fused.by_purpose["kernels"] == pytest.approx(6 + 1 / 35)
    for one in (launch_account.OUTSIDE, "matrix products", "attention"):
        assert stock.by_purpose[one] == fused.by_purpose[one]
    assert stock.by_purpose["matrix products"] == 6 and stock.steps == fused.steps == 4


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


def decode(steps, stray=-1):
    """Kernels of E2B's attention and products in order; `stray`: one more in that step."""
    shape = shapes.find("E2B")
    names = []
    for step in range(steps):
        for layer, kind in enumerate(shape.layer_types):
            own = layer < shape.layers - shape.kv_shared
            rope = f"fused_rope_kernel<{512 if kind == 'full_attention' else 256}l>"
            names += ["RMSNorm", "nvjet_qkv", rope, *["store_kvcache"] * own]
            names += [STAGE1, "_fwd_kernel_stage2", *["alloc_decode_kernel"] * (step == stray)]
        names += ["nvjet_head", "softcap_inplace_logits_kernel"]
    return names


def test_a_layers_kernels_are_told_in_the_order_they_ran_in():
    # GIVEN a scheduler's kernel that falls into every layer of one step
    found = layer_launches.periods(decode(3, stray=1), 35)
    # THEN kinds of layers are told apart by what follows their attention, the stray one left out
    follows = {period.kernels[2:]: period.layers for period in found}
    assert sum(map(len, follows.values())) == 34
    full = ("RMSNorm", "nvjet_qkv", "fused_rope_kernel<512l>")
    assert follows[*full, "store_kvcache"] == (3, 8, 13)
    assert follows[full] == (18, 23, 28, 33)
    # AND a cut step has none
    assert layer_launches.periods(decode(3)[9:], 35) == []


def test_what_is_kept_of_a_trace_gives_the_account_and_the_order():
    shape = shapes.find("E2B")
    kept = json.loads(json.dumps(layer_launches.kept(decode(4), shape.layers)))
    told = layer_launches.told(kept, shape)
    assert "4 steps; launches a layer" in told and "cache write 0.43" in told
    assert "from attention to attention, layers 18, 23, 28, 33:\n" in told
    assert told.splitlines()[-1].strip() in kept["counts"]


class Profiled(BaseHTTPRequestHandler):
    """Answers `/start_profile` as SGLang does: at once, the trace comes later."""

    asked: ClassVar[list] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_server_is_asked_for_decode_steps_and_its_trace_is_read_in_order(tmp_path):
    events = [{"cat": "kernel", "name": name, "ts": ts} for ts, name in enumerate("cab")]
    events += [{"cat": "cuda_runtime", "name": "cudaGraphLaunch", "ts": 0}]

    def load():
        text = json.dumps({"traceEvents": events[::-1]}).encode()
        (tmp_path / "1-TP-0-EXTEND.trace.json.gz").write_bytes(b"not read")
        (tmp_path / "1-TP-0-DECODE.trace.json.gz").write_bytes(gzip.compress(text))

    server = HTTPServer(("127.0.0.1", 0), Profiled)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    try:
        assert layer_launches.ask(server.server_port, tmp_path, load) == ["c", "a", "b"]
    finally:
        thread.join()
        server.server_close()
    ((path, wish),) = Profiled.asked
    assert path == "/start_profile" and wish["profile_by_stage"] and wish["num_steps"] == 4


def test_the_command_tells_of_results_and_wants_a_shape_beside_a_trace(tmp_path):
    done = CliRunner().invoke(layer_launches.main, [str(RECORDED)])
    assert done.exit_code == 0 and done.output.count("4 steps; launches a layer") == 2
    (tmp_path / "trace.json").write_text("{}")
    done = CliRunner().invoke(layer_launches.main, [str(tmp_path / "trace.json")])
    assert done.exit_code == 2 and "give --shape" in done.output


def test_what_is_no_trace_is_told(tmp_path):
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(LabError, match=r"t\.json is no trace"):
        layer_launches.read(tmp_path / "t.json")
