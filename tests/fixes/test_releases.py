"""The tests of in_process/ under other releases: each in a process of its own, one import each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import prepared
from triage.lab import versions

HERE = Path(__file__).parent
NEEDED, FIXED, NOT = "NEEDED", "ALREADY_FIXED", "NOT_APPLICABLE"

# state-swap, draft-own-pool, free-swa-pages, keep-locked-prefix, optional-kv, packed-query,
# slotless-draft, swa-ratio, mm-piecewise-graphs
ANSWERS = {
    "0.5.12.post1": (FIXED, NEEDED, NEEDED, NEEDED, NEEDED, NEEDED, NOT, NEEDED, NEEDED),
    "0.5.13.post1": (FIXED, FIXED, NEEDED, NEEDED, FIXED, NEEDED, NOT, NEEDED, NEEDED),
    "0.5.14": (FIXED, FIXED, FIXED, NEEDED, FIXED, NEEDED, NEEDED, NEEDED, NEEDED),
    "0.5.15.post1": (FIXED, FIXED, FIXED, FIXED, FIXED, NEEDED, FIXED, NEEDED, NEEDED),
    "0.5.18": (FIXED, FIXED, FIXED, FIXED, FIXED, FIXED, FIXED, NEEDED, NEEDED),
    "0.5.23": (FIXED, FIXED, FIXED, FIXED, NOT, FIXED, FIXED, NOT, NOT),
}


def run(version: str, *arguments: str, **options: object):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    return prepared.python("-m", *arguments, version=version, **options)


# Between them each answer to each fix; `make test-all` asks all.
QUICK = ("0.5.12.post1", "0.5.14", "0.5.23")


@pytest.mark.parametrize(
    "version",
    [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in ANSWERS],
)
def test_each_release_is_asked_and_answers_for_itself(version):
    done = run(version, "triage", "fixes", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["sglang"] == version
    answers = tuple(row["need"] for row in report["fixes"].values())
    assert answers == ANSWERS[version], report
    assert all(row["reason"] for row in report["fixes"].values())


@pytest.mark.parametrize(
    "version",
    [
        "0.5.12.post1",
        "0.5.14",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("0.5.13.post1", "0.5.15.post1")),
    ],
)
def test_the_fixes_do_under_other_releases_what_they_do_here(version):
    known = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # triage is imported already
    command = ("pytest", "-q", "-p", "no:cacheprovider", *known, str(HERE / "in_process"))
    done = run(version, *command, cwd=HERE.parents[1], timeout=500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
