"""`triage lab`: clear answers to wrong questions, before anything heavy is imported."""

from __future__ import annotations

import importlib.metadata

import pytest
from click.testing import CliRunner

from triage.cli import main


def lab(*arguments):
    return CliRunner().invoke(main, ["lab", *arguments])


def test_an_unknown_scenario_lists_the_known_ones():
    answer = lab("run", "gemma5")
    assert answer.exit_code == 2
    assert "'gemma5'" in answer.output and "gemma4-e4b-summarisation" in answer.output


def test_an_unknown_release_names_what_is_there():
    answer = lab("run", "smoke", "--sglang", "9.9.9")
    assert answer.exit_code == 2
    assert "9.9.9" in answer.output and "0.5.12.post1" in answer.output


def test_a_missing_sglang_is_one_sentence(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    answer = lab("run", "smoke")
    assert answer.exit_code == 3
    assert "no SGLang is installed" in answer.output and "0.5.18" in answer.output
    assert "Traceback" not in answer.output


@pytest.mark.parametrize("option", ["--steps=0", "--seed=x"])
def test_values_out_of_range_are_refused_with_the_range(option):
    answer = lab("run", "smoke", option)
    assert answer.exit_code == 2 and "Invalid value" in answer.output


def test_the_list_names_scenarios_and_defects():
    answer = lab("list")
    assert answer.exit_code == 0
    assert "smoke" in answer.output and "stale-swa-state" in answer.output
