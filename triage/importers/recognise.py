"""From the kept lines of a log to observations: each recogniser is asked at each line.

The rule: a line belongs to the first recogniser that takes it, in the order of `_at`; what a
report spans is passed over once it is read. The same thing told twice (a header and its
structured line, an exception after the tool's own report) is one observation; alike ones are
counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from triage.dump.observation import MAX_OBSERVATIONS, Failure, Form, Observation
from triage.importers import canary, cuda_error, debugger, driver, flashinfer_log, sanitizer
from triage.importers import sglang_log as sglang
from triage.importers.lines import Line, Reader
from triage.importers.passage import Passage
from triage.importers.scan import Readable, Scanned, scan


@dataclass(frozen=True, slots=True)
class Log:
    """A text and what was recognised in it."""

    scanned: Scanned
    observations: tuple[Observation, ...]
    left_out: int = 0
    """Reports beyond those that a dump can hold."""

    @property
    def source(self) -> str:
        return self.scanned.source

    @property
    def forms(self) -> tuple[str, ...]:
        """Whose text it holds, most telling first."""
        return tuple(dict.fromkeys(map(_whose, self.observations)))


def read_log(stream: Readable, source: str) -> Log:
    """Everything that is recognised in a text. DumpError where it cannot be read."""
    scanned = scan(stream, source)
    reader = Reader()
    lines = [reader.line(number, raw) for number, raw in scanned.lines]
    found = _merged(_all(lines, source))
    server = _server(lines)
    if server:
        found = [replace(each, values={**each.values, "server": server}) for each in found]
    left_out = max(len(found) - MAX_OBSERVATIONS, 0)
    return Log(scanned, tuple(found[:MAX_OBSERVATIONS]), left_out)


def _server(lines: list[Line]) -> str:
    """Whose log it is, where that is another server than SGLang; empty where it is not told."""
    if any("sglang" in line.text for line in lines):
        return ""
    return "vLLM" if any("vllm/" in line.text or "vllm." in line.text for line in lines) else ""


def _whose(seen: Observation) -> str:
    return seen.form.value.replace("SGLang", str(seen.values.get("server") or "SGLang"))


def _all(lines: list[Line], source: str) -> list[Observation]:
    found: list[Observation] = []
    index = 0
    while index < len(lines) and len(found) < 8 * MAX_OBSERVATIONS:
        seen, last = _at(Passage(lines, index), source)
        found += seen
        index = max(last, index) + 1 if seen else index + 1
    return found


def _at(passage: Passage, source: str) -> tuple[list[Observation], int]:
    """What begins at a line, and the index of the last line that it took."""
    text, here = passage.head.text, passage.at
    if canary.HEAD.search(text) and "{" not in text:
        return _one(canary.parse(passage, source)), here
    if sanitizer.is_head(text):
        return [sanitizer.parse(passage, source)], here
    if sanitizer.is_new(passage):
        return [sanitizer.parse(passage, source)], here
    if sanitizer.is_rest(passage):
        return [sanitizer.parse_rest(passage, source)], here
    if debugger.HEAD.search(text):
        observation, last = debugger.parse(passage, source)
        return [observation], last
    if driver.HEAD.search(text):
        return [driver.parse(passage, source)], here
    if cuda_error.is_assert(text):
        return _one(cuda_error.parse_assert(passage, source)), here
    if cuda_error.TMA_HEAD.search(text):
        observation, last = cuda_error.parse_tma(passage, source)
        return [observation], last
    if flashinfer_log.HEAD.search(text):
        observation, last = flashinfer_log.parse(passage, source)
        return [observation], last
    if sglang.TRACE_HEAD.search(text):
        exception, last = sglang.parse_exception(passage, source)
        if exception is not None and _tells_itself(passage.lines[last].text):
            return [], here  # its last line is a report of its own
        return _one(exception), last
    if sglang.is_leak(text):
        return sglang.parse_sums(passage, source)
    if sglang.ASSERTION_LINE.match(text):
        return [sglang.parse_assertion(passage, source)], here
    if sglang.PEER.search(text) and not _own_fault(text):
        return [sglang.parse_peer(passage, source)], here
    if cuda_error.HEAD.search(text):
        return _one(cuda_error.parse(passage, source)), here
    if sglang.FATAL.search(text):
        return [sglang.parse_fatal(passage, source)], here
    if sglang.TRAP.search(text):
        return _one(sglang.parse_trap(passage, source)), here
    return [], here


def _one(observation: Observation | None) -> list[Observation]:
    return [] if observation is None else [observation]


def _tells_itself(text: str) -> bool:
    return bool(canary.HEAD.search(text) or sglang.is_leak(text))


def _own_fault(text: str) -> bool:
    """A watchdog that tells of an error of its own process."""
    return cuda_error.failure_of(text) not in (Failure.OTHER_CUDA,)


def _key(observation: Observation) -> tuple[Any, ...]:
    """What makes two observations the same thing told twice."""
    each = observation
    key: tuple[Any, ...] = (each.form, each.failure, each.rank, each.kernel, each.kernel_at)
    if each.form is Form.CANARY:
        values = each.values
        return (each.form, values.get("pool"), values.get("slot"), values.get("position"))
    if each.form is Form.DRIVER:
        return (*key, each.values.get("xid"), each.values.get("pci"), each.address)
    if each.form is Form.LEAK:
        terms = each.values.get("terms")
        return (*key, each.values.get("pool"), tuple(sorted(terms.items())) if terms else ())
    if each.form is Form.CALL:
        return (each.form, each.values.get("call"))
    if each.form is Form.DEVICE_ASSERT:
        return (each.form, each.kernel_at, each.values.get("asserted"), each.rank)
    if each.form in (Form.CUDA_ERROR, Form.EXCEPTION, Form.ASSERTION):
        values = each.values
        return (*key, values.get("noticed_at"), values.get("type"), values.get("message"))
    return (*key, each.access, each.address)


def _merged(found: list[Observation]) -> list[Observation]:
    """Alike ones counted; of logged calls the last of each name is the one that stands."""
    first: dict[tuple[Any, ...], Observation] = {}
    for each in found:
        key = _key(each)
        before = first.get(key)
        if before is None:
            first[key] = each
        elif each.form is Form.CALL:
            first[key] = replace(each, count=before.count + 1)
        else:
            first[key] = replace(_fuller(before, each), count=before.count + each.count)
    return _without_echo(list(first.values()))


def _without_echo(found: list[Observation]) -> list[Observation]:
    """SGLang answers a SIGTERM with a SIGQUIT of its own, which tells of nothing else."""
    stopped = min((each.line for each in found if each.failure is Failure.STOPPED), default=None)
    if stopped is None:
        return found
    return [each for each in found if each.failure is not Failure.ENDED or each.line < stopped]


def _fuller(first: Observation, second: Observation) -> Observation:
    """The first, with what only the second says."""
    if first.form is Form.CANARY and not first.values.get("reason") and second.values.get("reason"):
        return replace(first, values={**second.values, **{"slot": first.values["slot"]}})
    if first.form is Form.SANITIZER and second.values.get("mixed"):
        return replace(first, values={**first.values, "mixed": True})
    if first.form is Form.PEER:
        return replace(first, values={**second.values, **first.values})
    return first
