"""What `SGLANG_TRIAGE_FUSED=auto` takes: what was measured faster on this GPU and release.

`fused_measured.json` is a list of measurements of whole servers, each of a set of ops on one
shape: its loads with the change of the time per output token against stock, per cent, as the
median of the turns and their middle half. `python -m triage.bench.fused_serving --measured`
writes it from results. An op is taken if a set that it belongs to was faster in some load and
slower in none, and if no set that it belongs to was slower in any. Slower is what lies beyond
the middle half, which is what one server differs by from turn to turn. Faster has to lie beyond
what two servers alike differ by, steadily, as well. Nothing measured, nothing taken.

A set with `pdl` says nothing of its ops. It is set beside the same ops without it, on the same
shape, and launches overlap if that was faster in some load, slower in none, by the same measure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triage.sglang.fixes.fused_overlap import PDL

TWO_ALIKE = 5.5
"""Per cent that two servers without a difference were apart, steadily: 3.2 without traps, 4.3 in
`contain`, up to 5.3 in the middle half of 30 turns (`server-pairs-e4b.jsonl`, an H200)."""

FILE = Path(__file__).with_name("fused_measured.json")


@dataclass(frozen=True, slots=True)
class Measured:
    """A set of ops on a server of one shape. loads: name -> (median, low, high) per cent of TPOT.

    where: the record that it was taken from.
    """

    gpu: str
    sglang: str
    shape: str
    ops: frozenset[str]
    loads: dict[str, tuple[float, float, float]]
    where: str

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Measured:
        loads = {load: tuple(change) for load, change in plain["loads"].items()}
        return cls(**{**plain, "ops": frozenset(plain["ops"]), "loads": loads})

    @property
    def slower(self) -> bool:
        """Is a load slower by more than its middle half?"""
        return any(low > 0 for _, low, _ in self.loads.values())

    @property
    def faster(self) -> bool:
        """Is a load faster by more than two servers alike, and none slower?"""
        return not self.slower and any(high < -TWO_ALIKE for _, _, high in self.loads.values())


def table(file: Path = FILE) -> list[Measured]:
    """Every measurement that is kept. Raises OSError, ValueError for a file that is none."""
    return [Measured.read(each) for each in json.loads(file.read_text())]


def taken(measured: Sequence[Measured], sglang: str, gpu: str | None = None) -> frozenset[str]:
    """The ops that `auto` takes. gpu: its name; None for those of any GPU."""
    here = [
        one
        for one in measured
        if one.sglang == sglang and gpu in (None, one.gpu) and PDL not in one.ops
    ]
    faster = frozenset(op for one in here if one.faster for op in one.ops)
    if gpu is None:
        return faster
    return faster - frozenset(op for one in here if one.slower for op in one.ops)


def overlap_taken(measured: Sequence[Measured], sglang: str, gpu: str) -> bool:
    """Does `auto` let launches overlap on this GPU? See above."""
    here = {(one.shape, one.ops): one for one in measured if (one.sglang, one.gpu) == (sglang, gpu)}
    faster = False
    for (shape, ops), one in here.items():
        plain = here.get((shape, ops - {PDL})) if PDL in ops else None
        for load in one.loads.keys() & (plain.loads if plain is not None else {}).keys():
            assert plain is not None
            (_, low, high), (_, plain_low, plain_high) = one.loads[load], plain.loads[load]
            if low > plain_high:
                return False
            faster |= high < plain_low - TWO_ALIKE
    return faster
