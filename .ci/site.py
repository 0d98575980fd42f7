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

LINK = re.compile(r"\[(?P<title>[^\]]+)\]\((?P<page>[\w/.-]+\.md)\)")
FOLDER = "commands"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Navigation: each heading of docs/README.md with the pages that it links to."""
    config["nav"] = sections((Path(config.docs_dir) / "README.md").read_text())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, text in command_pages().items():
        files.append(File.generated(config, page, content=text))
    return files


def sections(index: str) -> list[Any]:
    """What mkdocs takes for `nav`, of the Markdown of the index."""
    nav: list[Any] = [{"Start": "README.md"}]
    for section in re.split(r"^## ", index, flags=re.MULTILINE)[1:]:
        pages = [{each["title"]: each["page"]} for each in LINK.finditer(section)]
        nav.append({section.splitlines()[0]: pages})
    names = [{f"triage {name}": f"{FOLDER}/{name}.md"} for name in COMMANDS]
    return [*nav, {"Commands": [{"All commands": f"{FOLDER}/README.md"}, *names]}]


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
                "    :style: table",
                "",
            ]
        )
    return pages
