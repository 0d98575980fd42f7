"""The tests of in_process/ under other releases: each in a process of its own, one import each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from triage.lab import versions

HERE = Path(__file__).parent
NEEDED, FIXED, NOT = "NEEDED", "ALREADY_FIXED", "NOT_APPLICABLE"

# state-swap, draft-own-pool, free-swa-pages, optional-kv, swa-ratio, mm-piecewise-graphs
ANSWERS = {
    "0.5.12.post1": (FIXED, NEEDED, NEEDED, NEEDED, NEEDED, NEEDED),
    "0.5.13.post1": (FIXED, FIXED, NEEDED, FIXED, NEEDED, NEEDED),
    "0.5.14": (FIXED, FIXED, FIXED, FIXED, NEEDED, NEEDED),
    "0.5.15.post1": (FIXED, FIXED, FIXED, FIXED, NEEDED, NEEDED),
    "0.5.18": (FIXED, FIXED, FIXED, FIXED, NEEDED, NEEDED),
    "0.5.23": (FIXED, FIXED, FIXED, NOT, NOT, NOT),
}


def environment(version: str) -> dict[str, str]:
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    return versions.environment(version)


@pytest.mark.parametrize("version", ANSWERS)
def test_each_release_is_asked_and_answers_for_itself(version):
    done = subprocess.run(
        [sys.executable, "-m", "triage", "fixes", "--json"],
        env=environment(version),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["sglang"] == version
    answers = tuple(row["need"] for row in report["fixes"].values())
    assert answers == ANSWERS[version], report
    assert all(row["reason"] for row in report["fixes"].values())


@pytest.mark.parametrize("version", ["0.5.12.post1", "0.5.13.post1", "0.5.15.post1"])
def test_the_fixes_do_under_other_releases_what_they_do_here(version):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "in_process")],
        env=environment(version),
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
