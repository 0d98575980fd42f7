"""One object of a source as one row of the results: what it is, its cause, or why not.

The failure: a batch that stops at a bad file, or leaves it out without a word. So everything
that can go wrong with an object is a row with its error, and nothing in a row depends on when,
where or by how many workers it was made: the same objects give the same rows.

Long because a row's columns, what fills them and what stands there instead are one table.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

import triage
from triage.batch.objects import Object, read
from triage.batch.signature import Signature, signature_of, version
from triage.dump.file import MAGIC, decode
from triage.dump.sections import Dump
from triage.engines import EngineError
from triage.errors import DumpError, ReplayError, type_and_place
from triage.explain import Explanation, explain
from triage.files.text import printable
from triage.replay.deduction import deduce
from triage.replay.engine import replay_file
from triage.replay.kernels import EMULATOR, ON_A_CPU
from triage.replay.verdict import Outcome

SCHEMA = "sglang-triage/batch/1"
"""Of the columns below; new where one goes or changes its meaning."""

UNREAD = "unread"
CLOCK_SLACK = timedelta(minutes=5)
"""A dump whose own time is later than its store's by more was written by a clock that is ahead."""

_GROUPS = ("tp", "pp", "dp", "draft")
_MEMO = 256


@dataclass(frozen=True, slots=True)
class Row:
    """One object. Text that is not known is "", a number None; docs/batch.md says each column.

    `identity` tells an object that was read already from one that is new or was changed.
    """

    url: str
    size_bytes: int = 0
    stamp: str = ""
    modified: str = ""
    sha256: str = ""
    status: str = UNREAD
    error: str = ""
    duplicate_of: str = ""
    format_version: int | None = None
    signature: str = ""
    cause: str = ""
    confidence: str = ""
    invariant: str = ""
    layer_kind: str = ""
    call_site: str = ""
    versions: str = ""
    summary: str = ""
    layer_id: int | None = None
    pool: str = ""
    role: str = ""
    forward_mode: str = ""
    seen: str = ""
    clock: str = ""
    rank: str = ""
    step: int | None = None
    sglang: str = ""
    flashinfer: str = ""
    torch: str = ""
    written_by: str = ""
    gpu: str = ""
    arch: str = ""
    replay: str = ""
    explained_by: str = ""

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.url, self.size_bytes, self.stamp


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one task reads and explains. replay: the kernel to replay each on, "" for none."""

    objects: tuple[Object, ...]
    replay: str = ""


class Answer(NamedTuple):
    """What a task hands back: rows as plain values, and of which release and columns they are.

    A worker of a cluster may run other code than we do, and a row read by the wrong columns
    would say anything.
    """

    made_by: tuple[str, ...]
    values: list[tuple[Any, ...]]

    def rows(self) -> list[Row]:
        """Raises EngineError where another release made them."""
        if self.made_by != made_by():
            raise EngineError(
                f"the workers run {self.made_by[0]:.60} with other columns or rules, and this is "
                f"{made_by()[0]}: install the same release there"
            )
        return [Row(*values) for values in self.values]


def rows_of(chunk: Chunk) -> Answer:
    """A row for each object, in order. Raises nothing of an object's own.

    Memory: one object at a time, whatever the chunk holds.
    """
    made = (row_of(each, chunk.replay) for each in chunk.objects)
    return Answer(made_by(), [tuple(getattr(row, name) for name in COLUMNS) for row in made])


def made_by() -> tuple[str, ...]:
    """Release, schema and columns."""
    return explained_by(), SCHEMA, *COLUMNS


def row_of(each: Object, replay: str = "") -> Row:
    """Read and explain one object."""
    row = _unread(each)
    try:
        content = read(each)
    except DumpError as error:
        return replace(row, error=_sentence(error, each))
    digest = hashlib.sha256(content).hexdigest()
    row = replace(row, sha256=digest, format_version=format_version(content))
    told = _told(digest, content, replay)
    row = replace(row, **told)
    return row if row.status == UNREAD else _in_time(row)


def failed(each: Object, why: str) -> Row:
    """The row of an object that could not be looked at for a reason of its worker's."""
    return replace(_unread(each), error=printable(why))


def _unread(each: Object) -> Row:
    return Row(each.url, each.size, each.stamp, each.modified, explained_by=explained_by())


@functools.cache  # the package's metadata is a file, a fifth of what a dump costs
def explained_by() -> str:
    """Rows of another release are made anew: its rules may name what these do not."""
    return f"sglang-triage {triage.__version__}"


_memo: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()


def _told(digest: str, content: bytes, replay: str) -> dict[str, Any]:
    """The columns that follow from the bytes alone; of the newest contents they are remembered."""
    known = _memo.get((digest, replay))
    if known is None:
        known = _memo[digest, replay] = _explained(content, replay)
        if len(_memo) > _MEMO:
            _memo.popitem(last=False)
    return known


