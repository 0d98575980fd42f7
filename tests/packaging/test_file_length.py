"""A file is one concept: what is longer than 300 lines says in its docstring why it is one."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES = 300
# What TorchInductor wrote, kept as it came.
GENERATED = "tests/fusions/captures/"


def says_why_it_is_long(source: str) -> bool:
    """Does the module's docstring hold a sentence "Long because ..."?"""
    text = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    _, found, reason = text.partition("Long because ")
    return bool(found) and len(reason.partition(".")[0].split()) >= 4


def silent(files: dict[str, str]) -> list[str]:
    """Which of `files`, text by name, are too long and do not say why."""
    return [
        f"{name}: {source.count(chr(10))} lines"
        for name, source in files.items()
        if source.count("\n") > LINES and not says_why_it_is_long(source)
    ]


def test_a_file_over_300_lines_says_why_it_is_one_concept():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so nobody says which files are the project's")
    names = [n for n in listed.stdout.splitlines() if not n.startswith(GENERATED)]
    assert len(names) > 500
    assert silent({n: (ROOT / n).read_text() for n in names if (ROOT / n).exists()}) == []


@pytest.mark.parametrize(
    ("docstring", "length", "named"),
    [
        ("A table.", 300, False),
        ("A table.", 301, True),
        ("A table.\n\nLong because each row\nhas its source beside it.", 301, False),
        ("A table. Long because it is.", 301, True),
    ],
    ids=["short enough", "no reason", "a reason over two lines", "no reason worth the name"],
)
def test_a_long_file_without_a_reason_is_named(docstring, length, named):
    head = f'"""{docstring}"""\n'
    source = head + "x = 1\n" * (length - head.count("\n"))
    assert silent({"made_up.py": source}) == ([f"made_up.py: {length} lines"] if named else [])
