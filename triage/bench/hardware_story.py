"""The crash on real hardware, told from what `make gpu-smoke` left: commands and their output.

`python -m triage.bench.hardware_story FOLDER`, where FOLDER holds `summary.json` and the
unpacked `evidence.tar.xz`. Every line is one that a command prints over those files. With
`--store` the record and the story are kept under docs/results/logs, and the table of
`docs/results/gpu-smoke.md` and the README's transcript are made of them.
"""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

import click

from triage.bench.results import TABLES
from triage.bench.transcripts import LOGS, TRANSCRIPTS

COMMANDS = (
    "grep -m 1 -E 'illegal memory access|global/shared address' crash-off/server.log",
    "grep -m 1 -A 3 '^triage.errors' crash-default/server.log",
    "triage explain crash-default/dumps/*.msgpack",
    "python -m triage.bench.smoke_table summary.json",
)
"""Run in FOLDER by a shell, so that they can be repeated as they stand."""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--store", is_flag=True, help="Keep it, and make table and transcript of it.")
def main(folder: Path, store: bool) -> None:
    """Print each command and what it says. Exit code 1 if one of them says nothing."""
    text, whole = story(folder)
    click.echo(text)
    if store and whole:
        record = (folder / "summary.json").read_bytes()
        (LOGS / "gpu-smoke.json.xz").write_bytes(lzma.compress(record))
        (LOGS / "hardware.txt.xz").write_bytes(lzma.compress(text.encode()))
        TABLES["gpu-smoke"].make(Path.cwd())
        TRANSCRIPTS["hardware"].put(Path.cwd())
    raise SystemExit(0 if whole else 1)


def story(folder: Path) -> tuple[str, bool]:
    """The commands with their output, and whether each of them had any."""
    lines, whole = [], True
    for number, command in enumerate(COMMANDS, 1):
        program, _, rest = command.partition(" ")
        ours = {"triage": f"{sys.executable} -m triage", "python": sys.executable}
        real = f"{ours.get(program, program)} {rest}"
        ran = subprocess.run(real, shell=True, cwd=folder, capture_output=True, text=True)
        lines += [f"== {number}: {command}", ran.stdout.rstrip() or ran.stderr.strip(), ""]
        whole = whole and bool(ran.stdout)
    return "\n".join(lines), whole


if __name__ == "__main__":
    main()
