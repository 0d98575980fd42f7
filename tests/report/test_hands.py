"""Whose hand: told where the dump has it, "not recorded" where it has not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import dumps_fixture as dumps
from triage.dump.file import decode, encode
from triage.dump.sections import Dump
from triage.evidence import PageEvent, PageHistory
from triage.explain.together import Input, together
from triage.report.brief import SCREEN, brief
from triage.report.contents import contents
from triage.report.page import html

FREED = PageEvent(
    "freed", 7, ("mem_cache/common.py:103 free_swa", "scheduler.py:9 run"), "#172e991458a1"
)


@pytest.fixture
def dump() -> Dump:
    """[1, 9] = 83 where page 65 is right; page 65 was freed, of page 83 nothing is known."""
    made = dumps.make_dump(dumps.SMALL)
    pages = (PageHistory("swa", 65, (FREED,)), PageHistory("full", 83))
    return decode(encode(replace(made, fault=replace(made.fault, pages=pages))))


def test_the_entry_names_who_freed_the_page_that_it_should_have(dump):
    (held,) = contents(together([Input("a", "a dump", dump)]))["dumps"]
    first, second = held["entries"][:2]
    assert (first["row"], first["column"], first["expected"]) == (1, 9, 65)
    assert first["hand"] == (
        "page 65 of the swa pool freed in step 7 for request #172e991458a1 "
        "by mem_cache/common.py:103 free_swa"
    )
    assert second["hand"] == ""


def test_the_screen_has_it_and_stays_one(dump):
    shown = [line.plain for line in brief(dump, "a.msgpack")]
    assert "freed in step 7 for request" in " ".join(" ".join(shown).split())
    assert len(shown) < SCREEN


def test_the_page_lists_events_with_their_callers(dump):
    page = html(contents(together([Input("a", "a dump", dump)]))).decode()
    assert "page 65 of the swa pool</summary>" in page
    assert "scheduler.py:9 run" in page
    assert "page 83 of the full pool</summary><ol><li>not recorded</li>" in page
