"""Every shell block of the documents is run, or says above itself why not.

Blocks of a page run in order in one copy of the repository, each under `bash -eu` with a limit.
Comments directly above a block say what is special:

    <!-- not run: WHY -->      it is only looked at; WHY is for the reader of the source
    <!-- slow: WHY -->         `make test-all` runs it; no quick block may need what it made
    <!-- exits with N -->      N instead of 0

If a ```text block follows, its lines stand in what was printed, in that order; between them
others may.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LIMIT_S = {False: 180, True: 600}
"""Seconds a block may take, quick or slow: ten times what it takes on an idle machine."""
COMMENT = re.compile(r"<!-- (?P<word>not run|slow|exits with):? ?(?P<rest>.*) -->")
FENCE = re.compile(r"^```(?P<language>\w*)")
COMMAND = re.compile(r"^(\$ |    )?([A-Z_]+=\S+ )*(triage|make|python3?|pip|git|export|cd|eval) ")
NEEDED = ("dumps", "docs", "repros", "triage", "kernels")


@dataclass(frozen=True)
class Block:
    line: int
    text: str
    not_run: str | None
    slow: bool
    code: int
    prints: tuple[str, ...]


def fences(text: str) -> list[tuple[int, str, list[str], list[str]]]:
    """Line, language, the lines directly above and the lines inside, of each fenced block."""
    found, lines, number = [], text.splitlines(), 0
    while number < len(lines):
        if opened := FENCE.match(lines[number]):
            end = lines.index("```", number + 1)
            above = number
            while above and lines[above - 1].startswith("<!--"):
                above -= 1
            inside = lines[number + 1 : end]
            found.append((number + 1, opened["language"], lines[above:number], inside))
            number = end
        number += 1
    return found


def blocks(text: str) -> list[Block]:
    found = fences(text)
    last = (0, "", [], [])
    shell = []
    for this, after in zip_longest(found, found[1:], fillvalue=last):
        (line, language, above, inside), (following, kind, _, prints) = this, after
        if language not in ("sh", "bash"):
            continue
        says = {m["word"]: m["rest"] for each in above if (m := COMMENT.fullmatch(each))}
        assert len(says) == len(above), f"line {line}: a comment that says nothing here: {above}"
        adjacent = kind == "text" and following == line + len(inside) + 3
        shell.append(
            Block(
                line,
                "\n".join(inside),
                says.get("not run"),
                "slow" in says,
                int(says.get("exits with", 0)),
                tuple(prints) if adjacent else (),
            )
        )
    return shell


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def pages(*, slow: bool) -> list[object]:
    """Pages with something to run: quick blocks, or all of a page that has slow ones."""
    found = []
    for page in sorted(PAGES):
        to_run = [each for each in blocks(page.read_text()) if each.not_run is None]
        if any(each.slow == slow for each in to_run):
            found.append(pytest.param(page, id=named(page)))
    return found


def run(page: str, text: str, folder: Path, *, slow: bool) -> None:
    """Run the blocks of `text` in `folder`; AssertionError names page, line and what was said."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'kernels'}",
        "HOME": str(folder),
        "COLUMNS": "100",
        # loopback only: whoever asks for the network finds nobody at the other end
        **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9"),
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
    }
    for block in blocks(text):
        if block.not_run is not None or (block.slow and not slow):
            continue
        try:
            ran = subprocess.run(
                ["bash", "-eu", "-o", "pipefail", "-c", block.text],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LIMIT_S[block.slow],
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{page}:{block.line} took over {LIMIT_S[block.slow]} s") from None
        said = f"{page}:{block.line} exited with {ran.returncode}:\n{ran.stdout[-3000:]}"
        assert ran.returncode == block.code, said
        missing = out_of_order(block.prints, ran.stdout)
        assert missing is None, f"{said}\nit did not print, or not there: {missing!r}"


def out_of_order(wanted: tuple[str, ...], printed: str) -> str | None:
    """The first line of `wanted` that is not in `printed` behind those before it."""
    at = 0
    for line in wanted:
        if (at := printed.find(line, at)) < 0:
            return line
        at += len(line)
    return None


@pytest.fixture
def checkout(tmp_path) -> Path:
    """What a reader's commands need of a checkout, to be written into."""
    for name in NEEDED:
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "logs")
        )
    return tmp_path


@pytest.mark.parametrize("page", pages(slow=False))
def test_the_shell_blocks_of_a_page_run_as_it_says(page, checkout):
    run(named(page), page.read_text(), checkout, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(slow=True))
def test_the_slow_shell_blocks_of_a_page_run_too(page, checkout):
    run(named(page), page.read_text(), checkout, slow=True)


@pytest.mark.parametrize("page", [pytest.param(page, id=named(page)) for page in sorted(PAGES)])
def test_no_command_of_a_page_escapes_by_its_form(page):
    """Commands are `sh` blocks, but for transcripts, which another test compares with their log."""
    text = page.read_text()
    escaped = [
        f"{line}: {language or 'no language'}"
        for line, language, above, inside in fences(text)
        if language in ("", "console", "shell")
        and not any(comment.startswith("<!-- transcript ") for comment in above)
        and any(COMMAND.match(each) for each in inside)
    ]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    escaped += [e for e in outside.splitlines() if e.startswith("    ") and COMMAND.match(e)]
    assert escaped == []


def test_a_block_that_is_not_run_says_why():
    silent = [
        f"{named(page)}:{each.line}"
        for page in PAGES
        for each in blocks(page.read_text())
        if each.not_run is not None and len(each.not_run.split()) < 2
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```sh\nfalse\ntrue\n```\n", "made-up.md:1 exited with 1"),
        ("<!-- exits with 3 -->\n```bash\nexit 4\n```\n", "made-up.md:2 exited with 4"),
        ("```sh\necho b; echo a\n```\n\n```text\na\nb\n```\n", "not there: 'b'"),
        ("```sh\necho $UNSET\n```\n", "unbound variable"),
        ("<!-- sometimes -->\n```sh\ntrue\n```\n", "says nothing here"),
    ],
    ids=["fails in the middle", "another code", "another order", "unset", "unknown comment"],
)
def test_a_block_that_does_otherwise_is_named(text, complaint, tmp_path):
    with pytest.raises(AssertionError, match=complaint):
        run("made-up.md", text, tmp_path, slow=False)


def test_blocks_go_on_in_the_same_folder_and_marked_ones_are_left_out(tmp_path):
    run(
        "made-up.md",
        "```sh\necho one > kept\n```\n\n<!-- not run: ends it -->\n```sh\nrm kept\n```\n\n"
        "<!-- slow: waits -->\n```sh\nrm kept\n```\n\n```sh\ncat kept\n```\n\n```text\none\n```\n",
        tmp_path,
        slow=False,
    )