def _explained(content: bytes, replay: str) -> dict[str, Any]:
    try:
        dump = decode(content)
        explained = explain(dump)
        columns = _columns(dump, explained, signature_of(dump, explained))
        return {**columns, "replay": _replayed(dump, content, replay) if replay else ""}
    except DumpError as error:
        return {"error": printable(error)}
    except Exception as error:  # a mistake of ours: one row says so, the others go on
        return {"error": f"triage itself failed: {type_and_place(error)}"}


def _columns(dump: Dump, explained: Explanation, signature: Signature) -> dict[str, Any]:
    fault, known = dump.fault, dump.provenance
    named = explained.named
    return {
        "status": explained.status,
        "signature": signature.key,
        **{name: printable(value) for name, value in signature._asdict().items()},
        "confidence": named[0].confidence.name.lower() if named else "",
        "summary": printable(fault.summary)[:300],
        "layer_id": _layer(dump),
        "pool": printable(fault.pool),
        "role": printable(dump.backend.role) if dump.backend else "",
        "forward_mode": printable(fault.forward_mode),
        "seen": _text(known, "time"),
        "rank": _rank(known),
        "step": step if type(step := known.get("step")) is int and abs(step) < 1 << 62 else None,
        "sglang": printable(version(dump, "sglang")),
        "flashinfer": printable(version(dump, "flashinfer-python")),
        "torch": printable(version(dump, "torch")),
        "written_by": printable(version(dump, "sglang-triage")),
        "gpu": _text(known, "gpu"),
        "arch": _text(known, "arch"),
    }


def _layer(dump: Dump) -> int | None:
    if dump.fault.layer_id is not None:
        return dump.fault.layer_id
    return dump.launch.layer_id if dump.launch is not None else None


def _text(known: dict[str, Any], name: str) -> str:
    value = known.get(name)
    return printable(value)[:120] if isinstance(value, str) else ""


def _rank(known: dict[str, Any]) -> str:
    """By the groups that SGLang told ("tp 1, dp 0"), else as the environment had it."""
    ranks = known.get("ranks")
    if isinstance(ranks, dict):
        told = [f"{name} {ranks[name]}" for name in _GROUPS if type(ranks.get(name)) is int]
        if told:
            return ", ".join(told)
    return _text(known, "rank")


def _replayed(dump: Dump, content: bytes, kernel: str) -> str:
    """The outcome; the emulator's (numpy, deduced) alone, that of a kernel behind its name.

    A kernel executes in a process of its own (`triage/replay/engine.py`), seconds each.
    """
    try:
        if kernel == EMULATOR:
            return deduce(dump).outcome.value
        with tempfile.TemporaryDirectory(prefix="triage-batch-") as scratch:
            path = Path(scratch) / "replayed.msgpack"
            path.write_bytes(content)
            verdicts = replay_file(path, dump, (kernel,))
        (verdict,) = (each for each in verdicts if each.kernel == kernel)
        why = f": {verdict.reasons[0]}" if verdict.outcome is Outcome.CANNOT_RUN else ""
        return printable(f"{kernel}: {verdict.outcome.value}{why}")[:300]
    except ReplayError as error:
        said = f"CANNOT_RUN: {printable(error)}"
        return said if kernel == EMULATOR else f"{kernel}: {said}"


def replayed_on(outcome: str) -> str:
    """The kernel of a row's `replay`, "" where there was none."""
    kernel = outcome.partition(":")[0]
    return kernel if kernel in ON_A_CPU else EMULATOR if outcome else ""


def _in_time(row: Row) -> Row:
    """`seen` in UTC, by the clock that can be right.

    The writer's own, unless it is later than the store's: nothing is stored before it is written.
    """
    written, stored = _moment(row.seen), _moment(row.modified)
    if written is not None and stored is not None and written - stored > CLOCK_SLACK:
        return replace(row, seen=row.modified, clock="ahead of the store's")
    if written is not None:
        return replace(row, seen=written.isoformat(timespec="microseconds"), clock="the writer's")
    clock = "" if stored is None else "the store's"
    return replace(row, seen=row.modified, clock=clock)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_version(content: bytes) -> int | None:
    """The dump format that the first bytes claim, readable here or not; None for no dump."""
    unpacker = msgpack.Unpacker(max_buffer_size=64)
    unpacker.feed(content[:64])
    try:
        unpacker.read_array_header()
        magic, found = unpacker.unpack(), unpacker.unpack()
    except Exception:  # anything may stand there
        return None
    return found if magic == MAGIC and type(found) is int and abs(found) < 1 << 31 else None


def _sentence(error: DumpError, each: Object) -> str:
    return printable(str(error).removeprefix(f"{each.path}: "))


@functools.cache
def column_types() -> dict[str, str]:
    """Column -> "text", "integer" or "time"."""
    kinds = {"int": "integer", "int | None": "integer"}
    found = {field.name: kinds.get(str(field.type), "text") for field in fields(Row)}
    return {**found, "modified": "time", "seen": "time"}
