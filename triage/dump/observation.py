"""What other tools saw of a fault: one record for each, whatever the text looked like.

A line of compute-sanitizer, of cuda-gdb, of the driver, of SGLang or of kv_canary becomes an
`Observation`; so does a call that FlashInfer logged. It travels in `fault.facts` of a dump as
plain values. The rule: a field is what the text says, and empty, None or UNKNOWN where it
says nothing: that is "not recorded", never "no".

Needs neither torch nor SGLang.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from triage.dump.schema import SchemaError, from_plain, to_plain

FACT = "observations"
"""The key under which a dump's fault holds them."""

MAX_OBSERVATIONS = 512
MAX_TEXT_LINES = 6


class Form(StrEnum):
    """Whose text it is."""

    SANITIZER = "compute-sanitizer"
    DEBUGGER = "cuda-gdb"
    CORE = "CUDA core dump"
    DRIVER = "NVIDIA driver (Xid)"
    CUDA_ERROR = "CUDA error"
    DEVICE_ASSERT = "device-side assert"
    TMA = "TMA descriptor"
    EXCEPTION = "SGLang exception"
    ASSERTION = "SGLang assertion"
    LEAK = "SGLang pool check"
    CANARY = "kv_canary"
    TRAP = "sglang-triage"
    CALL = "FlashInfer API log"
    PEER = "another process"
    UNKNOWN = "unknown"


class Failure(StrEnum):
    """What failed."""

    ILLEGAL_ADDRESS = "illegal memory access"
    OUT_OF_RANGE_SHARED = "access outside shared memory"
    OUT_OF_RANGE_LOCAL = "access outside local memory"
    MISALIGNED = "misaligned access"
    ILLEGAL_INSTRUCTION = "illegal instruction"
    HARDWARE_STACK = "hardware stack error"
    DEVICE_EXCEPTION = "device exception of no known kind"
    ASSERT = "device-side assert"
    RACE = "race on shared memory"
    UNINITIALISED = "read of uninitialised memory"
    BARRIER = "barrier error"
    LEAK = "pages in no part of the balance"
    COUNTED_TWICE = "pages in two parts of the balance"
    ROW_LEAK = "request rows lost"
    USED_AFTER_FREE = "page in use and free at once"
    BALANCED = "the balance adds up"
    TREE = "radix tree contradicts itself"
    CANARY = "a token's slot holds what another wrote"
    DESCRIPTOR = "descriptor refused"
    OUT_OF_MEMORY = "out of memory"
    LAUNCH_FAILED = "launch failed"
    HARDWARE = "error of the GPU's hardware"
    REFUSED = "a call that was refused"
    POOL_FULL = "no page left to hand out"
    OTHER_CUDA = "CUDA error of another kind"
    EXCEPTION = "exception"
    TRAPPED = "a trap of this tool fired"
    ENDED = "ended by another process"
    STOPPED = "stopped by SIGTERM"
    HUNG = "waited too long"
    BEHIND = "what the others wait for, it never began"
    NOT_LOADED = "a plugin that was not loaded"
    CALL = "no failure: a call that was logged"
    UNKNOWN = "not known"


class Access(StrEnum):
    """Did the faulting instruction read or write?"""

    READ = "read"
    WRITE = "write"
    UNKNOWN = "not recorded"


DEVICE_FAULTS = frozenset(
    {
        Failure.ILLEGAL_ADDRESS,
        Failure.OUT_OF_RANGE_SHARED,
        Failure.OUT_OF_RANGE_LOCAL,
        Failure.MISALIGNED,
        Failure.ILLEGAL_INSTRUCTION,
        Failure.HARDWARE_STACK,
        Failure.DEVICE_EXCEPTION,
        Failure.ASSERT,
        Failure.LAUNCH_FAILED,
    }
)
"""What ends a kernel, whoever told it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that a tool reported.

    line: of `source`, from 1. rank: as the text names it ("TP0", "rank 3", "pid 4242").
    time: seconds, of a clock of the source's own; None without one.
    kernel: as the text spells it; kernel_at: file and line of its source where that is told.
    space: "global", "shared", "local" or empty. address: of the access.
    nearest: the sanitizer's nearest allocation, `address`, `bytes`, `distance`, `side`.
    values: numbers and names that go with this form.
    count: how many alike there were; the first is this one.
    """

    form: Form
    failure: Failure
    source: str = ""
    line: int = 0
    rank: str = ""
    time: float | None = None
    kernel: str = ""
    kernel_at: str = ""
    access: Access = Access.UNKNOWN
    space: str = ""
    address: int | None = None
    access_bytes: int | None = None
    nearest: dict[str, Any] | None = None
    values: dict[str, Any] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    count: int = 1

    def as_plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def observations_of(facts: dict[str, object]) -> tuple[Observation, ...]:
    """Those in the facts of a fault; entries that are none are passed over."""
    entries = facts.get(FACT)
    found = _older(facts)
    for entry in entries[:MAX_OBSERVATIONS] if isinstance(entries, list) else ():
        try:
            found.append(_read(entry))
        except (SchemaError, ValueError, TypeError):
            continue
    return tuple(found)


def as_fact(observations: Iterable[Observation]) -> list[dict[str, Any]]:
    """The value to keep under `FACT`."""
    return [each.as_plain() for each in list(observations)[:MAX_OBSERVATIONS]]


_ENUMS = {"form": Form, "failure": Failure, "access": Access}


def _read(entry: Any) -> Observation:
    if not isinstance(entry, dict):
        raise SchemaError("an observation is not a map")
    plain = {each.name: entry[each.name] for each in fields(Observation) if each.name in entry}
    enums: dict[str, Any] = {
        name: kind(plain.pop(name)) for name, kind in _ENUMS.items() if name in plain
    }
    values: dict[str, Any] = {
        name: from_plain(_HINTS[name], value, f"observation.{name}")
        for name, value in plain.items()
    }
    near = values.get("nearest") or {}
    if any(type(near.get(key)) not in (int, type(None)) for key in _NUMBERS):
        raise SchemaError("observation.nearest holds a number that is none")
    return Observation(**enums, **values)


_NUMBERS = ("address", "bytes", "distance")


def _older(facts: dict[str, object]) -> list[Observation]:
    """Addresses that an earlier version of this tool imported, with kernels alone."""
    entries = facts.get("cuda_faults")
    found = []
    for entry in entries[:MAX_OBSERVATIONS] if isinstance(entries, list) else ():
        if isinstance(entry, dict) and type(entry.get("address")) is int:
            kernel = entry.get("kernel")
            found.append(
                Observation(
                    Form.UNKNOWN,
                    Failure.ILLEGAL_ADDRESS,
                    kernel=kernel if isinstance(kernel, str) else "",
                    address=entry["address"],
                )
            )
    return found


_HINTS: dict[str, Any] = {
    "source": str,
    "line": int,
    "rank": str,
    "time": float | None,
    "kernel": str,
    "kernel_at": str,
    "space": str,
    "address": int | None,
    "access_bytes": int | None,
    "nearest": dict[str, Any] | None,
    "values": dict[str, Any],
    "text": tuple[str, ...],
    "count": int,
}
