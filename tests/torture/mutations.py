"""Mutations that keep enough of an input to get behind the first check."""

from __future__ import annotations

import random
from typing import Any

import msgpack

_INTERESTING = (0, 1, -1, 2**15, 2**31 - 1, -(2**31), 2**32, 2**40, 2**63 - 1, -(2**63))
_HEADERS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
)
_VALUES = (None, True, "", "x" * 300, "\x1b]0;t\x07", b"\0", 1.5, float("nan"), [], {}, [[]] * 20)


def mutated(rng: random.Random, content: bytes) -> bytes:
    """Of a dump half the time one of its values, else bytes of whatever it is."""
    if rng.random() < 0.6:
        try:
            return _by_structure(rng, content)
        except Exception:  # no msgpack, or made into none
            pass
    return _by_bytes(rng, content)


def _by_structure(rng: random.Random, content: bytes) -> bytes:
    outer = msgpack.unpackb(content)
    section = rng.choice(outer[2:])
    section[3] = msgpack.packb(_changed(rng, msgpack.unpackb(section[3])))
    return msgpack.packb(outer)


def _changed(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        return [*value[:at], _changed(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, msgpack.ExtType) and rng.random() < 0.9:
        return msgpack.ExtType(
            value.code, msgpack.packb(_changed(rng, msgpack.unpackb(value.data)))
        )
    if isinstance(value, int) and rng.random() < 0.8:
        return rng.choice((*_INTERESTING, value + 1, value - 1, rng.randrange(1000)))
    if isinstance(value, bytes) and rng.random() < 0.8:
        return _by_bytes(rng, value)
    return rng.choice((*_VALUES, *_INTERESTING))


def _by_bytes(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        what = rng.randrange(5)
        if what == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            changed[at : at + 1] = rng.randbytes(rng.choice((1, 2, 8)))
        elif what == 2:
            del changed[at : at + rng.choice((1, 4, 64))]
        elif what == 3:
            header = rng.choice(_HEADERS)
            changed[at : at + len(header)] = header
        else:
            other = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[other : other + rng.choice((1, 16, 256))]
    return bytes(changed)
