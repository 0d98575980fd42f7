"""The picture for a chat: drawn, and it names the entries that it is about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import dumps_fixture as dumps
from tests.report.inputs import large
from triage.errors import ReplayError

pytest.importorskip("matplotlib")
from triage.report.picture import draw


def test_the_wrong_entries_are_written_out():
    text = draw(dumps.make_dump(dumps.SMALL), ".svg").decode()
    assert text.startswith("<?xml")
    # an SVG of matplotlib keeps each text as a comment beside its outlines
    assert "3 leave the cache of" in text and "block_tables[1, 9] = 83, expected page 65" in text


def test_a_sound_launch_and_a_large_one_are_drawn():
    assert draw(dumps.make_dump(dumps.SMALL, "right"), ".png").startswith(b"\x89PNG")
    assert len(draw(large(rows=64), ".png")) < 1_000_000


def test_a_dump_without_a_table_says_so():
    bare = replace(dumps.make_dump(dumps.SMALL), launch=None, tables=None)
    with pytest.raises(ReplayError, match="no launch with its page table"):
        draw(bare, ".png")
