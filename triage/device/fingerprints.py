"""A fingerprint of the tables that tensor-parallel ranks must hold alike.

The failure: every rank of a TP group runs the same batch over tables of its own, and one of
them goes wrong alone. Its page ids are in range, the all-reduce mixes its output into
everybody's, and nothing says which rank it was. The rule: the flight recorder sums a number
over what a launch reads, and dumps of several ranks are compared by it (`triage merge`).

Each element gives 32 bits of its place and its value; a table's fingerprint is their sum,
so that programs may add in any order. An exchange of two entries changes it. Two different
tables agree by chance about once in 2**32.

Every product stays below 2**62 and every sum below 2**63: nothing wraps, so the kernel, its
interpreter and torch give the same number. The rounds are those of Chris Wellons' search for
32-bit hashes of low bias (nullprogram.com, 2018: 15 2c1b3c6d 12 297a2d39 15).
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

BITS = 0xFFFF_FFFF
FIRST, SECOND = 0x2C1B3C6D, 0x297A2D39
ROW = 1 << 20
"""Places of a table's row are this far apart; its columns are fewer."""

_BITS, _FIRST, _SECOND = tl.constexpr(BITS), tl.constexpr(FIRST), tl.constexpr(SECOND)


@triton.jit
def _mixed(x):
    x = x & _BITS
    x = x ^ (x >> 15)
    x = (x * _FIRST) & _BITS
    x = x ^ (x >> 12)
    x = (x * _SECOND) & _BITS
    return x ^ (x >> 15)


@triton.jit
def fingerprint(place, value):
    """32 bits of `value` at `place`, as int64; both int64 of one shape, `place` from 1 on."""
    return _mixed(_mixed(place) ^ (value & _BITS))


def fingerprint_eager(place: Tensor, value: Tensor) -> Tensor:
    """Twin of `fingerprint`: int64 tensors of shapes that broadcast. No sync."""
    return _mixed_eager(_mixed_eager(place) ^ (value & BITS))


def _mixed_eager(x: Tensor) -> Tensor:
    x = x & BITS
    x = x ^ (x >> 15)
    x = (x * FIRST) & BITS
    x = x ^ (x >> 12)
    x = (x * SECOND) & BITS
    return x ^ (x >> 15)
