"""`triage lab`: clear answers to wrong questions, before anything heavy is imported."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from triage import config
from triage.cli import main
from triage.commands.lab import run
from triage.lab import bootstrap

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--reinject=stale-swa", "stale-swa-state"),
        ("--fix=state-swp", "state-swap"),
        ("--checks=read", "reads"),
    ],
)
def test_a_misspelt_name_is_told_once_before_sglang_is_loaded(monkeypatch, option, meant):
    def loaded(version):
        raise AssertionError("SGLang was asked for")

    monkeypatch.setattr("triage.commands.lab.under", loaded)
    answer = lab("run", "smoke", option)
    assert answer.exit_code == 2
    assert answer.output.count(f"(did you mean {meant}?)") == 1


def test_without_a_release_at_hand_versions_says_so(monkeypatch):
    monkeypatch.setattr("triage.lab.versions.available", dict)
    answer = lab("versions", "smoke")
    assert answer.exit_code == 3 and "--install" in answer.output


def test_what_the_lab_needs_is_said_as_the_project_has_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = bootstrap.TO_INSTALL.partition("--no-deps ")[2].split()
    assert named == project["tool"]["triage"]["lab"]["no_deps"]
    page = (ROOT / "docs/how-to/no-gpu.md").read_text()
    assert f"`pip install --no-deps {' '.join(named)}`" in page


def test_a_missing_dependency_of_sglang_comes_with_all_that_the_lab_needs(monkeypatch):
    def without_xgrammar():
        raise ModuleNotFoundError("No module named 'xgrammar'", name="xgrammar")

    monkeypatch.setattr(bootstrap, "_prepared", False)
    monkeypatch.setattr(bootstrap, "_import_sglang", without_xgrammar)
    answer = lab("run", "smoke")
    assert answer.exit_code == 3
    assert "No module named 'xgrammar'" in answer.output and bootstrap.TO_INSTALL in answer.output


@pytest.mark.parametrize("option", ["--steps=0", "--seed=x"])
def test_values_out_of_range_are_refused_with_the_range(option):
    answer = lab("run", "smoke", option)
    assert answer.exit_code == 2 and "Invalid value" in answer.output


def test_the_list_names_scenarios_and_defects():
    answer = lab("list")
    assert answer.exit_code == 0
    assert "smoke" in answer.output and "stale-swa-state" in answer.output


def test_dumps_go_where_the_variable_says_so_that_triage_run_finds_them(monkeypatch, tmp_path):
    # GIVEN the variable, which `triage run` sets for the command that it starts
    monkeypatch.setenv(config.DIRECTORY, str(tmp_path))
    option = next(each for each in run.params if each.name == "directory")
    # WHEN the lab is not told where to, and when it is
    with click.Context(run) as context:
        said, _ = option.consume_value(context, {})
        given, _ = option.consume_value(context, {"directory": "elsewhere"})
    # THEN dumps go there, and where it is told
    assert (Path(said), Path(given)) == (tmp_path, Path("elsewhere"))
