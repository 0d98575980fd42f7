"""Whatever people have, read: dumps, logs, folders, standard input, each as what it is.

Nothing is refused for its name: a file's first bytes say whether it is a dump, an archive of
tensors, an ELF file or a text, and a text is what its lines are. What cannot be read at all
is an `Input` that says so, and an error only where nothing else was given.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from triage.dump.file import MAGIC, MAX_FILE_BYTES, decode, read_dump
from triage.dump.sections import Dump
from triage.errors import DumpError
from triage.explain.together import Input
from triage.files.reading import open_regular
from triage.importers import read_launch
from triage.importers.scan import MAX_BYTES, open_text

STDIN = "-"
MAX_FILES = 200
_PICTURES = (".png", ".jpg", ".svg")  # beside dumps; what they show is in the dumps
_OUR_SUFFIX = ".msgpack"
_UNREAD = "cannot be read"


def read_anything(paths: Sequence[str], stdin: BinaryIO | None = None) -> list[Input]:
    """What `paths` hold. `-` is `stdin`: a text of any length, or a dump.

    Raises:
        DumpError: the only input cannot be read at all.
    """
    inputs = [each for path in paths for each in _inputs(path, stdin)]
    if len(inputs) == 1 and inputs[0].unread:
        raise DumpError(inputs[0].problem)
    return inputs


def _inputs(path: str, stdin: BinaryIO | None) -> list[Input]:
    if path == STDIN:
        return [_of_stream(io.BytesIO() if stdin is None else stdin)]
    try:
        return _directory(Path(path)) if Path(path).is_dir() else [_file(Path(path))]
    except DumpError as error:
        return [Input(path, _UNREAD, problem=str(error), unread=True)]


def _of_stream(stream: BinaryIO) -> Input:
    """Standard input, read once: a dump whole, up to the size of a file; a text as it comes."""
    head = stream.read(64)
    if not _is_dump(head):
        return _text(_Behind(head, stream), "standard input")
    rest = stream.read(MAX_FILE_BYTES - len(head) + 1)
    if len(head) + len(rest) > MAX_FILE_BYTES:
        raise DumpError(f"standard input holds more than {MAX_FILE_BYTES} bytes of a dump")
    return _dump_input("standard input", decode(head + rest))


class _Behind:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int, /) -> bytes:
        head, self._head = self._head, b""
        return head or self._stream.read(size)


def _is_dump(head: bytes) -> bool:
    return MAGIC.encode() in head


def _file(path: Path, by_name: bool = True) -> Input:
    with open_regular(path, MAX_BYTES) as file:
        head = file.read(64)
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
    if not head:
        raise DumpError(f"{path} is empty: it is not an sglang-triage dump")
    try:
        held = read_launch(path)
    except DumpError as error:
        raise DumpError(f"{path} is not an sglang-triage dump: {error}") from error
    if held is not None:
        return _dump_input(str(path), held)
    if b"\x00" in head and head[:2] not in (b"\x1f\x8b", b"\xff\xfe", b"\xfe\xff"):
        raise DumpError(f"{path} is not an sglang-triage dump, and no text")
    with open_text(path) as stream:
        return _text(stream, str(path), by_name)


def _dump_input(path: str, dump: Dump) -> Input:
    imported = dump.provenance.get("imported")
    if imported:
        return Input(path, f"{imported}", dump)
    fault = dump.fault
    kind = fault.invariant or fault.facts.get("kind") or "a snapshot"
    return Input(path, f"a dump of this tool: {kind}", dump)


def _text(stream: Any, name: str, by_name: bool = True) -> Input:
    """by_name: was this very file given? Of one in a folder only what looks wrong is shown."""
    from triage.importers.recognise import read_log  # its patterns take a while to build

    log = read_log(stream, name)
    size = f"{log.scanned.total_lines} lines"
    if not log.observations:
        return Input(
            name,
            f"a text of {size} in which nothing is known here",
            shown=log.scanned.suspicious or (log.scanned.first if by_name else ()),
        )
    return Input(
        name,
        f"{', '.join(log.forms)} ({size})",
        observations=log.observations,
        page_size=log.scanned.page_size,
        problem=_not_listed(log),
    )


def _not_listed(log: Any) -> str:
    """What of a log was passed over; empty where nothing was."""
    parts = []
    if log.left_out:
        parts.append(f"at least {log.left_out} further reports are not listed")
    if log.scanned.left_out:
        parts.append(f"{log.scanned.left_out} passages like those before and after were not read")
    return "; ".join(parts)


def _directory(directory: Path) -> list[Input]:
    """A folder of FlashInfer's calls, or of anything."""
    from triage.importers.flashinfer_folder import is_folder

    if is_folder(directory):
        return [_flashinfer(directory)]
    try:
        files = sorted(path for path in directory.rglob("*") if path.is_file())
    except OSError as error:
        raise DumpError(f"cannot read {directory}: {error.strerror or error}") from error
    files = [path for path in files if not path.name.startswith((".", "armed."))]
    files = [path for path in files if path.suffix.lower() not in _PICTURES]
    folders = [path for path in directory.iterdir() if path.is_dir() and is_folder(path)]
    inside = {path for path in files if any(folder in path.parents for folder in folders)}
    found = [_flashinfer(folder) for folder in folders]
    for path in [path for path in files if path not in inside][:MAX_FILES]:
        try:
            if path.stat().st_size == 0:
                found.append(Input(str(path), "an empty file"))
                continue
            found.append(_file(path, by_name=False))
        except (DumpError, OSError) as error:
            found.append(Input(str(path), _UNREAD, problem=str(error), unread=True))
    if not found:
        raise DumpError(f"{directory} holds no file that could be read")
    return found


def _flashinfer(directory: Path) -> Input:
    from triage.importers.flashinfer_dump import read_call
    from triage.importers.flashinfer_folder import calls_of, choose

    calls = calls_of(directory)
    chosen = choose(calls)
    what = "FlashInfer level 10"
    if len(calls) > 1:
        what += f", {len(calls)} calls, of which {chosen.directory.name} was read"
    what += f": {chosen.sentence()}"
    try:
        dump = read_call(chosen) if chosen.covered else None
        return Input(str(directory), what, dump, problem="" if dump else _not_covered(calls))
    except DumpError as error:  # its sentence stands in `what` already
        why = str(error).replace(f"{chosen.sentence()}; to get it", "To get it").strip()
        return Input(str(directory), what, problem=why)


def _not_covered(calls: list[Any]) -> str:
    named = dict.fromkeys(call.name for call in calls if call.attention)
    if named:
        return (
            f"attention, but not one of the two calls that are covered here: {', '.join(named)}; "
            "its table cannot be judged"
        )
    return f"no attention call is among them: {', '.join(dict.fromkeys(c.name for c in calls))}"
