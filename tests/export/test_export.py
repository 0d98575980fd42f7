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


@pytest.mark.parametrize("kind", ["pytest", "script", "sglang-test"])
def test_hostile_text_of_a_dump_stays_text(kind):
    evil = 'x"""\nimport os; os.system("id")\n\'\'\'\\'
    dump = dumps.make_dump(dumps.SMALL)
    dump = replace(
        dump,
        fault=replace(dump.fault, summary=evil, where=evil, pool=evil),
        launch=replace(dump.launch, api=evil, kv_layout=evil),
    )

    source = export(dump, kind)[""].decode()

    calls = {node.func.attr for node in ast.walk(ast.parse(source))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}  # fmt: skip
    assert "system" not in calls


def test_the_sglang_test_passes_on_its_pool_and_fails_as_recorded(tmp_path, e4b):
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed here")
    path = exported(e4b, "sglang-test", tmp_path / "test_swa.py")
    bootstrap = (
        "import runpy, sys; from triage.lab.bootstrap import prepare; prepare(); "
        f"sys.argv = [{str(path)!r}]; runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    ours = os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))

    after = python("-c", bootstrap, cwd=tmp_path, PYTHONPATH=ours)
    before = python("-c", bootstrap, cwd=tmp_path, PYTHONPATH=ours, TABLE="recorded")

    assert after.returncode == 0, after.stderr
    assert before.returncode == 1 and "FAILED (failures=2)" in before.stderr


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

    assert (good.exit_code, good.output) == (0, f"wrote {out}\n")
    assert bad.exit_code == 2 and "known: pytest, script" in bad.output
