"""Exact arithmetic for floating arithmetic: what algebra makes equal is equal to the bit.

The idea of Triton's FPSan, in a ring that suits an interpreter. A payload is an integer modulo
P * Q, held as a float32 that is that integer (between -P*Q/2 and P*Q/2, so it is exact). P and Q
are primes with Q dividing P - 1:

- A float m * 2^e becomes that number modulo P * Q, so 0, 1, -1, 0.5 + 0.5 = 1 are what they are.
- Sums, differences and products are those of the ring, whatever their order. A quotient is one
  modulo P and modulo Q, so x / x is 1; Triton's ring of 2^32 has no inverse of an even number.
- exp2 takes its argument modulo Q to a power modulo P: exp2(x + y) = exp2(x) * exp2(y), and exp
  is exp2 of log2(e) times as much.
- sqrt, rsqrt (1 / sqrt), log, sin and others are fixed shuffles: the same of the same, no more.

Orders (maximum, comparisons) are those of the payloads and mean nothing, as with FPSan: they
choose alike in two kernels that are fed alike. Two results that should differ are equal in one
of about P elements. Source of the two primes' exponential: Mirage, a superoptimizer of
tensor programs, https://arxiv.org/abs/2405.05751.
"""

from __future__ import annotations

import zlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]

Q, P = 2819, 5639  # P = 2 Q + 1; the largest whose product's halves float32 holds
RING = P * Q
_GENERATOR = 4  # of order Q modulo P: a square that is not 1

# x = a * _TO_P + b * _TO_Q is a modulo P and b modulo Q.
_TO_P = Q * pow(Q, -1, P)
_TO_Q = P * pow(P, -1, Q)
_LEAST, _MOST = -1200, 1200  # exponents of two that a float64 can have, and some
_TWO = np.array([pow(2, e, RING) for e in range(_LEAST, _MOST)], dtype=np.int64)
_INVERSE_P = np.array([pow(a, P - 2, P) for a in range(P)], dtype=np.int64)
_INVERSE_Q = np.array([pow(b, Q - 2, Q) for b in range(Q)], dtype=np.int64)
_POWER = np.array([pow(_GENERATOR, b, P) for b in range(Q)], dtype=np.int64)


def centred(value: Any) -> npt.NDArray[np.float32]:
    """Integers modulo P * Q as the floats that hold them."""
    reduced = np.asarray(value, dtype=np.int64) % RING
    return np.where(reduced > RING // 2, reduced - RING, reduced).astype(np.float32)


def integers(payload: Any) -> Ints:
    """The integers that `centred` made floats of."""
    return np.asarray(payload).astype(np.int64)


def embed(value: Any) -> npt.NDArray[np.float32]:
    """The payloads of floats; that of a payload is itself. Infinities and NaN have one each."""
    wide = np.asarray(value, dtype=np.float64)
    finite = np.isfinite(wide)
    fraction, exponent = np.frexp(np.where(finite, wide, 0.0))
    mantissa = (fraction * 2.0**53).astype(np.int64) % RING
    result = mantissa * _TWO[exponent - 53 - _LEAST] % RING
    infinity = zlib.crc32(b"infinity") % RING
    special = np.where(np.isnan(wide), zlib.crc32(b"nan") % RING, np.sign(wide) * infinity)
    return centred(np.where(finite, result, np.nan_to_num(special).astype(np.int64)))


def inverse(value: Ints) -> Ints:
    """1 / value modulo P and modulo Q; that of 0 is 0."""
    return (_INVERSE_P[value % P] * _TO_P + _INVERSE_Q[value % Q] * _TO_Q) % RING


def has_inverse(value: Ints) -> npt.NDArray[np.bool_]:
    """Whether value is 0 neither modulo P nor modulo Q."""
    return (value % P != 0) & (value % Q != 0)


def exp2(value: Ints) -> Ints:
    """A power of the generator modulo P, 1 modulo Q: sums become products."""
    return (_POWER[value % Q] * _TO_P + _TO_Q) % RING


def exp(value: Ints) -> Ints:
    return exp2(value * _LOG2_E % RING)


_LOG2_E = int(integers(embed(np.float32(np.log2(np.e)))))


def tagged(value: Ints, name: str) -> Ints:
    """A fixed shuffle of its own for each function that has no algebra here."""
    mixed = (value % RING).astype(np.uint64) + np.uint64(zlib.crc32(name.encode()))
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(multiplier)
    return ((mixed ^ (mixed >> np.uint64(33))) % np.uint64(RING)).astype(np.int64)
