"""Exported files are run as their reader would run them."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import dumps_fixture as dumps
from tests import prepared
from tests.explain.test_explain import CASES
from triage.cli import main
from triage.dump.file import write_dump
from triage.errors import ReplayError
from triage.export import FORMATS, export, write_export


def python(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with nothing of ours on its path."""
    keep = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**keep, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def e4b():
    return dumps.make_dump()


def exported(dump, kind, path, **options) -> Path:
    write_export(export(dump, kind, **options), path)
    return path


@pytest.mark.parametrize("whole", [False, True], ids=["minimised", "whole"])
def test_the_pytest_file_fails_as_recorded_and_passes_rebuilt(tmp_path, whole):
    path = exported(
        dumps.make_dump(dumps.SMALL), "pytest", tmp_path / "test_case.py", shrink=not whole
    )
    run = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", path)

    before, after = python(*run, cwd=tmp_path), python(*run, cwd=tmp_path, TABLE="rebuilt")

    assert before.returncode == 1 and "2 failed, 1 passed" in before.stdout
    assert after.returncode == 0, after.stdout


def test_the_script_exits_1_as_recorded_and_0_rebuilt(tmp_path, e4b):
    path = exported(e4b, "script", tmp_path / "case.py")

    before, after = python(path, cwd=tmp_path), python(path, "--rebuilt", cwd=tmp_path)

    assert (before.returncode, before.stderr) == (1, "")
    assert "= 10742 is outside [1, 8658)" in before.stdout
    assert (after.returncode, after.stderr) == (0, "")


@pytest.mark.parametrize("key", ["misread-table", "narrow-table", "slots-as-pages"])
def test_other_classes_fail_and_pass_too(tmp_path, key):
    path = exported(CASES[key][0](), "script", tmp_path / "case.py")

    assert python(path, cwd=tmp_path).returncode == 1
    assert python(path, "--rebuilt", cwd=tmp_path).returncode == 0


def test_a_fault_that_no_table_cures_says_so(tmp_path):
    path = exported(CASES["freed-page"][0](), "script", tmp_path / "case.py")

    assert "rebuilding the table does not cure this one" in path.read_text()
    assert python(path, "--rebuilt", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "kind", ["pytest", "script", "sglang-test", "sglang-tree", "flashinfer-tree"]
)
def test_hostile_text_of_a_dump_stays_text(kind):
    evil = 'x"""\nimport os; os.system("id")\n\'\'\'\\'
    dump = dumps.make_dump(dumps.SMALL)
    dump = replace(
        dump,
        fault=replace(dump.fault, summary=evil, where=evil, pool=evil),
        launch=replace(dump.launch, api=evil, kv_layout=evil),
    )

    (content,) = export(dump, kind).values()
    source = content.decode()

    calls = {node.func.attr for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}  # fmt: skip
    assert "system" not in calls


def needs_sglang() -> None:
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed here")


def test_the_sglang_test_runs_by_itself_on_a_cpu(tmp_path, e4b):
    # GIVEN the file alone, in an environment with SGLang and nothing of ours to prepare it
    needs_sglang()
    path = exported(e4b, "sglang-test", tmp_path / "test_swa.py")
    # WHEN it is run as its first lines say
    after = python(path, cwd=tmp_path)
    before = prepared.python(path, cwd=tmp_path, env={"TABLE": "recorded"})
    # THEN it passes on SGLang's own translation and fails on the recorded table
    assert after.returncode == 0, after.stderr
    assert before.returncode == 1 and "FAILED (failures=2)" in before.stderr


def test_the_export_into_sglangs_tree_is_found_and_run_there(tmp_path, e4b):
    needs_sglang()
    (path,) = write_export(export(e4b, "sglang-tree"), tmp_path)
    assert path.relative_to(tmp_path).parts[:4] == ("test", "registered", "unit", "mem_cache")
    # GIVEN SGLang's own reader of what a test file registers
    ask = (
        "import sys; from sglang.test.ci.ci_register import ut_parse_one_file; "
        "print([(r.backend.name, r.effective_suite) for r in ut_parse_one_file(sys.argv[1])[0]])"
    )
    registered = python("-c", WITH_CI + ask, path, cwd=tmp_path)
    assert "('CPU', 'base-a-test-cpu')" in registered.stdout, registered.stderr
    # THEN it runs from the checkout's root, as its CI calls it
    ran = prepared.python(path, cwd=tmp_path)
    assert ran.returncode == 0 and "Ran 2 tests" in ran.stderr, ran.stderr


WITH_CI = """
import importlib.util, sys
spec = importlib.util.find_spec("sglang")
path = spec.submodule_search_locations[0] + "/test/ci/ci_register.py"
spec = importlib.util.spec_from_file_location("sglang.test.ci.ci_register", path)
module = importlib.util.module_from_spec(spec); sys.modules[spec.name] = module
spec.loader.exec_module(module)
"""
"""SGLang's reader of registrations without the package around it, which looks for a GPU."""

