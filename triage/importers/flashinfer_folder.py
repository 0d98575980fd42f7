"""Which call of a FlashInfer level-10 folder is the one to read, and what it can tell.

The failure: under CUDA graphs FlashInfer writes a call's tensors after each replay returns.
The replay that faulted did not return, so what lies there is an earlier one's, and a reader
who takes it for the fault's finds nothing wrong. The rule: say which call was read, which
flush of it, and that the replay that faulted is absent.

    CALL/metadata.jsonl, CALL/inputs.*              one call
    CALL/graph_flushes/flush_NNNN/...               the same after each replay that returned
    DIR/session.jsonl, DIR/<time>_<pid>_<name>_...  what FLASHINFER_DUMP_DIR names
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.errors import DumpError
from triage.files.reading import read_regular
from triage.importers import flashinfer_log

MAX_METADATA_BYTES = 16 << 20
MAX_RECORD_BYTES = 1 << 20
"""JSON becomes twenty times its length of Python objects, and more."""
MAX_CALLS = 4096
PENDING = "graph_capture_pending_flush"

ABSENT_REPLAY = (
    "under CUDA graphs FlashInfer writes after each replay returns: the replay that faulted is "
    "absent"
)
HOW_TO_GET_IT = (
    "to get it: arm this tool's recorder (SGLANG_TRTLLM_MHA_DEBUG=1 "
    "SGLANG_TRTLLM_MHA_DEBUG_MODE=contain), or log again with --disable-cuda-graph"
)


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One logged call. `flush` is its newest flush, 0 where it was not captured in a graph."""

    directory: Path
    name: str
    metadata: dict[str, Any]
    flush: int = 0
    flushes: int = 0
    captured: bool = False

    @property
    def covered(self) -> bool:
        return flashinfer_log.covered(self.name)

    @property
    def attention(self) -> bool:
        return flashinfer_log.attention(self.name)

    @property
    def returned(self) -> bool | None:
        """Did the call come back? None where a replay's flush cannot tell."""
        if self.captured:
            return None
        status = self.metadata.get("execution_status")
        return None if status is None else status != "inputs_saved"

    @property
    def has_inputs(self) -> bool:
        return any((self.directory / f"inputs.{kind}").exists() for kind in ("safetensors", "pt"))

    def sentence(self) -> str:
        """What this is, in one line."""
        if self.captured and not self.flushes and not self.has_inputs:
            return (
                f"{self.name}: captured in a CUDA graph and never flushed, so no replay of it "
                f"returned; {ABSENT_REPLAY}"
            )
        if self.captured:
            of = f" of {self.flushes}" if self.flushes else ""
            return (
                f"{self.name}: flush {self.flush}{of}, the last replay that returned; "
                f"{ABSENT_REPLAY}"
            )
        ended = {True: "it returned", False: "it did not return", None: "its end is not recorded"}
        return f"{self.name}: {ended[self.returned]}"


def is_folder(directory: Path) -> bool:
    """Does it hold FlashInfer's calls?"""
    return bool(
        (directory / "metadata.jsonl").exists()
        or (directory / "session.jsonl").exists()
        or next(iter(_call_directories(directory)), None)
    )


def calls_of(directory: Path) -> list[LoggedCall]:
    """Every call below `directory`, oldest first; DumpError where there is none."""
    if (directory / "metadata.jsonl").exists():
        return [_call(directory)]
    found, problems = [], []
    for below in _call_directories(directory)[:MAX_CALLS]:
        try:
            found.append(_call(below))
        except DumpError as error:
            problems.append(str(error))
    if not found:
        why = f": {problems[0]}" if problems else ": no metadata.jsonl in it or below"
        raise DumpError(f"{directory} is no FlashInfer dump{why}")
    found.sort(key=lambda call: (str(call.metadata.get("timestamp", "")), call.directory.name))
    return found


def choose(calls: list[LoggedCall]) -> LoggedCall:
    """The call to read: the newest covered one that did not return, else the newest covered."""
    covered = [call for call in calls if call.covered]
    if not covered:
        attention = [call for call in calls if call.attention]
        return (attention or calls)[-1]
    stuck = [call for call in covered if call.returned is False]
    with_inputs = [call for call in covered if call.has_inputs]
    return (stuck or with_inputs or covered)[-1]


def _call_directories(directory: Path) -> list[Path]:
    try:
        below = sorted(path for path in directory.iterdir() if path.is_dir())
    except OSError:
        return []
    return [path for path in below if (path / "metadata.jsonl").exists()]


def _call(directory: Path) -> LoggedCall:
    metadata = read_metadata(directory)
    flushes = _flushes(directory)
    captured = bool(metadata.get("graph_capture")) or bool(flushes)
    index = metadata.get("graph_capture_flush_index")
    top = index if type(index) is int else 0
    name = str(metadata.get("function_name", ""))
    newest = max(flushes, default=0)
    if flushes and (newest > top or not LoggedCall(directory, name, metadata).has_inputs):
        # The top level is rewritten last: a flush beside it may be newer, or the only one.
        below = flushes[newest]
        return LoggedCall(below, name, read_metadata(below), newest, len(flushes), captured)
    return LoggedCall(directory, name, metadata, top or newest, len(flushes), captured)


def _flushes(directory: Path) -> dict[int, Path]:
    """Flush number -> folder, of those that hold tensors."""
    found: dict[int, Path] = {}
    root = directory / "graph_flushes"
    if not root.is_dir():
        return found
    for path in root.iterdir():
        number = path.name.rpartition("_")[2]
        if number.isdigit() and (path / "metadata.jsonl").exists():
            found[int(number)] = path
    return found


def read_metadata(directory: Path) -> dict[str, Any]:
    """The fullest record of a call: the last line of its metadata.jsonl."""
    path = directory / "metadata.jsonl"
    if not path.exists():
        raise DumpError(f"{directory} is no FlashInfer dump: it has no metadata.jsonl")
    line = read_regular(path, MAX_METADATA_BYTES).rstrip().rpartition(b"\n")[2]
    if len(line) > MAX_RECORD_BYTES:
        raise DumpError(f"{path}: its last line is longer than any call's metadata")
    try:
        last = json.loads(line or b"null")
    except (ValueError, RecursionError) as error:
        raise DumpError(f"{path} is damaged: {error}") from error
    if not isinstance(last, dict):
        raise DumpError(f"{path} holds no record")
    return last
