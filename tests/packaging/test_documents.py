"""The documents: links lead somewhere, files that are named exist, tables are not stale."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from triage.bench.record_table import NotARecord, markdown
from triage.bench.results import END, RESULTS, TABLES, Table, TableNotMade

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BY_NAME = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"`([\w./*-]+\.(?:py|sh|msgpack|md|toml))`")


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    found = set()
    for line in page.read_text().splitlines():
        if line.startswith("#"):
            text = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(text.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", BY_NAME)
def test_every_relative_link_leads_somewhere(page):
    broken = []
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so nobody says which files are the project's")
    return listed.stdout.splitlines()


@pytest.mark.parametrize("page", BY_NAME)
def test_every_file_that_is_named_exists(page):
    """`name.py` may be any file of that name; a path of SGLang begins with `sglang/`."""
    files = [f"/{name}" for name in tracked()]
    gone = [
        name
        for name in NAMED.findall(page.read_text())
        if not name.startswith(("sglang/", "flashinfer/", "out/"))
        and not list(ROOT.glob(name))
        and not any(file.endswith(f"/{name}") for file in files)
    ]
    assert page.name == "CHANGELOG.md" or not gone


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text())]
        waiting += [(page.parent / link).resolve() for link in links if link and ":" not in link]
        waiting = [each for each in waiting if each.is_file()]
    assert set(PAGES) - seen == set()


# -- tables ------------------------------------------------------------------------------------


def test_no_table_is_older_than_what_it_reads():
    ran = subprocess.run(
        [sys.executable, "-m", "triage.bench.results"],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("as new as what it reads") == len(TABLES)


def test_every_table_of_a_page_of_results_has_its_command():
    without = []
    for page in (ROOT / RESULTS).glob("*.md"):
        text = page.read_text()
        for table in TABLES.values():
            if ROOT / table.page == page:
                assert table.rows(ROOT), f"{page.name} has no place for {table.name}"
                text = text.replace("\n".join(table.rows(ROOT)), "")
        if page.name != "README.md" and re.search(r"^\|[-| ]+\|$", text, re.MULTILINE):
            without.append(page.name)
    assert without == []


@pytest.mark.parametrize("table", [pytest.param(t, id=n) for n, t in TABLES.items() if t.quick])
def test_a_table_of_a_stored_record_is_what_its_command_prints(table):
    assert table.rows(ROOT) == table.printed(ROOT), f"python -m triage.bench.results {table.name}"


def test_a_row_with_a_cell_too_few_is_no_record():
    record = {"measured": "2026-11-30", "on": "a CPU", "command": "x", "columns": ["a", ""]}
    assert markdown({**record, "rows": [["1", "2"]]}).splitlines() == [
        "| a | |",
        "|---|---|",
        "| 1 | 2 |",
        "Record of 2026-11-30, a CPU: `x`",
    ]
    with pytest.raises(NotARecord, match="row 0 has 1 cells, not 2: '1'"):
        markdown({**record, "rows": [["1"]]})
    with pytest.raises(NotARecord, match="no rows; a record has measured"):
        markdown(record)


def made(reads: list[str], prints: str) -> Table:
    def lines() -> Iterator[str]:
        yield from reads

    return Table("made-up", f"echo {shlex.quote(prints)}", lines)


def test_a_table_is_stale_once_what_it_reads_has_changed(tmp_path):
    # GIVEN a page with the place of a table
    page = tmp_path / RESULTS / "made-up.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"before\n<!-- table made-up: x\n     made from 0 -->\n{END}\nafter\n")
    reads = ["one"]
    table = made(reads, "| a |")
    # WHEN its command has run
    table.make(tmp_path)
    # THEN the rows stand there, and nothing else changed
    assert page.read_text().splitlines()[3:] == ["| a |", END, "after"]
    assert table.stale(tmp_path) == ""
    # AND another entry, or another command, makes it stale
    reads.append("two")
    assert "made from" in table.stale(tmp_path)
    assert made(["one"], "| b |").stale(tmp_path) == "its command has changed"


def test_a_table_whose_command_prints_none_keeps_the_old_one(tmp_path):
    page = tmp_path / RESULTS / "made-up.md"
    page.parent.mkdir(parents=True)
    page.write_text(before := f"<!-- table made-up: x\n     made from 0 -->\n| old |\n{END}\n")

    with pytest.raises(TableNotMade, match="ended with 0, 0 rows"):
        made([], "no table").make(tmp_path)
    assert page.read_text() == before


def test_the_readme_is_read_in_two_minutes():
    """240 words a minute; transcripts and commands are looked at."""
    text = (ROOT / "README.md").read_text()
    text = re.sub(r"^```.*?^```|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    assert len(text.split()) < 480


def test_the_readme_says_in_words_what_its_short_names_are():
    text = (ROOT / "README.md").read_text()
    for said in ("sliding-window (SWA)", "I2 is the", ". .venv/bin/activate"):
        assert said in text
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"\bMTP\b|\bI20\b|whose hand", prose)


def test_no_stored_record_names_the_checkout_it_was_made_in():
    for log in sorted(Path("docs/results/logs").rglob("*.json*")):
        if log.suffix != ".xz":
            found = re.search(r'File \\?"/[^"]*/triage/', log.read_text())
            assert found is None, f"{log}: {found and found[0]}"
