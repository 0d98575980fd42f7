"""Each patch applies to its release; its regression test fails without it and passes with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from repros.patches import play
from tests import prepared
from triage.lab import versions

ALL = sorted(play.PATCHES.glob("*.patch"))
QUICK = ("failed-decode-keeps-pages-0.5.23",)
"""Played by `make test`; each of the others costs an import of SGLang, too (`make test-all`)."""


def site(release: str) -> Path:
    found = versions.available()
    if release not in found:
        pytest.skip(f"SGLang {release} is not unpacked beside the installed one")
    return found[release]


@pytest.mark.parametrize("patch", ALL, ids=lambda p: p.stem)
def test_a_patch_applies_to_the_sources_of_its_release(patch):
    assert play.git_apply(patch, site(play.release_of(patch)), "--check") == ""


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param(each, id=each.stem, marks=() if each.stem in QUICK else pytest.mark.slow)
        for each in ALL
    ],
)
def test_the_regression_test_fails_without_the_patch_and_passes_with_it(patch, tmp_path):
    # GIVEN the files that the patch touches, patched
    release = play.release_of(patch)
    folder = play.patched_copy(patch, site(release), tmp_path)
    # WHEN the test is run on the release's classes, as they are and with those files
    command = [play.__file__, "--test", str(play.regression_test(patch))]
    before = prepared.python(*command, version=release)
    after = subprocess.run(
        [sys.executable, *command, str(folder)],
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
    tests = {path.name for path in play.PATCHES.glob("test_*.py")}
    assert tests == {play.regression_test(patch).name for patch in ALL}


def test_a_name_without_a_patch_is_told_with_those_that_there_are():
    with pytest.raises(
        SystemExit, match=r"no patch 'nonsense'; known: .*locked-prefix-freed-0.5.14"
    ):
        play.play("nonsense", applied=False)
