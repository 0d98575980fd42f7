"""The direction of imports is a contract: `make lint` fails on the module that breaks it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the packages and their settings, to put made-up modules into."""
    pytest.importorskip("importlinter", reason="needs import-linter, of the `test` extra")
    root = tmp_path_factory.mktemp("copy")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    for package in ("triage", "kernels/triage_kernels"):
        no_caches = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(REPOSITORY / package, root / package, ignore=no_caches)
    return root


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    path = f"{root}{os.pathsep}{root / 'kernels'}"
    return subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def test_the_packages_keep_every_contract(copy):
    done = lint(copy)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            {"triage/dump/made_up.py": "import torch\n"},
            "triage.dump is not allowed to import torch",
            id="a dump's module needs torch",
        ),
        pytest.param(
            {"triage/explain/made_up.py": "from triage.lab.geometry import Geometry\n"},
            "triage.explain is not allowed to import triage.lab",
            id="an explanation needs the lab",
        ),
        pytest.param(
            {"triage/replay/made_up.py": "def late():\n    import sglang.srt.server_args\n"},
            "triage.replay is not allowed to import sglang",
            id="replay needs SGLang, and late",
        ),
        pytest.param(
            {
                "triage/device/made_up.py": "from triage.device import made_down\n",
                "triage/device/made_down.py": "from triage.device import made_up\n",
            },
            "No cycles are allowed in triage.device",
            id="two modules need each other",
        ),
        pytest.param(
            {"triage/attic/__init__.py": ""},
            "triage.attic",
            id="a room that was given no place",
        ),
    ],
)
def test_a_module_that_breaks_a_contract_is_named(copy, files, said):
    # GIVEN a module that imports against the direction
    for name, text in files.items():
        made = copy / name
        made.parent.mkdir(exist_ok=True)
        made.write_text(text)
    try:
        # WHEN the imports are linted
        done = lint(copy)
    finally:
        for name in files:
            made = copy / name
            made.unlink()
            if not any(made.parent.iterdir()):
                made.parent.rmdir()
    # THEN that fails, and says which module
    assert done.returncode == 1
    assert said in " ".join(done.stdout.split())