STAND_IN = """
import torch

def trtllm_batch_decode_with_kv_cache(query, kv_cache, workspace_buffer, block_tables, seq_lens,
                                      max_seq_len, bmm1_scale, bmm2_scale, window_left,
                                      q_len_per_req, kv_layout):
    assert kv_layout == "HND" and block_tables.dtype == seq_lens.dtype == torch.int32
    keys, values = kv_cache
    rows, heads, dim = len(seq_lens), query.shape[1], query.shape[2]
    out = torch.empty_like(query)
    for row, length in enumerate(seq_lens.tolist()):
        position = torch.arange(length)
        ids = block_tables[row, position // keys.shape[2]].long()
        k, v = (t[ids, :, position % keys.shape[2]].float() for t in (keys, values))
        k, v = (t.repeat_interleave(heads // keys.shape[1], 1) for t in (k, v))
        for j in range(q_len_per_req):
            at = row * q_len_per_req + j
            here = length - q_len_per_req + j
            seen = (position <= here) & ((here - position <= window_left) | (window_left < 0))
            logits = torch.einsum("hd,thd->ht", query[at].float(), k) * bmm1_scale
            logits = logits.masked_fill(~seen, float("-inf")).softmax(-1)
            out[at] = torch.einsum("ht,thd->hd", logits, v).to(out.dtype) * bmm2_scale
    return out * FACTOR
"""
"""The kernel's contract in torch, for a machine without it; FACTOR spoils it."""


@pytest.mark.parametrize(("factor", "returncode"), [("1", 0), ("1.5", 1)])
def test_the_export_into_flashinfers_tree_runs_there(tmp_path, factor, returncode):
    # GIVEN a launch whose recorded table stays inside the cache, and a stand-in of the kernel
    dump = dumps.make_dump(replace(dumps.SMALL, head_dim=64), "divided twice")
    (path,) = write_export(export(dump, "flashinfer-tree"), tmp_path)
    assert path.relative_to(tmp_path).parts[:2] == ("tests", "attention")
    package = tmp_path / "stand_in" / "flashinfer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "decode.py").write_text(STAND_IN.replace("FACTOR", factor))
    run = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", path)
    # WHEN the test is run in FlashInfer's layout
    ran = python(*run, cwd=tmp_path, DEVICE="cpu", PYTHONPATH=str(package.parent))
    # THEN it compares the kernel with plain attention, and a spoiled kernel fails it
    assert ran.returncode == returncode, ran.stdout
    assert "passed" in ran.stdout


def test_the_export_into_flashinfers_tree_says_where_it_is_skipped(tmp_path, e4b):
    (path,) = write_export(export(e4b, "flashinfer-tree"), tmp_path)
    run = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", path)
    ran = python(*run, cwd=tmp_path)
    assert ran.returncode in (0, 5) and "could not import 'flashinfer.decode'" in ran.stdout


def test_the_bench_trace_set_is_whole_and_its_reference_sees_the_fault(tmp_path, e4b):
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    files = export(e4b, "flashinfer-bench")
    write_export(files, tmp_path / "set")
    (jsonl,) = (tmp_path / "set").glob("workloads/*/*.jsonl")
    (definition,) = (tmp_path / "set").glob("definitions/*/*.json")
    described = json.loads(definition.read_text())
    names: dict = {}
    exec(described["reference"], names)
    cache, tables = torch.zeros(8658, 64, 1, 16), []

    def reference(stored):
        query = torch.zeros(1, 1, 16)
        return names["run"](query, cache, cache, stored["page_table"], stored["seq_lens"], 1.0)

    for line in jsonl.read_text().splitlines():
        workload = json.loads(line)
        inputs = workload["workload"]["inputs"]
        tables.append(safetensors.load_file(tmp_path / "set" / inputs["page_table"]["path"]))
        assert workload["definition"] == described["name"]
        assert inputs.keys() == described["inputs"].keys()
    recorded, rebuilt = tables
    assert recorded["page_table"].tolist() == [[10742]]
    with pytest.raises(IndexError, match="outside the cache"):
        reference(recorded)
    assert reference(rebuilt).isfinite().all()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_dump_that_does_not_fail_is_refused(kind):
    with pytest.raises(ReplayError, match="does not fail"):
        export(dumps.make_dump(dumps.SMALL, "right"), kind)


def test_the_command_names_what_it_wrote_and_knows_its_formats(tmp_path, e4b):
    path, out = write_dump(e4b, tmp_path, name="e4b"), tmp_path / "test_x.py"

    good = CliRunner().invoke(main, ["export", str(path), "-o", str(out)])
    bad = CliRunner().invoke(main, ["export", str(path), "--as", "pickle", "-o", str(out)])

    assert (good.exit_code, good.output.splitlines()[0]) == (0, f"wrote {out}")
    assert bad.exit_code == 2 and "known: pytest, script" in bad.output
