"""`triage fusions` on what Inductor wrote for real layers: read, counted, recognised, ranked.

`captures/{dense,moe,ple}` were written by `python -m triage.fusions.capture` at the models'
own widths, two layers each, 16 tokens; `cpp_dense` with `--target cpp --hidden 256`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.fusions.ranking import Ranking, rank
from triage.fusions.reader import CaptureError, read
from triage.fusions.sizes import count, number

CAPTURES = Path(__file__).with_name("captures")
H200 = Path(__file__).parents[2] / "docs/results/logs/fusions-h200"


def ranked(kind: str, captures: Path = CAPTURES) -> Ranking:
    return rank(read(captures / kind))


def invoke(*arguments: object):
    return CliRunner().invoke(main, ["fusions", *map(str, arguments)])


@pytest.mark.parametrize(
    ("kind", "patterns"),
    [
        ("moe", {"router", "post-attention-triple", "moe-tail", "attention-preamble"}),
        ("dense", {"layer-tail-next-norm", "norm-add-norm", "attention-preamble"}),
        ("ple", {"per-layer-gate", "layer-tail-next-norm", "attention-preamble"}),
        ("cpp_dense", {"layer-tail-next-norm", "norm-add-norm", "attention-preamble"}),
    ],
)
def test_every_pattern_of_a_layer_is_found_in_what_the_compiler_wrote(kind, patterns):
    ranking = ranked(kind)
    found = {row.pattern for row in ranking.patterns}
    assert patterns <= found
    assert "other" not in found
    assert ranking.layers == 2


PREAMBLE = "attention-preamble"


@pytest.mark.parametrize(
    ("kind", "patterns"),
    [
        ("dense", {PREAMBLE: 2, "norm-add-norm": 1, "layer-tail-next-norm": 0.5}),
        ("moe", {PREAMBLE: 2, "router": 1, "post-attention-triple": 1, "moe-tail": 1}),
        ("ple", {PREAMBLE: 2, "norm-add": 1, "per-layer-gate": 1, "layer-tail-next-norm": 0.5}),
    ],
)
def test_every_pattern_is_found_in_what_was_compiled_on_an_h200(kind, patterns):
    # GIVEN the code that Inductor wrote on the GPU: the norms before the router list its
    # softmax among their origins, an earlier residual sum is computed again in a later kernel
    ranking = ranked(kind, H200)
    found = {row.pattern: row.captured_launches for row in ranking.patterns}
    # THEN each stretch of the layer has its pattern, in its number of launches
    assert {name: found.get(name) for name in patterns} == patterns
    assert "other" not in found and ranking.layers == 2
    # AND the same patterns are found in what is written without one
    assert set(found) == {row.pattern for row in ranked(kind).patterns}


@pytest.mark.parametrize("kind", ["dense", "moe", "ple"])
def test_a_kernel_of_the_h200_touches_nothing_of_unknown_size(kind):
    assert not [row.kernel for row in ranked(kind, H200).kernels if row.unknown_arguments]


def test_a_damaged_archive_is_refused(tmp_path: Path):
    file = tmp_path / "output_code.py.xz"
    file.write_bytes((H200 / "dense/output_code.py.xz").read_bytes()[:5000])
    with pytest.raises(CaptureError, match=r"no whole \.xz file"):
        read(file)


def test_a_kernel_moves_the_bytes_of_its_tensors():
    # GIVEN the input norm of 16 rows of 2816 in bf16
    (norm,) = (row for row in ranked("moe").kernels if row.pattern == "norm")
    # THEN it reads the rows and the weight, and writes the rows
    assert norm.reads_bytes == 16 * 2816 * 2 + 2816 * 2
    assert norm.writes_bytes == 16 * 2816 * 2
    assert (norm.launches, norm.per_layer) == (1, 0.5)
    assert "aten.rsqrt" in norm.origins and norm.operations > 5


def test_launches_per_layer_and_matrix_products_are_counted():
    ranking = ranked("moe")
    rows = {row.pattern: row for row in ranking.patterns}
    assert rows["moe-tail"].captured_launches == rows["router"].captured_launches == 1
    assert rows["attention-preamble"].captured_launches == 5
    assert ranking.externs["extern_kernels.mm"] == 2 * 5


def test_what_saves_most_comes_first_and_a_launch_never_moves_more_than_the_chain():
    patterns = ranked("moe").patterns
    assert [p.saved_bytes for p in patterns] == sorted(p.saved_bytes for p in patterns)[::-1]
    assert patterns[0].pattern == "moe-tail" and patterns[0].saved_launches == 6
    for p in patterns:
        assert p.one_launch_bytes <= p.captured_bytes
        assert p.one_launch_bytes <= p.chain_bytes <= p.eager_bytes


def test_the_preamble_in_one_launch_saves_what_its_kernels_hand_to_each_other():
    (row,) = (r for r in ranked("moe").patterns if r.pattern == "attention-preamble")
    assert row.one_launch_bytes < row.captured_bytes / 2


def test_a_log_of_output_code_reads_as_the_file_does(tmp_path: Path):
    # GIVEN the code as TORCH_LOGS=output_code prints it
    text = (CAPTURES / "ple/output_code.py").read_text()
    prefix = "V1130 00:58:35.123000 77 torch/_inductor/graph.py:2104] [0/0] [__output_code] "
    log = tmp_path / "server.log"
    log.write_text("".join(prefix + line for line in text.splitlines(keepends=True)))
    assert rank(read(log)).patterns == ranked("ple").patterns


def test_a_debug_folder_is_read_file_by_file(tmp_path: Path):
    for number_, kind in enumerate(("dense", "moe")):
        folder = tmp_path / f"torchinductor/model__{number_}_inference_{number_}.0"
        folder.mkdir(parents=True)
        (folder / "output_code.py").write_text((CAPTURES / kind / "output_code.py").read_text())
        (folder / "fx_graph_readable.py").write_text("async_compile = 'not this'")
    ranking = rank(read(tmp_path))
    assert len(ranking.files) == 2 and ranking.layers == 4


def test_20_mb_take_less_than_5_seconds(tmp_path: Path):
    text = (CAPTURES / "moe/output_code.py").read_text()
    file = tmp_path / "output_code.py"
    file.write_text(text * (20_000_000 // len(text) + 1))
    began = time.process_time()
    ranking = rank(read(file))
    assert time.process_time() - began < 5
    assert ranking.layers > 100


def test_a_capture_is_never_run(tmp_path: Path):
    file = tmp_path / "output_code.py"
    file.write_text("from torch import async_compile\nraise SystemExit('run')\n")
    assert rank(read(file)).patterns == ()


def test_what_inductor_did_not_write_is_refused_with_how_to_make_some(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(CaptureError, match="TORCH_COMPILE_DEBUG=1"):
        read(tmp_path)
    run = invoke(tmp_path)
    assert run.exit_code == 2 and "holds no code of TorchInductor" in run.output


def test_table_json_and_page(tmp_path: Path):
    page = tmp_path / "page.html"
    run = invoke(CAPTURES / "moe", "--html", page)
    assert run.exit_code == 0, run.output
    assert "moe-tail" in run.output and "extern_kernels.mm" in run.output
    assert "<td>1622016</td>" in page.read_text()
    records = json.loads(invoke(CAPTURES / "moe", "--json").stdout)
    assert records["patterns"][0]["ours"] == "gemma_moe_layer_tail_next_norm"


def test_names_out_of_a_capture_are_escaped_in_the_page(tmp_path: Path):
    text = (CAPTURES / "moe/output_code.py").read_text()
    file = tmp_path / "output_code.py"
    file.write_text(text.replace("aten.rsqrt", "<script>alert(1)</script>"))
    page = tmp_path / "page.html"
    assert invoke(file, "--html", page).exit_code == 0
    assert "<script>alert" not in page.read_text()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16),
        ("8*s0", 128),
        ("s0 + 2", 18),
        ("-(-s1 // 2)", 8),
        ("9**9**9", None),
        ("__import__('os')", None),
        ("x" * 500, None),
        ("", None),
        ("1//0", None),
    ],
)
def test_a_size_is_arithmetic_and_nothing_else(text: str, value: int | None):
    assert number(text, 16) == value


def test_a_shape_of_unknown_size_is_unknown():
    assert count("s0, 256", 16) == 4096
    assert count("f(), 256", 16) is None


@pytest.mark.slow
def test_the_triton_code_of_a_gpu_is_written_without_one(tmp_path: Path):
    command = [sys.executable, "-m", "triage.fusions.capture", "--into", str(tmp_path)]
    options = ["--kind", "ple", "--hidden", "64", "--tokens", "4"]
    run = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    capture = read(tmp_path, tokens=4)
    assert {kernel.language for kernel in capture.kernels.values()} == {"triton"}
    assert "per-layer-gate" in {row.pattern for row in rank(capture).patterns}
