"""Whatever people have, explained together: dumps, logs, folders, standard input.

The rule: say what each input was recognised as, put every report in the order in which it
happened, name the rank that faulted first, and set what other tools saw beside the launch of
a dump where there is one. What is not recognised is named as unknown and shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triage.dump.file import MAGIC, decode, read_dump
from triage.dump.observation import Failure, Form, Observation
from triage.dump.sections import Dump
from triage.errors import DumpError
from triage.explain import Explanation, explain
from triage.explain.advice import Reading, read
from triage.importers import read_launch, with_observations
from triage.importers.flashinfer_folder import calls_of, choose, is_folder
from triage.importers.recognise import Log, read_log
from triage.importers.scan import open_text

STDIN = "-"
MAX_FILES = 200
_OUR_SUFFIX = ".msgpack"
_FOLLOW = frozenset({Failure.ENDED, Failure.CALL, Failure.BALANCED, Failure.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that was given, and what it is. `problem` says why it tells less than it could."""

    path: str
    recognised: str
    dump: Dump | None = None
    log: Log | None = None
    problem: str = ""
    shown: tuple[str, ...] = ()  # of what is not recognised


@dataclass(frozen=True, slots=True)
class RankReport:
    """What one rank reported first. `collateral`: only that another one ended."""

    rank: str
    observation: Observation
    collateral: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All inputs together. `explanations` are (path, explanation) of those that hold a launch
    or a fault of their own; `readings` one per observation, in the order of `observations`."""

    inputs: tuple[Input, ...]
    observations: tuple[Observation, ...]
    readings: tuple[Reading, ...]
    ranks: tuple[RankReport, ...]
    explanations: tuple[tuple[str, Explanation], ...]
    notes: tuple[str, ...] = ()

    @property
    def recognised(self) -> bool:
        return any(each.dump or each.problem or self.observations for each in self.inputs)

    @property
    def missing(self) -> tuple[str, ...]:
        """What would be needed to name a cause; nothing where one is named."""
        if any(explanation.named for _, explanation in self.explanations):
            return ()
        told = [each for reading in self.readings for each in reading.missing]
        for _, explanation in self.explanations:
            told += [each for seen in explanation.related for each in seen.missing]
            told += [each for cause in explanation.possible for each in cause.missing]
        if self.observations and not self.explanations:
            told.append("a dump of this tool: the page table and lengths of the launch")
        return tuple(dict.fromkeys(told))

    @property
    def next(self) -> tuple[str, ...]:
        """Commands, the most telling first."""
        told = [each for reading in self.readings for each in reading.next]
        return tuple(dict.fromkeys(told))

    def as_dict(self) -> dict[str, Any]:
        first = next((each for each in self.ranks if not each.collateral), None)
        return {
            "inputs": [
                {
                    "path": each.path,
                    "recognised": each.recognised,
                    "problem": each.problem,
                    "unknown": list(each.shown),
                }
                for each in self.inputs
            ],
            "first": None if first is None or not first.rank else first.rank,
            "ranks": [
                {
                    "rank": each.rank,
                    "failure": each.observation.failure.value,
                    "source": each.observation.source,
                    "line": each.observation.line,
                    "time": each.observation.time,
                    "collateral": each.collateral,
                }
                for each in self.ranks
            ],
            "observations": [
                {**seen.as_plain(), **reading.as_dict()}
                for seen, reading in zip(self.observations, self.readings, strict=True)
            ],
            "explanations": [
                {"path": path, **explanation.as_dict()} for path, explanation in self.explanations
            ],
            "missing": list(self.missing),
            "next": list(self.next),
            "notes": list(self.notes),
        }


def explain_anything(paths: Sequence[str], stdin: bytes | None = None) -> Report:
    """Explain `paths` together. `-` is standard input, given as `stdin`.

    Raises:
        DumpError: the only input cannot be read at all.
    """
    inputs = [each for path in paths for each in _inputs(path, stdin)]
    if len(inputs) == 1 and inputs[0].recognised == UNREADABLE:
        raise DumpError(inputs[0].problem)
    observations = _in_order(each for given in inputs if given.log for each in given.log.observations)
    observations = tuple(_with_page_size(each, inputs) for each in observations)
    explanations, notes = _explanations(inputs, observations)
    return Report(
        tuple(inputs),
        observations,
        tuple(read(each) for each in observations),
        _ranks(observations),
        explanations,
        tuple(notes),
    )


UNREADABLE = "cannot be read"


def _inputs(path: str, stdin: bytes | None) -> list[Input]:
    if path == STDIN:
        return [_of_bytes(stdin or b"")]
    try:
        return _directory(Path(path)) if Path(path).is_dir() else [_file(Path(path))]
    except DumpError as error:
        return [Input(path, UNREADABLE, problem=str(error))]


def _of_bytes(data: bytes) -> Input:
    if _is_dump(data[:64]):
        return _dump_input("standard input", decode(data))
    return _text(io.BytesIO(data), "standard input")


def _is_dump(head: bytes) -> bool:
    return MAGIC.encode() in head


def _file(path: Path) -> Input:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise DumpError(f"cannot read {path}: {error.strerror or error}") from error
    if _is_dump(head) or path.suffix == _OUR_SUFFIX:
        return _dump_input(str(path), read_dump(path))
    if head[:4] == b"\x7fELF":
        return Input(
            str(path),
            "an ELF file, as a CUDA core dump is",
            problem="its text is told by cuda-gdb: cuda-gdb -batch -ex "
            f"'target cudacore {path}' -ex 'info cuda kernels' -ex 'x/i $errorpc' > core.txt, "
            "then: triage explain core.txt",
        )
    held = read_launch(path)
    if held is not None:
        return _dump_input(str(path), held)
    if b"\x00" in head and head[:2] not in (b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff"):
        raise DumpError(f"{path} is not an sglang-triage dump, and no text")
    with open_text(path) as stream:
        return _text(stream, str(path))


def _dump_input(path: str, dump: Dump) -> Input:
    imported = dump.provenance.get("imported")
    if imported:
        return Input(path, f"{imported}", dump)
    fault = dump.fault
    kind = fault.invariant or fault.facts.get("kind") or "a snapshot"
    return Input(path, f"a dump of this tool: {kind}", dump)


def _text(stream: Any, name: str) -> Input:
    log = read_log(stream, name)
    size = f"{log.scanned.total_lines} lines"
    if not log.observations:
        return Input(
            name,
            f"a text of {size} in which nothing is known here",
            log=log,
            problem="",
            shown=log.scanned.suspicious,
        )
    return Input(name, f"{', '.join(log.forms)} ({size})", log=log)


def _directory(directory: Path) -> list[Input]:
    """A folder of FlashInfer's calls, or of anything."""
    if is_folder(directory):
        return [_flashinfer(directory)]
    try:
        files = sorted(path for path in directory.rglob("*") if path.is_file())
    except OSError as error:
        raise DumpError(f"cannot read {directory}: {error.strerror or error}") from error
    files = [path for path in files if not path.name.startswith((".", "armed."))]
    folders = [path for path in directory.iterdir() if path.is_dir() and is_folder(path)]
    inside = {path for path in files if any(folder in path.parents for folder in folders)}
    found = [_flashinfer(folder) for folder in folders]
    for path in [path for path in files if path not in inside][:MAX_FILES]:
        try:
            found.append(_file(path))
        except DumpError as error:
            found.append(Input(str(path), UNREADABLE, problem=str(error)))
    if not found:
        raise DumpError(f"{directory} holds no file that could be read")
    return found


