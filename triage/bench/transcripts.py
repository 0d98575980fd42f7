"""The transcripts in the documents: cut from stored logs by this command, never typed.

A log is what a command printed, kept whole and compressed under docs/results/logs. A
transcript names a log, the steps of it that a reader needs and the lines worth his time, as
they stand there; lines are left out, none is changed. A test compares.

    python -m triage.bench.transcripts                 write every transcript into its page
    python -m triage.bench.transcripts --record NAME   run its command first, and keep the log
"""

from __future__ import annotations

import lzma
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from triage.errors import TriageError

LOGS = Path("docs/results/logs")
_STEP = re.compile(r"== (?:\d+|[a-z ]+): (?P<command>.*)")


class TranscriptNotMade(TriageError):
    """A log, a step or a place in a page is missing; says which."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the log. `keep`: patterns of the lines that stay; empty for all.

    command: a pattern that exactly one step's command line must match; "" for what a
        script says behind its last step.
    """

    command: str
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What stands between the comments named `name` in `page`.

    made_by: the command whose output the log is, from the root of the repository.
    codes: exit codes with which it ends as it should.
    """

    name: str
    page: Path
    made_by: str
    steps: tuple[Step, ...]
    codes: tuple[int, ...] = (0,)

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.txt.xz"

    def lines(self, root: Path) -> list[str]:
        """The lines of the log."""
        try:
            return lzma.decompress((root / self.log).read_bytes()).decode().splitlines()
        except (OSError, lzma.LZMAError) as error:
            raise TranscriptNotMade(f"{self.log} cannot be read: {error}") from error

    def text(self, root: Path) -> str:
        """The transcript as Markdown. Raises TranscriptNotMade for a step that is not there."""
        log = list(_split(self.lines(root)))
        shown: list[str] = []
        for step in self.steps:
            shown += [*([""] if shown else []), *_shown(step, log, self.log)]
        return "\n".join(["```console", *shown, "```"])

    def put(self, root: Path) -> bool:
        """Write it into its page; was it another before? Raises TranscriptNotMade."""
        page = root / self.page
        before = page.read_text()
        head, end = f"<!-- transcript {self.name}: {self.made_by} -->", "<!-- end of transcript -->"
        place = re.compile(rf"<!-- transcript {self.name}: .*-->\n(?:.*\n)*?{end}")
        after, places = place.subn(lambda _: f"{head}\n{self.text(root)}\n{end}", before)
        if places != 1:
            raise TranscriptNotMade(f"{self.page} has {places} places for {self.name}, not one")
        page.write_text(after)
        return before != after

    def record(self, root: Path) -> None:
        """Run the command, show what it prints, and keep it. Raises TranscriptNotMade."""
        command = shlex.split(self.made_by)
        command[0] = sys.executable if command[0] == "python" else command[0]
        kept: list[str] = []
        with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as ran:
            for line in ran.stdout or ():
                sys.stderr.write(line)
                kept.append(line.replace(f"{root}/", ""))
        if ran.returncode not in self.codes:
            raise TranscriptNotMade(f"`{self.made_by}` ended with {ran.returncode}; log not kept")
        path = root / self.log
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress("".join(kept).encode()))


def _split(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(command, its output) of each step; under "" what stands outside of any."""
    command: str = ""
    output: list[str] = []
    for line in lines:
        step = _STEP.fullmatch(line)
        if step is None and line:
            output.append(line)
        elif command or step is not None:  # an empty line ends the output of a step
            yield command, output
            command, output = "", []
        if step is not None:
            command = step["command"]
    yield command, output


def _shown(step: Step, log: list[tuple[str, list[str]]], where: Path) -> list[str]:
    found = [
        (command, output)
        for command, output in log
        if (re.search(step.command, command) if step.command else not command)
    ]
    if not step.command:  # everything outside of the steps, as one text
        found = [("", [line for _, output in found for line in output])]
    if len(found) != 1:
        raise TranscriptNotMade(f"{where} has {len(found)} steps {step.command!r}, not one")
    command, output = found[0]
    shown = [f"$ {command}"] if command else []
    for line in output:
        kept = not step.keep or any(re.search(pattern, line) for pattern in step.keep)
        if kept and line not in shown:  # two kernels may say the same
            shown.append(line)
    return shown


_E4B = "lab run gemma4-e4b-summarisation --reinject stale-swa-state"

TRANSCRIPTS = {
    transcript.name: transcript
    for transcript in (
        Transcript(
            "demo",
            Path("README.md"),
            "make demo",
            (
                Step(f"{_E4B} --no-trap", ("FAULT", "first wrong", "fault at launch")),
                Step(f"{_E4B} --dir out/demo/dumps$", ("TRAPPED", "I2", "block_tables", "dump:")),
                Step("triage explain", ("confidence", "evidence", "backend's SWA", "try  ")),
                Step("--fix clamp", ("with fix", "^eager", "the output", "trtllm-gen")),
                Step("replay .* --fix state-swap", ("with fix", "^eager", "the output equals")),
                Step("", (r"^The story", r"^  \d\.", "^REPRODUCED", "^next", "^  triage ")),
            ),
        ),
        Transcript(
            "batch",
            Path("docs/batch.md"),
            "python -m triage.bench.batch_story",
            (
                Step("--workers 2$"),
                Step("again", ("known from before",)),
                Step("batch report"),
            ),
        ),
        Transcript(
            "hardware",
            Path("README.md"),
            "python -m triage.bench.hardware_story out/gpu-smoke",
            (
                Step("illegal memory access"),
                Step("crash-default/server.log", ("StaleSWAState:", "block_tables", "more in")),
                Step("triage explain", ("confidence", "evidence", "try  ")),
                Step("smoke_table", ("draft tokens with (fix|clamp|defect)",)),
            ),
        ),
    )
}


@click.command()
@click.option("--record", type=click.Choice(list(TRANSCRIPTS)), help="Run this one's command.")
def main(record: str | None) -> None:
    """Write every transcript into its page, from the logs that are kept."""
    root = Path.cwd()
    if record is not None:
        TRANSCRIPTS[record].record(root)
        click.echo(f"wrote {TRANSCRIPTS[record].log}")
    for transcript in TRANSCRIPTS.values():
        changed = transcript.put(root)
        click.echo(f"{transcript.name}: {'wrote' if changed else 'as before in'} {transcript.page}")


if __name__ == "__main__":
    try:
        main()
    except TriageError as error:
        sys.exit(str(error))
