"""What `triage redact` took out of a dump, told by part; of what is gone nothing but its name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from triage.dump.sections import Dump

_COUNTED = {"environment": "environment variable", "server": "server argument"}


def taken_out(before: Dump, after: Dump) -> tuple[str, ...]:
    """One phrase a part, in the order of the dump; empty if nothing was there to take out."""
    found = []
    if changed := sum(_changes((before.fault, before.tables), (after.fault, after.tables))):
        found.append(
            f"{_many(changed, 'text')} of the fault and the rows (paths, ids, what was said)"
        )
    if changed := sum(_changes(_rest(before), _rest(after))):
        found.append(f"{_many(changed, 'text')} of the launch, the backend and its history")
    gone = [name for name in before.provenance if name not in after.provenance]
    for name, what in _COUNTED.items():
        given, kept = before.provenance.get(name), after.provenance.get(name, {})
        if isinstance(given, dict) and (count := len(given) - len(kept)):
            found.append(_many(count, what))
            gone = [each for each in gone if each != name]
    if gone:
        found.append(f"of its origin {', '.join(gone)}")
    if before.kv is not None and after.kv is None:
        found.append("keys, values and queries")
    if before.extra:
        found.append(f"sections that are not known: {', '.join(before.extra)}")
    return tuple(found)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _rest(dump: Dump) -> tuple[Any, ...]:
    return dump.launch, dump.backend, dump.history


def _changes(before: Any, after: Any) -> Iterator[int]:
    """1 for each text, or thing in place of a text, that is another afterwards."""
    if is_dataclass(before) and is_dataclass(after):
        for each in fields(before):
            yield from _changes(getattr(before, each.name), getattr(after, each.name, None))
    elif isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from _changes(value, after[name]) if name in after else (1,)
    elif isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        for one, other in zip(before, after, strict=False):
            yield from _changes(one, other)
        yield max(len(before) - len(after), 0)
    elif isinstance(before, (np.ndarray, np.generic)):
        return
    elif before is not after and before != after:
        yield 1
