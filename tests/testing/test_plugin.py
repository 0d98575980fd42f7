"""The pytest plugin, in a pytest of its own: what a stranger's test run sees of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests import prepared

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "dumps" / "e4b_stale_swa_state.msgpack"
PAGE = ROOT / "docs" / "pytest.md"


def pytest_of(
    folder: Path, *arguments: str, imported: bool = False, **files: str
) -> subprocess.CompletedProcess[str]:
    """pytest over these files, with the plugin: as its entry point if that is installed.

    imported: in a process that has SGLang already.
    """
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    points = importlib.metadata.entry_points(group="pytest11")
    installed = any(point.value == "triage.testing.plugin" for point in points)
    plugin = [] if installed else ["-p", "triage.testing.plugin"]
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *arguments]
    if imported:
        return prepared.python(*command, cwd=folder)
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_entry_point_names_the_plugin():
    declared = (ROOT / "pyproject.toml").read_text()
    assert '[project.entry-points.pytest11]\nsglang_triage = "triage.testing.plugin"' in declared


def test_a_test_run_that_asks_for_nothing_imports_nothing_for_it(tmp_path):
    ran = pytest_of(
        tmp_path,
        test_plain="""
        import sys
        def test_plain():
            heavy = {"torch", "sglang", "numpy", "triage.lab", "triage.sglang"}
            assert not heavy & set(sys.modules)
        """,
    )
    assert ran.returncode == 0, ran.stdout


# -- no_kv_violations --------------------------------------------------------------------------


FIRES = f"""
import os, shutil, subprocess, sys
import pytest

def serve(fault):
    # a server that the test starts: it finds the variables, writes a dump and goes on
    code = "import os, shutil; d = os.environ['SGLANG_TRTLLM_MHA_DEBUG_DIR'];"
    code += "assert os.environ['SGLANG_TRTLLM_MHA_DEBUG'] == '1';"
    code += "assert os.environ.get('SGLANG_TRTLLM_MHA_DEBUG_CHECKS', '') in ('', 'reads');"
    code += f"{{fault}} and shutil.copy({str(GOLDEN)!r}, d + '/found.msgpack')"
    subprocess.run([sys.executable, "-c", code], check=True)

def test_harmed(no_kv_violations):
    serve(True)

@pytest.mark.triage(checks="reads", mode="log")
def test_healthy(no_kv_violations):
    serve(False)

@pytest.fixture
def server():
    yield
    serve(True)

def test_harmed_while_it_is_ended(no_kv_violations, server):
    pass

def test_fails_by_itself(no_kv_violations):
    serve(True)
    assert 1 == 2

def test_asks_for_nothing():
    assert "SGLANG_TRTLLM_MHA_DEBUG" not in os.environ
"""


def test_what_a_server_of_the_test_dumped_fails_it_and_is_kept_and_explained(tmp_path):
    # GIVEN tests whose servers meet a fault, or none WHEN they run with a directory for reports
    ran = pytest_of(tmp_path, "--triage-report", "kept", test_served=FIRES)
    # THEN those with a dump fail, however it came about, and the healthy ones pass
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S+::(\w+)", ran.stdout, re.M))
    assert failed == {"test_harmed", "test_harmed_while_it_is_ended", "test_fails_by_itself"}
    assert "3 passed" in ran.stdout and "2 failed" in ran.stdout and "1 error" in ran.stdout
    # AND the failure says what was found and why, beside the test's own where there is one
    assert "the traps found a violation:" in ran.stdout
    assert ran.stdout.count("cause: stale-swa-state (high)") >= 3
    assert "assert 1 == 2" in ran.stdout
    # AND the report has each dump with its explanation, by test
    index = json.loads((tmp_path / "kept" / "index.json").read_text())
    assert {each["test"].partition("::")[2] for each in index} == failed
    for each in index:
        (violation,) = each["violations"]
        dump = tmp_path / "kept" / violation["dump"]
        assert dump.read_bytes() == GOLDEN.read_bytes()
        assert "stale-swa-state" in dump.with_suffix(".txt").read_text()
        assert violation["invariant"] and violation["headline"]


def test_without_a_directory_nothing_is_kept_and_a_torn_dump_is_a_failure_too(tmp_path):
    ran = pytest_of(
        tmp_path,
        test_torn="""
        def test_torn(no_kv_violations):
            (no_kv_violations / "torn.msgpack").write_bytes(b"x")
        """,
    )
    assert ran.returncode == 1
    assert "a dump that cannot be read" in ran.stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["test_torn.py"]


IN_PROCESS = """
import pytest
from triage.lab.bootstrap import prepare
from triage.lab.flashinfer_stub import StandInFlashInfer

