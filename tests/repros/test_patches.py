"""Each patch applies to its release; its regression test fails without it and passes with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import prepared
from triage.lab import versions

PATCHES = Path(__file__).parents[2] / "repros" / "patches"
ALL = sorted(PATCHES.glob("*.patch"))
QUICK = ("locked-prefix-freed-0.5.14", "failed-decode-keeps-pages-0.5.23")
"""Played by `make test`; each of the others costs an import of SGLang, too (`make test-all`)."""
STRIPPED = "-p2"
"""Paths are those of SGLang's repository, `a/python/sglang/...`; a wheel begins at `sglang`."""


def release_of(patch: Path) -> str:
    return patch.stem.rpartition("-")[2]


def regression_test(patch: Path) -> Path:
    name = patch.stem.rpartition("-")[0].replace("-", "_")
    return PATCHES / f"test_{name}.py"


def touched(patch: Path) -> list[str]:
    return re.findall(r"^\+\+\+ b/python/(\S+)", patch.read_text(), re.MULTILINE)


def site(release: str) -> Path:
    found = versions.available()
    if release not in found:
        pytest.skip(f"SGLang {release} is not unpacked beside the installed one")
    return found[release]


def git_apply(patch: Path, folder: Path, *options: str) -> None:
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    done = subprocess.run(
        ["git", "apply", STRIPPED, *options, str(patch)],
        cwd=folder,
        env=alone,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("patch", ALL, ids=lambda p: p.stem)
def test_a_patch_applies_to_the_sources_of_its_release(patch):
    git_apply(patch, site(release_of(patch)), "--check")


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(each, id=each.stem, marks=() if each.stem in QUICK else pytest.mark.slow)
        for each in ALL
    ],
)
def test_the_regression_test_fails_without_the_patch_and_passes_with_it(patch, tmp_path):
    # GIVEN the files that the patch touches, patched
    release = release_of(patch)
    for name in touched(patch):
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site(release) / name, copy)
    git_apply(patch, tmp_path)
    # WHEN the test is run on the release's classes, as they are and with those files
    command = ("-m", "tests.repros.patched_child", regression_test(patch))
    before = prepared.python(*command, version=release)
    after = subprocess.run(
        [sys.executable, *map(str, command), str(tmp_path)],
        env=versions.environment(release),
        capture_output=True,
        text=True,
        timeout=300,
    )
    # THEN it fails as a test does, and passes
    assert before.returncode == 1 and "FAILED (" in before.stdout, before.stdout + before.stderr
    assert after.returncode == 0, after.stdout + after.stderr
    assert "OK" in after.stdout


def test_every_test_has_a_patch():
    tests = {path.name for path in PATCHES.glob("test_*.py")}
    assert tests == {regression_test(patch).name for patch in PATCHES.glob("*.patch")}
