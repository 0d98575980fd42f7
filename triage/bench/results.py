"""The tables of docs/results: made by the command above each, never by hand.

A table stands between two comments that name its command and a digest of what it was made
from: the catalogue whose entries are its rows, or the stored files that it sums up. Where
that has changed since, the table is stale, and `tests/packaging/test_documents.py` fails.

    python -m triage.bench.results            which tables there are, and whether they are stale
    python -m triage.bench.results NAME ...   run the command and put its table in place

Long because it is the list of them all.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from triage.errors import TriageError

RESULTS = Path("docs/results")
LOGS = RESULTS / "logs"
END = "<!-- end of table -->"


class TableNotMade(TriageError):
    """The command of a table failed, or its page has no place for it."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: `command` prints its Markdown, `reads` says what it is about.

    command: a shell line from the root of the repository; lines that begin with "|" are kept.
    reads: one line per thing the table must be as new as, in any order.
    on: the page, where one has several tables; else it has the table's name.
    """

    name: str
    command: str
    reads: Callable[[], Iterable[str]]
    on: str = ""

    @property
    def page(self) -> Path:
        return RESULTS / f"{self.on or self.name}.md"

    @property
    def quick(self) -> bool:
        """Is it made of a stored record, in a second and on any machine?"""
        return "docs/results/logs/" in self.command

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(sorted(self.reads())).encode()).hexdigest()[:12]

    def stale(self, root: Path) -> str:
        """Why the table has to be made again, "" if it has not."""
        found = _place(self.name).search((root / self.page).read_text())
        if found is None:
            return f"{self.page} has no place for it"
        if found["command"] != self.command:
            return "its command has changed"
        now = self.digest
        return "" if found["digest"] == now else f"made from {found['digest']}, now {now}"

    def put(self, root: Path, lines: Iterable[str]) -> None:
        """Write the table, with what it was made from, in its place. Raises TableNotMade."""
        page = root / self.page
        head = f"<!-- table {self.name}: {self.command}\n     made from {self.digest} -->"
        text, places = _place(self.name).subn(
            lambda _: "\n".join([head, *lines, END]), page.read_text()
        )
        if places != 1:
            raise TableNotMade(f"{self.page} has {places} places for table {self.name}, not one")
        page.write_text(text)

    def rows(self, root: Path) -> list[str]:
        """The rows that stand on the page."""
        found = _place(self.name).search((root / self.page).read_text())
        return [line for line in found[0].splitlines() if line.startswith("|")] if found else []

    def make(self, root: Path) -> None:
        """Run the command, which may take minutes, and write what it prints."""
        self.put(root, self.printed(root))

    def printed(self, root: Path) -> list[str]:
        """The rows that the command prints. Raises TableNotMade."""
        words = [sys.executable if word == "python" else word for word in shlex.split(self.command)]
        if words[0] == "triage":
            words[:1] = [sys.executable, "-m", "triage"]
        done = subprocess.run(words, cwd=root, stdout=subprocess.PIPE, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
        if done.returncode or not lines:
            raise TableNotMade(f"`{self.command}` ended with {done.returncode}, {len(lines)} rows")
        return lines


def _place(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"<!-- table {re.escape(name)}: (?P<command>.*)\n     made from (?P<digest>\w+) -->\n"
        rf"(?:.*\n)*?{re.escape(END)}"
    )


def _bugs() -> Iterator[str]:
    from triage.lab.bugs import CATALOGUE

    for bug in CATALOGUE.values():
        yield f"{bug.name}: {bug.what}"


def _defects() -> Iterator[str]:
    from triage_kernels.validate.defects import DEFECTS

    for mutant in DEFECTS:
        if mutant.device == "cpu":  # what the command runs without a GPU
            yield f"{mutant.name} {mutant.op}: {mutant.what}"


def _checks() -> Iterator[str]:
    from triage.bench.family_cost import WHEN

    for check, when in WHEN.items():
        yield f"{check}: {when}"


def _causes() -> Iterator[str]:
    from triage.lab.bugs import CATALOGUE

    for bug in CATALOGUE.values():
        yield f"{bug.name}: {bug.cause} {' '.join(bug.also)}"


def _captures() -> Iterator[str]:
    from triage.fusions.catalogue import PATTERNS

    for pattern in PATTERNS:
        yield f"{pattern.name} {pattern.chain}: {pattern.what}; {pattern.sglang}; {pattern.ours}"
    for path in sorted(Path("docs/results/logs/fusions-h200").rglob("*.xz")):
        yield from _file(path)()


def _provable() -> Iterator[str]:
    from triage.verify.prove import PROVABLE

    yield from PROVABLE


def _file(path: Path) -> Callable[[], Iterator[str]]:
    """A stored record, or each of a folder: its digest."""

    def digest() -> Iterator[str]:
        for file in path.iterdir() if path.is_dir() else [path]:
            yield hashlib.sha256(file.read_bytes()).hexdigest()

    return digest


def _record(name: str, on: str = "") -> Table:
    """A table whose figures took hours or a GPU: made of what was stored then."""
    path = LOGS / f"{name}.json"
    return Table(name, f"python -m triage.bench.record_table {path}", _file(path), on)


PAIRS_RECORD = LOGS / "server-pairs-e4b.jsonl"
MTP_PAIRS_RECORD = LOGS / "server-pairs-e4b-mtp.jsonl"
CELLS_RECORD = LOGS / "gpu-server.jsonl"
"""Every line that runs of `make gpu-server` have left; not there before the first is joined."""


def _cells() -> Iterator[str]:
    """The cells of real servers, and every run that was joined to their record."""
    from triage.lab.server.cells import CELLS

    for cell in CELLS:
        yield f"{cell.job.name} {' '.join(cell.job.parts)}"
    if CELLS_RECORD.exists():
        yield from _file(CELLS_RECORD)()


BLIND, SECOND = "blind-2026-11-30", "blind-2026-11-30b"
"""Blind rounds, by page."""


def _blind(kind: str, played: str = BLIND, name: str = "blind") -> Table:
    """A kind of a blind round: made of what was stored at each play."""
    directory = LOGS / played
    return Table(
        f"{name}-{kind}",
        f"python -m triage.bench.blind_table {directory} {kind}",
        lambda: (
            hashlib.sha256(file.read_bytes()).hexdigest()
            for file in directory.glob(f"{kind}-*.json")
        ),
        played,
    )


_RELEASES = ("0.5.12.post1", "0.5.13.post1", "0.5.14", "0.5.15.post1", "0.5.18", "0.5.23")

TABLES = {
    table.name: table
    for table in (
        Table(
            "matrix",
            "triage lab matrix " + " ".join(f"--sglang {r}" for r in _RELEASES) + " --markdown",
            _bugs,
        ),
        _record("kernel-aot"),
        Table(
            "torture",
            "python -m tests.torture.long --report --out docs/results/logs/torture",
            _file(LOGS / "torture"),
        ),
        _record("figures"),
        _record("full-size", on="figures"),
        _record("batch", on="figures"),
        _record("soak"),
        _record("watch-cost"),
        _record("shell-cost", on="watch-cost"),
        _record("default-checks", on="traps-cost"),
        _record("house"),
        _record("edges", on="h200"),
        _record("trap-cost", on="h200"),
        _record("kernel-bench", on="h200"),
        _record("post-topk", on="h200"),
        _record("gpu-ranks", on="h200"),
        Table("traps-cost", "python -m triage.bench.family_cost --markdown", _checks),
        Table("explain", "python -m tests.explain.confusion", _causes),
        Table("verify", "triage verify --markdown", _provable),
        Table(
            "gpu-smoke",
            "python -m triage.bench.smoke_table docs/results/logs/gpu-smoke.json.xz",
            _file(LOGS / "gpu-smoke.json.xz"),
        ),
        Table(
            "fused-serving",
            "python -m triage.bench.fused_serving --table docs/results/logs/fused-serving.jsonl",
            _file(LOGS / "fused-serving.jsonl"),
        ),
        Table("gpu-server", f"python -m triage.bench.cells_table {CELLS_RECORD}", _cells),
        Table(
            "fused-launches",
            "python -m triage.bench.fused_serving --launches docs/results/logs/fused-serving.jsonl",
            _file(LOGS / "fused-serving.jsonl"),
            "fused-serving",
        ),
        Table(
            "pools",
            "python -m triage.bench.pools_table docs/results/logs/pools",
            _file(LOGS / "pools"),
        ),
        Table(
            "server-pairs",
            f"python -m triage.bench.server_pairs E4B --out {PAIRS_RECORD} --table",
            _file(PAIRS_RECORD),
            "gpu-smoke",
        ),
        Table(
            "server-pairs-mtp",
            f"python -m triage.bench.server_pairs E4B --out {MTP_PAIRS_RECORD} --table",
            _file(MTP_PAIRS_RECORD),
            "gpu-smoke",
        ),
        Table(
            "witness-pairs",
            "python -m triage.bench.witness_pairs"
            " --out docs/results/logs/witness-pairs.jsonl --table",
            _file(LOGS / "witness-pairs.jsonl"),
            "gpu-smoke",
        ),
        Table(
            "dependent-launch",
            "python -m triage.bench.dependent_launch"
            " --out docs/results/logs/dependent-launch.jsonl --table",
            _file(LOGS / "dependent-launch.jsonl"),
            "h200",
        ),
        Table("kernel-mutants", "triage kernels mutants --markdown -", _defects),
        *map(_blind, ("artefacts", "kernels", "defects")),
        _blind("defects", SECOND, "second-blind"),
        Table("fusions", "python -m triage.bench.fusions_table", _captures),
    )
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(TABLES)))
def main(names: tuple[str, ...]) -> None:
    """Make the tables NAMES of docs/results again; without a name, say which are stale."""
    root = Path.cwd()
    for name in names:
        click.echo(f"{name}: {TABLES[name].command}", err=True)
        TABLES[name].make(root)
        click.echo(f"wrote {TABLES[name].page}")
    if names:
        return
    stale = {name: table.stale(root) for name, table in TABLES.items()}
    for name, why in stale.items():
        click.echo(f"{name}: {'stale, ' + why if why else 'as new as what it reads'}")
    raise SystemExit(1 if any(stale.values()) else 0)


if __name__ == "__main__":
    try:
        main(standalone_mode=True)
    except TriageError as error:
        sys.exit(str(error))
