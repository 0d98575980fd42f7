"""Explanations compare values; a sentence may be shown, never read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import triage.explain
import triage.invariants
from triage.dump.file import decode, encode
from triage.dump.sections import Dump
from triage.evidence import Evidence, Violation
from triage.explain import explain
from triage.explain.rules_found import CLASS_OF, JUDGED_ELSEWHERE
from triage.invariants.found import Found
from triage.invariants.ledger import PageLedger

EXPLAIN = sorted(Path(triage.explain.__file__).parent.glob("*.py"))
ROOT = Path(triage.invariants.__file__).parents[1]
SENTENCES = {"summary", "where", "tensor", "headline", "sentence", "what", "stale", "lost"}
"""Attributes that hold text for people."""


def _reads_text(node: ast.AST) -> str:
    """The sentence that an expression judges by; empty if it judges by none."""
    if isinstance(node, ast.Compare):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        # A method of the text (`summary.startswith`), or of a pattern that is given it.
        parts = [node.func.value]
        if node.func.attr in ("search", "match", "fullmatch", "findall", "finditer"):
            parts += node.args
    else:
        return ""
    for part in parts:
        inner = part.func if isinstance(part, ast.Call) else part
        if isinstance(inner, ast.Attribute) and inner.attr in SENTENCES:
            if isinstance(node, ast.Call) and node.func.attr == "splitlines":
                continue  # to show it
            return ast.unparse(node)
    return ""


@pytest.mark.parametrize("path", EXPLAIN, ids=lambda path: path.name)
def test_no_rule_looks_at_a_sentence(path):
    found = [text for node in ast.walk(ast.parse(path.read_text())) if (text := _reads_text(node))]
    assert not found


def test_the_search_for_sentences_finds_those_that_there_were():
    judged = (
        "all(word in fault.summary for word in words)",
        "word in fault.violations[0].tensor",
        "fault.summary.startswith('page')",
        "re.search('freed', fault.headline())",
    )
    for source in judged:
        assert any(_reads_text(node) for node in ast.walk(ast.parse(source))), source
    shown = ast.parse("Cause(evidence=(fault.summary, *fault.headline().splitlines()))")
    assert not any(_reads_text(node) for node in ast.walk(shown))


@pytest.mark.parametrize("name", ["Fault", "Evidence"])
def test_every_finding_of_a_check_says_what_it_is(name):
    lacking = []
    for path in sorted((ROOT / "invariants").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and getattr(node.func, "id", "") == name
            if called and "kind" not in {keyword.arg for keyword in node.keywords}:
                lacking.append(f"{path.name}:{node.lineno}")
    assert not lacking


def test_every_kind_is_explained_by_itself_or_by_a_rule_that_looks_further():
    assert set(CLASS_OF) | JUDGED_ELSEWHERE == set(Found)
    assert not set(CLASS_OF) & JUDGED_ELSEWHERE


def through_a_file(evidence: Evidence) -> Dump:
    return decode(encode(Dump(fault=evidence)))


def test_freeing_a_page_that_was_never_allocated_is_not_freeing_it_twice():
    # GIVEN a pool of which nothing was handed out
    ledger = PageLedger("full", 8, 16)
    # WHEN one of its pages is freed
    (evidence,) = ledger.free([3 * 16], where="free")
    # THEN the dump of it is explained as that
    (cause,) = explain(through_a_file(evidence)).named
    assert cause.key == "never-allocated-freed"


def test_a_free_list_that_names_page_0_is_explained():
    # GIVEN a free list with the dummy page in it
    ledger = PageLedger("full", 4, 16)
    # WHEN it is compared with the ledger
    (evidence,) = ledger.audit([0, 1, 2, 3])
    # THEN it is the allocator's list that is illegal, not unknown
    (cause,) = explain(through_a_file(evidence)).named
    assert cause.key == "illegal-allocation"
    assert cause.rows[0].value == 0


def test_freeing_the_dummy_page_is_told_from_freeing_a_page_beyond_the_pool():
    ledger = PageLedger("full", 4, 16)
    for slot, key in ((0, "dummy-page-freed"), (4 * 16, "illegal-free")):
        (evidence,) = ledger.free([slot], where="free")
        assert [each.key for each in explain(through_a_file(evidence)).named] == [key]


def test_what_was_found_travels_in_the_dump():
    violation = Violation("I2", "block_tables", 0, 0, 3, 1, 9, 4, kind=Found.WRONG_PAGE)
    evidence = Evidence("I2", "", "", violations=(violation,), kind=Found.WRONG_PAGE)
    assert through_a_file(evidence).fault == evidence


def test_a_dump_of_an_older_writer_is_unknown_and_says_why():
    # GIVEN a fault whose writer recorded a sentence only
    evidence = Evidence("I6", "page 16 was freed, but it is free since free (event 20)", "free")
    # WHEN it is explained
    explanation = explain(through_a_file(evidence))
    # THEN the sentence is not read, and that is said
    assert explanation.status == "unknown"
    assert any("not recorded" in sentence for sentence in explanation.observed)
