"""`triage verify`: red without a fix, green with it, equal to an SGLang without the defect."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.lab import versions
from triage.verify.clamp import accept_length, acceptance
from triage.verify.proof import Proof, markdown

NEEDS = {
    "draft-own-pool": ("0.5.12.post1", "0.5.13.post1"),
    "free-swa-pages": ("0.5.13.post1", "0.5.14"),
    "optional-kv": ("0.5.12.post1", "0.5.13.post1"),
    "packed-query": ("0.5.15.post1", "0.5.18"),
    "swa-ratio": (),
    "mm-piecewise-graphs": (),
    "state-swap": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_every_fix_is_proven_on_a_release_that_needs_it(name):
    missing = [version for version in NEEDS[name] if version not in versions.available()]
    if missing:
        pytest.skip(f"SGLang {', '.join(missing)} not unpacked beside the installed one")
    done = CliRunner().invoke(main, ["verify", name, "--json"])
    assert done.exit_code == 0, done.output
    [proof] = json.loads(done.stdout)["rows"]
    assert proof["red"] and proof["green"] and proof["equal"]


@pytest.mark.slow
def test_the_clamp_hides_the_fault_and_its_cost_is_a_number():
    done = subprocess.run(
        [sys.executable, "-m", "triage.verify.clamp", "smoke"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    cost = json.loads(done.stdout.splitlines()[-1].removeprefix("FOUND "))
    assert cost["outcome"] == "clean"  # no fault any more
    assert 0 < cost["redirected"] < cost["wrong"] < 1
    assert cost["error"] > 0 and cost["rows_wrong"] > 0
    assert 1 <= cost["accept_length"] < 2.13


@pytest.mark.parametrize("length", [1.0, 1.61, 2.13, 2.84, 4.0])
def test_acceptance_is_the_inverse_of_accept_length(length):
    assert accept_length(acceptance(length)) == pytest.approx(length, abs=1e-3)


def test_an_unknown_fix_is_answered_with_the_list():
    done = CliRunner().invoke(main, ["verify", "warp-drive"])
    assert done.exit_code == 2
    assert "no fix 'warp-drive'; known: state-swap, clamp, draft-own-pool" in done.output


@pytest.mark.parametrize(
    ("red", "green", "equal", "holds"),
    [
        (True, True, True, True),
        (True, True, None, True),
        (False, True, True, False),
        (True, False, True, False),
        (True, True, False, False),
    ],
)
def test_a_proof_holds_only_if_the_failure_shows_goes_and_nothing_else_changes(
    red, green, equal, holds
):
    proof = Proof("f", "v", "bad", "good", "the other", red, green, equal, cost="1 %")
    assert proof.holds is holds
    assert markdown([proof]).splitlines()[-1].endswith("| yes |" if holds else "| NO |")
