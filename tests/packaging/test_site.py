"""`make docs`: the site builds without a warning, has a page for each command, fetches nothing."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from triage.cli import main

pytest.importorskip("mkdocs", reason="pip install '.[test]' brings mkdocs-material")
ROOT = Path(__file__).resolve().parents[2]


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    arguments = ["build", "--strict", "--config-file", str(config), "--site-dir", str(site)]
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    ran = build(ROOT / "mkdocs.yml", folder)
    assert ran.returncode == 0, ran.stderr
    return folder


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """`command` and what is below it, with the words that call it."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from commands(below, f"{name} {each}")


def test_each_command_has_a_page_with_every_option_that_it_takes(site):
    context = click.Context(main)
    for name in main.list_commands(context):
        page = re.sub(r"<[^>]+>", "", (site / f"commands/{name}.html").read_text())
        text = " ".join(html.unescape(page).split())
        for words, command in commands(main.get_command(context, name), f"triage {name}"):
            assert f"Usage: {words} " in text and "Sentinel" not in text, words
            visible = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
            options = [opt for param in visible for opt in param.opts]
            assert [opt for opt in options if opt not in text] == [], words


def test_there_is_no_page_of_a_command_that_is_not_there(site):
    pages = {page.stem for page in (site / "commands").glob("*.html")}
    assert pages == {"index", *main.list_commands(click.Context(main))}


def test_every_page_is_one_click_from_the_first(site):
    first = (site / "index.html").read_text()
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")} - {"404.html"}
    assert "dump-format.html" in pages
    assert [page for page in pages if f'href="{page}"' not in first] == []


def test_a_page_fetches_nothing_from_elsewhere(site):
    fetched = re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>"
    )
    assert {
        found for page in site.rglob("*.html") for found in fetched.findall(page.read_text())
    } == (set())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("[a](gone.md)", "'gone.md'"),
        ("[a](page.md#gone)", "does not contain an anchor '#gone'"),
        ("[a](folder/)", "unrecognized relative link"),
    ],
    ids=["page", "anchor", "folder"],
)
def test_a_link_that_leads_nowhere_fails_the_build(wrong, said, tmp_path):
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    (docs / "README.md").write_text(f"# Index\n\n## Pages\n\n[page](page.md)\n\n{wrong}\n")
    (docs / "page.md").write_text("# Page\n")
    (docs / "results/README.md").write_text("# Results\n")
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\n"
        "docs_dir: docs\nvalidation: {nav: {omitted_files: info}}\n"
    )
    ran = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert ran.returncode != 0
    assert said in ran.stderr