def _flashinfer(directory: Path) -> Input:
    calls = calls_of(directory)
    chosen = choose(calls)
    what = "FlashInfer level 10"
    if len(calls) > 1:
        what += f", {len(calls)} calls, of which {chosen.directory.name} was read"
    what += f": {chosen.sentence()}"
    try:
        return Input(str(directory), what, read_launch(chosen.directory) if chosen.covered else None,
                     problem="" if chosen.covered else _not_covered(calls))  # fmt: skip
    except DumpError as error:
        return Input(str(directory), what, problem=str(error))


def _not_covered(calls: list[Any]) -> str:
    named = dict.fromkeys(call.name for call in calls if call.attention)
    if named:
        return (
            f"attention, but not one of the two calls that are covered here: {', '.join(named)}; "
            "its table cannot be judged"
        )
    return f"no attention call is among them: {', '.join(dict.fromkeys(c.name for c in calls))}"


# -- observations in order ----------------------------------------------------------------------


def _in_order(found: Iterable[Observation]) -> tuple[Observation, ...]:
    """By time where all of a source's reports have one of the same clock, else as they stand."""
    listed = list(found)
    stamped = [each for each in listed if each.time is not None and each.time > 1e8]
    if len(stamped) == len(listed):
        listed.sort(key=lambda each: each.time or 0.0)
    return tuple(listed)


def _with_page_size(seen: Observation, inputs: list[Input]) -> Observation:
    """The page size that the same log, or a dump beside it, tells for a pool's sums."""
    if seen.form is not Form.LEAK or "page_size" in seen.values:
        return seen
    sizes = {
        given.log.scanned.page_size
        for given in inputs
        if given.log is not None and given.log.scanned.page_size
    }
    sizes |= {
        given.dump.launch.page_size
        for given in inputs
        if given.dump is not None and given.dump.launch is not None
    }
    if len(sizes) != 1:
        return seen
    return replace(seen, values={**seen.values, "page_size": sizes.pop()})


def _ranks(observations: Sequence[Observation]) -> tuple[RankReport, ...]:
    """The first report of each rank, the earliest first; those that only followed last."""
    first: dict[str, Observation] = {}
    for each in observations:
        before = first.get(each.rank)
        if before is None or (before.failure in _FOLLOW and each.failure not in _FOLLOW):
            first[each.rank] = each
    faults = [each for each in first.values() if each.failure not in _FOLLOW]
    others = [each for each in first.values() if each.failure is Failure.ENDED]
    return tuple(
        RankReport(each.rank, each, collateral)
        for group, collateral in ((faults, False), (others, True))
        for each in group
    )


# -- explanations ---------------------------------------------------------------------------------


def _explanations(
    inputs: list[Input], observations: tuple[Observation, ...]
) -> tuple[tuple[tuple[str, Explanation], ...], list[str]]:
    dumps = [each for each in inputs if each.dump is not None]
    found, notes = [], []
    placed = 0
    for given in dumps:
        assert given.dump is not None
        mine = observations if len(dumps) == 1 else _of_process(given.dump, observations)
        placed += len(mine)
        dump = with_observations(given.dump, mine) if mine else given.dump
        found.append((given.path, explain(dump)))
    if len(dumps) > 1 and observations and not placed:
        notes.append(
            "several dumps and a log: no pid tells which dump the log's reports belong to; give "
            "one dump with it to set them side by side"
        )
    return tuple(found), notes


def _of_process(dump: Dump, observations: tuple[Observation, ...]) -> tuple[Observation, ...]:
    """Those that name the dump's process."""
    pid = dump.provenance.get("pid")
    return tuple(
        each
        for each in observations
        if pid is not None and (each.values.get("pid") == pid or each.rank == f"pid {pid}")
    )
