"""Each class that an explanation can name has its page, and no other has one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner

import triage.explain
from tests import dumps_fixture as dumps
from triage.cli import main
from triage.dump.file import write_dump
from triage.explain.classes import CLASSES, find, seen_by
from triage.explain.rules_found import (
    _LOCKED_PREFIX_FREED,
    _MAPPING_MISSING,
    _MAPPING_OTHER,
    _PADDING_ROW,
    CLASS_OF,
)
from triage.invariants import catalogue
from triage.invariants.catalogue import CATALOGUE


def named_by_rules() -> set[str]:
    """The literal keys of every Cause that a rule makes."""
    found = set()
    for path in Path(triage.explain.__file__).parent.glob("rules_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Cause":
                (key,) = (each.value for each in node.keywords if each.arg == "key")
                found |= {
                    leaf.value
                    for leaf in ast.walk(key)
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                }
    return found


def test_every_class_that_can_be_named_has_a_page_and_no_other():
    by_values = (_MAPPING_OTHER, _MAPPING_MISSING, _LOCKED_PREFIX_FREED, _PADDING_ROW)
    by_findings = {each.key for each in (*CLASS_OF.values(), *by_values)}
    assert set(CLASSES) == by_findings | named_by_rules()


def test_a_page_names_invariants_that_there_are():
    for known in CLASSES.values():
        assert all(catalogue.find(name) is not None for name in known.seen_by), known.key


def test_explain_of_a_name_prints_its_page():
    ran = CliRunner().invoke(main, ["explain", "double-free"])
    assert ran.exit_code == 0
    assert "freed twice" in ran.output and "how it comes about" in ran.output
    assert find("Double_Free") is find("double-free")


def test_a_file_of_that_name_is_read_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("leak").write_text("nothing known\n")
    assert "nothing is known" in CliRunner().invoke(main, ["explain", "leak"]).output


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda r: r.name)
def test_the_page_of_an_invariant_tells_how_it_comes_about_and_where_to_read_on(row):
    page = CliRunner().invoke(main, ["explain", row.name]).output
    assert row.example.replace("`", "") in page and "What to try:" in page
    assert "How it comes about:" in page
    for each in seen_by(row.name):
        assert f"triage explain {each.key}" in page
        assert all(link in page for link in each.links)


def test_a_named_cause_leads_to_its_page(tmp_path):
    path = write_dump(dumps.make_dump(), tmp_path, name="e4b.msgpack")
    output = CliRunner().invoke(main, ["explain", str(path)]).output
    assert "triage explain stale-swa-state" in output