prepare()
StandInFlashInfer(lambda call: None).install()  # below it hardware is missing

def free_twice():
    import torch
    from sglang.srt.mem_cache.allocator.paged import PagedTokenToKVPoolAllocator

    pool = PagedTokenToKVPoolAllocator(
        size=256, page_size=16, dtype=torch.bfloat16, device="cpu", kvcache=None, need_sort=False
    )
    slots = pool.alloc(16)
    pool.free(slots)
    try:
        pool.free(slots)
    except Exception:  # as a loop does that goes on to its next request
        pass

@pytest.mark.triage(checks="lifecycle,allocator")
def test_harmed(no_kv_violations):
    free_twice()

def test_asks_for_nothing(tmp_path):
    from triage.sglang.install import state
    assert state().active and not state().traps.armed
    free_twice()
"""


def test_sglang_in_the_tests_own_process_is_bound_for_that_test_and_disarmed_behind_it(tmp_path):
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed")
    ran = pytest_of(tmp_path, imported=True, test_own=IN_PROCESS)
    assert "1 failed, 1 passed" in ran.stdout, ran.stdout
    assert re.search(r"the traps found a violation:\nE? *I[56]: ", ran.stdout), ran.stdout


# -- the lab, and the worked examples ------------------------------------------------------------


def test_the_regression_tests_of_the_page_hold_as_they_stand(tmp_path):
    """Those of upstream's fixes: green as SGLang is, and the trap fires without each fix."""
    if importlib.util.find_spec("sglang") is None:
        pytest.skip("SGLang is not installed")
    blocks = re.findall(r"```python\n# (test_\w+)\.py\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 3
    ran = pytest_of(tmp_path, "-rA", imported=True, **dict(blocks))

    assert ran.returncode == 0, ran.stdout
    assert "6 passed, 1 xfailed" in ran.stdout


def test_without_sglang_the_lab_is_skipped_with_what_to_install(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name == 'sglang': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
    )
    ran = pytest_of(
        tmp_path,
        "-rs",
        conftest="import sitecustomize; import runpy; runpy.run_path('sitecustomize.py')",
        test_lab="def test_lab(triage_lab): raise AssertionError('ran')",
    )
    assert ran.returncode == 0, ran.stdout
    assert "SKIPPED" in ran.stdout and "pip install --no-deps sglang" in ran.stdout


# -- kernels -------------------------------------------------------------------------------------


KERNELS = """
import torch
from triage_kernels.ops.rmsnorm_add import SPEC

def right(**arguments):
    return SPEC.eager(**arguments)

def wrong(**arguments):
    return SPEC.eager(**arguments) * 1.01
"""
ASKS = """
import pytest
import my_norms
from triage.testing import assert_kernel_matches

OPTIONS = {{"like": "{op}", "checks": ["{check}"], "dtypes": ["float32"]}}

def test_right(assert_kernel_matches):
    assert assert_kernel_matches(my_norms.right, **OPTIONS) > 0

def test_wrong():
    with pytest.raises(AssertionError, match="my_norms:wrong is not what {op} is: ") as told:
        assert_kernel_matches("my_norms:wrong", **OPTIONS)
    assert "{check}" in str(told.value)

def test_nowhere():
    with pytest.raises(ValueError, match="top of a module"):
        assert_kernel_matches(lambda: None, **OPTIONS)
    with pytest.raises(AssertionError, match="nothing_such"):
        assert_kernel_matches("my_norms:nothing_such", **OPTIONS)
"""


def test_a_kernel_is_held_to_ours_and_a_wrong_one_fails_with_the_place(tmp_path):
    op, check = "gemma_rmsnorm_add", "eager-twin"
    ran = pytest_of(tmp_path, my_norms=KERNELS, test_norms=ASKS.format(op=op, check=check))
    assert ran.returncode == 0, ran.stdout
