"""`triage verify`: red without a fix, green with it, equal to an SGLang without the defect."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.lab import versions
from triage.verify import prove
from triage.verify.clamp import accept_length, acceptance
from triage.verify.proof import Proof, markdown

NEEDS = {
    "draft-own-pool": ("0.5.12.post1", "0.5.13.post1"),
    "free-swa-pages": ("0.5.13.post1", "0.5.14"),
    "keep-locked-prefix": ("0.5.14", "0.5.15.post1"),
    "optional-kv": ("0.5.12.post1", "0.5.13.post1"),
    "packed-query": ("0.5.15.post1", "0.5.18"),
    "slotless-draft": ("0.5.14", "0.5.15.post1"),
    "swa-ratio": (),
    "mm-piecewise-graphs": (),
    "state-swap": (),
}


EVERY = sorted({version for needed in NEEDS.values() for version in needed})


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


def test_what_a_proof_lacks_is_said_before_the_first_one_runs(monkeypatch, tmp_path):
    # GIVEN an SGLang beside which nothing is unpacked
    monkeypatch.setattr(versions, "available", lambda: {"0.5.18": tmp_path})
    monkeypatch.setattr(prove, "prove", lambda *_: pytest.fail("a proof was begun"))
    # WHEN all is to be proven
    done = CliRunner().invoke(main, ["verify"])
    # THEN the command ends at once, with the releases, how to get them, and what is left
    assert done.exit_code == 3
    for fix, release in (("draft-own-pool", "0.5.12.post1"), ("free-swa-pages", "0.5.14")):
        assert re.search(rf"{fix}.* are proven on SGLang .*{release}.*, not unpacked", done.output)
    assert "pip install --no-deps --target" in done.output
    assert "without: triage verify state-swap clamp swa-ratio mm-piecewise-graphs" in done.output


def test_what_is_looked_for_first_is_what_the_proofs_start(monkeypatch):
    # GIVEN proofs that note the releases they run on, each found at hand
    ran: dict[str, set[str]] = {}
    report = {
        "sglang": "", "outcome": "fault", "wrong_launches": 1, "launches": 1, "trapped": None,
        "finished": 1, "requests": 1, "tables_digest": "", "fault": None, "first_wrong": None,
    }  # fmt: skip
    answer = {
        "sglang": "", "need": "", "without": {"ok": False, "said": "", "state": 0},
        "with": {"ok": True, "said": "", "state": 0}, "by_flag": {"state": 0},
    }  # fmt: skip
    monkeypatch.setattr(versions, "available", lambda: dict.fromkeys(EVERY))
    for name in ("draft-own-pool", *prove.PLANS):
        used = ran.setdefault(name, set())
        monkeypatch.setattr(prove, "_lab", lambda v, *_, used=used: used.add(v) or report)
        monkeypatch.setattr(prove, "_child", lambda v, _, used=used: used.add(v) or answer)
        # WHEN one runs THEN each release is one of those that were looked for
        prove.prove(name)
        wanted = {each for one_of in prove.releases_needed(name) for each in one_of}
        assert used - {""} <= wanted
        assert all(used & set(one_of) for one_of in prove.releases_needed(name))
