"""What the clamp costs: it hides the crash and lets the draft read other requests' pages.

The lab runs the workload with the defect and no trap, every page table clamped into the
cache before the launch, as a workaround for the crash did before there was a fix. Counted
over the draft's sliding layers: the share of in-window entries that the clamp redirects,
and the share that is not the right page. On sampled forwards attention is computed over
both tables, with synthesised queries, keys and values, for the error of the output.

The accept length is a first-order estimate and no more: one attention layer, a random
linear read-out, a draft token taken as lost where that read-out's choice changes. The
chance of acceptance falls by the share of unchanged choices, from the value that gives the
accept length measured on the server that crashed; L = 1 + a + a^2 + a^3 for three draft steps.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triage.lab.emulated_gpu import EmulatedGpu
from triage.replay.attention import paged_attention_eager
from triage.replay.synthesis import SynthesisedCache, synthesised_query
from triage.sglang.launch.call import AttentionCall

HEADS, HEAD_DIM, CHOICES = 8, 64, 4096
SAMPLE_EVERY = 6
ACCEPT_LENGTH = 2.13
"""Of E4B with the fix, on the server that crashed; with the clamp it had 1.61."""

REPORTED_WITH_CLAMP = 1.61


@dataclass(frozen=True, slots=True)
class ClampCost:
    """Shares are of the in-window page-table entries of the draft's sliding layers."""

    sglang: str
    scenario: str
    outcome: str
    forwards: int
    entries: int
    redirected: float
    wrong: float
    rows_sampled: int
    rows_wrong: float
    error: float  # relative L2 of the attention output over all sampled rows
    same_choice: float
    accept_length: float  # estimate, from ACCEPT_LENGTH without the clamp

    def sentence(self) -> str:
        return (
            f"{self.redirected:.1%} of in-window reads redirected, {self.wrong:.1%} wrong; output "
            f"error {self.error:.2f} (relative L2); accept length {ACCEPT_LENGTH} -> "
            f"{self.accept_length:.2f} (first-order estimate; reported {REPORTED_WITH_CLAMP})"
        )


class ClampedGpu(EmulatedGpu):
    """An emulated GPU whose every launch gets its table clamped into the cache first."""

    def __init__(self, runtime: Any) -> None:
        super().__init__(runtime)
        self.forwards = self.entries = self.redirected = self.wrong = 0
        self.pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        geometry = runtime.geometry
        self._cache = SynthesisedCache(
            "swa", page_size=geometry.page_size, num_kv_heads=1, head_dim=HEAD_DIM, dtype="float32"
        )

    def _emulate(self, call: AttentionCall, space: str) -> Any:
        clamped = call.block_tables.clamp(0, call.num_pages - 1)
        if self._role == "draft" and space == "swa":
            self._count(call, clamped)
        return super()._emulate(
            AttentionCall(call.api, {**call.arguments, "block_tables": clamped}), space
        )

    def _count(self, call: AttentionCall, clamped: torch.Tensor) -> None:
        page, lengths = call.page_size, call.cache_seqlens.to(torch.int64)
        slots = self.runtime.req_to_token_pool.req_to_token[self._rows_of(), ::page].long()
        mapping = self.runtime.token_to_kv_pool.full_to_swa_index_mapping
        width = min(clamped.shape[1], slots.shape[1])
        right = mapping[slots[:, :width]] // page
        column = torch.arange(width)
        first = (lengths - 1 - call.window_left).clamp(min=0) // page
        seen = (column >= first[:, None]) & (column < -(-lengths // page)[:, None])
        table = call.block_tables[:, :width]
        self.forwards += 1
        self.entries += int(seen.sum())
        self.redirected += int((seen & (table != clamped[:, :width])).sum())
        self.wrong += int((seen & (clamped[:, :width] != right)).sum())
        if self.forwards % SAMPLE_EVERY == 0:
            both = (self._attend(call, ids, lengths) for ids in (right, clamped[:, :width]))
            self.pairs.append((next(both), next(both)))

    def _rows_of(self) -> torch.Tensor:
        return torch.from_numpy(self._requests)

    def _attend(self, call: AttentionCall, ids: torch.Tensor, lengths: torch.Tensor) -> Any:
        rows = len(lengths)
        return paged_attention_eager(
            synthesised_query(rows, HEADS, HEAD_DIM, "float32"),
            self._cache,
            ids.to(torch.int64),
            lengths,
            torch.ones(rows, dtype=torch.int64),
            page_size=call.page_size,
            num_kv_heads=1,
            window_left=call.window_left,
            bmm1_scale=HEAD_DIM**-0.5,
        )


def measure(scenario_name: str, seed: int = 0) -> ClampCost:
    """Run the scenario clamped in this process, which must not have run the lab before."""
    from triage.lab.flashinfer_stub import EmulatedFault
    from triage.lab.process import start
    from triage.lab.rig import Bench
    from triage.lab.scenarios import find

    process = start(traps=False, fixes=(), directory=Path(), reinject="stale-swa-state")
    bench = Bench(process, find(scenario_name), seed=seed)
    gpu = process.gpu = bench.driver.watch = bench.driver.forwards.watch = ClampedGpu(bench.runtime)
    outcome = "clean"
    try:
        bench.driver.run(lambda done, total: None)
    except EmulatedFault:
        outcome = "fault"
    finally:
        bench.close()
    right = torch.cat([one.flatten(1) for one, _ in gpu.pairs])
    clamped = torch.cat([other.flatten(1) for _, other in gpu.pairs])
    same = same_choice(right, clamped)
    return ClampCost(
        sglang=process.version,
        scenario=scenario_name,
        outcome=outcome,
        forwards=gpu.forwards,
        entries=gpu.entries,
        redirected=gpu.redirected / max(gpu.entries, 1),
        wrong=gpu.wrong / max(gpu.entries, 1),
        rows_sampled=len(right),
        rows_wrong=float((right != clamped).any(dim=1).float().mean()),
        error=float((clamped - right).norm() / right.norm()),
        same_choice=same,
        accept_length=accept_length(acceptance(ACCEPT_LENGTH) * same),
    )


def same_choice(right: torch.Tensor, other: torch.Tensor) -> float:
    """Share of rows for which a random linear read-out chooses the same of CHOICES tokens."""
    generator = torch.Generator().manual_seed(0x53)
    read_out = torch.randn(right.shape[1], CHOICES, generator=generator)
    chosen, changed = (right @ read_out).argmax(dim=1), (other @ read_out).argmax(dim=1)
    return float((chosen == changed).float().mean())


def accept_length(chance: float) -> float:
    """Tokens per step with three draft steps, each accepted with `chance` after the one before."""
    return 1 + chance + chance**2 + chance**3


def acceptance(length: float) -> float:
    """The chance that gives an accept length; the inverse of `accept_length` on [1, 4]."""
    chances = np.linspace(0, 1, 10_001)
    return float(np.interp(length, [accept_length(chance) for chance in chances], chances))


if __name__ == "__main__":
    print("FOUND " + json.dumps(asdict(measure(sys.argv[1]))))
