"""Transcripts in the documents are what the commands printed, as their stored logs have it."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from triage.bench.transcripts import TRANSCRIPTS, Step, Transcript, TranscriptNotMade

ROOT = Path(__file__).resolve().parents[2]
BY_NAME = [pytest.param(each, id=name) for name, each in TRANSCRIPTS.items()]


@pytest.mark.parametrize("transcript", BY_NAME)
def test_what_the_page_shows_is_cut_from_the_stored_log(transcript):
    text = transcript.text(ROOT)

    assert text in (ROOT / transcript.page).read_text(), "python -m triage.bench.transcripts"
    # AND nothing in it is anybody's words but the log's
    log = transcript.lines(ROOT)
    for line in text.splitlines():
        if line and not line.startswith("```"):
            assert line in log or any(entry.endswith(line.removeprefix("$ ")) for entry in log)


@pytest.mark.parametrize("transcript", BY_NAME)
def test_a_stored_log_names_no_folder_of_the_machine_it_was_made_on(transcript):
    assert not [line for line in transcript.lines(ROOT) if "/home/" in line or "/root/" in line]


LOG = """script: where it runs

== 1: triage run it
kept
dropped

== 2: triage explain it
because

the end
"""


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "docs/results/logs").mkdir(parents=True)
    (tmp_path / "docs/results/logs/made.txt.xz").write_bytes(lzma.compress(LOG.encode()))
    (tmp_path / "page.md").write_text(
        "a\n<!-- transcript made: x -->\n<!-- end of transcript -->\n"
    )
    return tmp_path


def made(*steps: Step, command: str = "cat log", codes: tuple[int, ...] = (0,)) -> Transcript:
    return Transcript("made", Path("page.md"), command, steps, codes)


def test_steps_and_lines_are_chosen_and_the_rest_is_left_out(root):
    transcript = made(Step("run", ("^kept",)), Step("explain"), Step("", ("end",)))

    assert transcript.put(root)
    assert (root / "page.md").read_text() == (
        "a\n<!-- transcript made: cat log -->\n```console\n"
        "$ triage run it\nkept\n\n$ triage explain it\nbecause\n\nthe end\n"
        "```\n<!-- end of transcript -->\n"
    )
    assert not transcript.put(root)


@pytest.mark.parametrize("command", ["fly", "triage"], ids=["none", "two"])
def test_a_step_that_is_not_exactly_one_of_the_log_is_refused(root, command):
    with pytest.raises(TranscriptNotMade, match=f"steps '{command}', not one"):
        made(Step(command)).text(root)


def test_a_command_that_fails_leaves_the_old_log(root):
    before = (root / "docs/results/logs/made.txt.xz").read_bytes()
    with pytest.raises(TranscriptNotMade, match="ended with 7; log not kept"):
        made(command="sh -c 'echo new; exit 7'").record(root)
    assert (root / "docs/results/logs/made.txt.xz").read_bytes() == before

    made(command="sh -c 'echo new; exit 7'", codes=(7,)).record(root)
    assert made().lines(root) == ["new"]
