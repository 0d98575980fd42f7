"""Hooks of mkdocs: the order of the pages is docs/README.md's, and each command gets a page.

A page of a command is made of click's own help while the site is built and stored nowhere, so
it cannot be older than the command.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from triage.cli import COMMANDS

LINK = re.compile(r"\[([^\]]+)\]\(([\w/.-]+\.md)\)")
FOLDER = "commands"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Navigation: each heading of docs/README.md with the pages that it links to."""
    docs = Path(config.docs_dir)
    results = [
        {title: f"results/{page}"}
        for title, page in LINK.findall((docs / "results/README.md").read_text())
    ]
    config["nav"] = [*sections(docs / "README.md"), {"Measured": results}, commands()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, text in command_pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def sections(index: Path) -> list[Any]:
    """What mkdocs takes for `nav`: a section for each heading of the index."""
    nav: list[Any] = [{"Start": "README.md"}]
    for section in re.split(r"^## ", index.read_text(), flags=re.MULTILINE)[1:]:
        pages = [{title: page} for title, page in LINK.findall(section)]
        nav.append({section.splitlines()[0]: pages})
    return nav


def commands() -> dict[str, Any]:
    names = [{f"triage {name}": f"{FOLDER}/{name}.md"} for name in COMMANDS]
    return {"Commands": [{"All commands": f"{FOLDER}/README.md"}, *names]}


def command_pages() -> dict[str, str]:
    """Markdown by path: a page for each command of `triage`, its subcommands below it."""
    rows = [f"| [triage {name}]({name}.md) | {row.help} |" for name, row in COMMANDS.items()]
    index = "\n".join(["# Commands", "", "| Command | |", "|---|---|", *rows, ""])
    pages = {f"{FOLDER}/README.md": index}
    for name, row in COMMANDS.items():
        module, _, attribute = row.entry.partition(":")
        importlib.import_module(module)  # its error now, and not as a page without content
        pages[f"{FOLDER}/{name}.md"] = "\n".join(
            [
                "::: mkdocs-click",
                f"    :module: {module}",
                f"    :command: {attribute}",
                f"    :prog_name: triage {name}",
                "",
            ]
        )
    return pages
