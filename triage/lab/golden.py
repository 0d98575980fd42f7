"""The golden dumps in `dumps/`: which there are, and the lab command that makes each again.

`python -m triage.lab.golden [NAME ...]` (`make golden`) makes them. What a
process leaves in a dump beside the fault, host, paths and object addresses, is
taken out, so that making one again gives the same file content.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from triage.dump.file import read_dump, write_dump
from triage.dump.sections import Dump, Launch, Ragged, Tables
from triage.errors import LabError
from triage.evidence import TensorFacts

DIRECTORY = Path(__file__).resolve().parents[2] / "dumps"
_KEPT_PROVENANCE = ("python", "versions", "gpu")


@dataclass(frozen=True, slots=True)
class Golden:
    """One golden dump: file name without suffix, lab arguments, what it shows."""

    name: str
    arguments: tuple[str, ...]
    shows: str

    @property
    def path(self) -> Path:
        return DIRECTORY / f"{self.name}.msgpack"

    @property
    def command(self) -> str:
        return "triage lab run " + " ".join(self.arguments)


_STALE = ("--reinject", "stale-swa-state")
_FULL = ("gemma4-e4b-summarisation-full", "--sglang", "0.5.12.post1")

GOLDEN = (
    Golden("smoke_stale_swa_state", ("smoke", *_STALE), "four rows, one wrong id in range"),
    Golden(
        "e4b_stale_swa_state",
        (*_FULL, *_STALE),
        "64 rows at 8k tokens: the first launch with a wrong id, still in range",
    ),
    Golden(
        "e4b_out_of_range",
        (*_FULL, *_STALE, "--checks", "I1,I20"),
        "the same run seen by bounds alone: ids beyond the SWA pool, where a GPU faults",
    ),
)


def make(golden: Golden, directory: Path) -> Path:
    """Run the lab command and leave the dump it wrote in `directory`, addresses taken out."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "triage", "lab", "run", *golden.arguments]
        done = subprocess.run(
            [*command, "--json", "--dir", scratch], capture_output=True, text=True, timeout=1800
        )
        found = [read_dump(path) for path in Path(scratch).glob("*.msgpack")]
        launches = [each for each in found if each.launch is not None]
        if len(launches) != 1:
            raise LabError(
                f"{golden.command} left {len(launches)} dumps of a launch, not one: {done.stderr}"
            )
        dump = without_addresses(launches[0])
    return write_dump(dump, directory, name=f"{golden.name}.msgpack")


def without_addresses(dump: Dump) -> Dump:
    """The dump less what differs between two processes that do the same."""
    launch, pools, backend = dump.launch, dump.pools, dump.backend
    if launch is not None:
        launch = replace(
            launch, tensors={name: _at_zero(facts) for name, facts in launch.tensors.items()}
        )
    if pools is not None:
        bare = tuple(replace(pool, object_id=0, extents=()) for pool in pools.pools)
        pools = replace(pools, pools=bare)
    if backend is not None:
        state = {k: re.sub(r"@[0-9a-f]+", "", text) for k, text in backend.swa_state.items()}
        backend = replace(backend, swa_state=state)
    tables = None if dump.tables is None else _without_what_was_there(dump.tables, launch)
    kept = {name: dump.provenance[name] for name in _KEPT_PROVENANCE if name in dump.provenance}
    return replace(
        dump, launch=launch, tables=tables, pools=pools, backend=backend, provenance=kept
    )


def _without_what_was_there(tables: Tables, launch: Launch | None) -> Tables:
    """Columns past a row's length are uninitialised memory from 0.5.14 on: make them 0."""
    if launch is None:
        return tables
    values = tables.page_table.values.copy()
    live = -(-tables.cache_seqlens // launch.page_size)
    for start, stop, pages in zip(
        tables.page_table.offsets[:-1], tables.page_table.offsets[1:], live, strict=True
    ):
        values[min(start + int(pages), stop) : stop] = 0
    return replace(tables, page_table=Ragged(values, tables.page_table.offsets))


def _at_zero(facts: TensorFacts) -> TensorFacts:
    return replace(facts, data_ptr=0)


def main(names: list[str]) -> None:
    known = {golden.name: golden for golden in GOLDEN}
    for name in names or list(known):
        if name not in known:
            raise LabError(f"no golden dump {name!r}; known: {', '.join(known)}")
        print(f"{known[name].command}\n  {make(known[name], DIRECTORY)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
