"""One forward of 42 layers without SGLang: the attributes that the traps read, and its launches.

Backend, pool and batch are plain objects with SGLang's attribute names: the subject of who
uses them, benchmarks and tests, is what our own code costs and does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch

from triage.dump.flashinfer_api import DECODE
from triage.sglang.launch.call import AttentionCall
from triage.sglang.traps import Traps

LAYERS, ROWS, PAGE, WIDTH, WINDOW, SWA_PAGES_PER_ROW = 42, 64, 64, 144, 512, 10


class Backend:
    """The attributes of TRTLLMHAAttnBackend that the traps read."""

    def __init__(self, pool: Any, req_to_token: torch.Tensor) -> None:
        self.token_to_kv_pool = self._swa_kv_pool = pool
        self.req_to_token = req_to_token
        self.page_size = PAGE
        self.forward_metadata: Any = None


@dataclass(eq=False, slots=True)
class Layer:
    """Hashed by identity, as a module is."""

    layer_id: int


@dataclass(eq=False)
class Batch:
    """The attributes of ForwardBatch that the traps read. A draft's: it tells no lengths."""

    req_pool_indices: torch.Tensor
    batch_size: int = ROWS
    spec_info: Any = None
    forward_mode: Any = field(
        default_factory=lambda: SimpleNamespace(
            name="DRAFT_EXTEND_V2", is_decode=lambda: False, is_target_verify=lambda: False
        )
    )


@dataclass
class Step:
    """One verify forward of 64 rows at 9k tokens: both tables right, 35 of 42 layers sliding."""

    layers: int = LAYERS
    rows: int = ROWS
    width: int = WIDTH
    device: str = "cpu"
    full: torch.Tensor = field(init=False)
    swa: torch.Tensor = field(init=False)
    backend: Backend = field(init=False)
    calls: list[tuple[Any, AttentionCall]] = field(init=False)

    def __post_init__(self) -> None:
        pages, sliding = self.rows * self.width, self.rows * SWA_PAGES_PER_ROW
        self.full = torch.arange(1, pages + 1, dtype=torch.int32).reshape(self.rows, self.width)
        self.swa = torch.zeros_like(self.full)
        visible = slice(self.width - SWA_PAGES_PER_ROW, self.width)
        self.swa[:, visible] = torch.arange(1, sliding + 1, dtype=torch.int32).reshape(
            self.rows, -1
        )
        starts = self.full.to(torch.int64) * PAGE
        mapping = torch.zeros((pages + 2) * PAGE, dtype=torch.int64)
        mapping[starts[:, visible]] = self.swa[:, visible].to(torch.int64) * PAGE
        req_to_token = torch.zeros(self.rows + 1, self.width * PAGE, dtype=torch.int32)
        offset = torch.arange(self.width * PAGE) % PAGE
        req_to_token[1:] = (starts.repeat_interleave(PAGE, 1) + offset).to(torch.int32)
        self.full, self.swa = self.full.to(self.device), self.swa.to(self.device)
        mapping, req_to_token = mapping.to(self.device), req_to_token.to(self.device)
        kinds = [self.sliding(layer) for layer in range(self.layers)]
        pool = SimpleNamespace(
            layers_mapping={i: (i, swa) for i, swa in enumerate(kinds)},
            full_to_swa_index_mapping=mapping,
            page_size=PAGE,
            full_kv_pool=SimpleNamespace(size=pages * PAGE),
            swa_kv_pool=SimpleNamespace(size=sliding * PAGE),
        )
        self.backend = Backend(pool, req_to_token)
        caches = [
            torch.zeros(n + 1, 1, PAGE, 1, dtype=torch.float16, device=self.device)
            for n in (pages, sliding)
        ]
        lengths = torch.full((self.rows,), self.length, dtype=torch.int32, device=self.device)
        shared = {
            "query": torch.zeros(self.rows, 8, 1, device=self.device),
            "seq_lens": lengths,
            "max_seq_len": self.width * PAGE,
        }
        self.calls = []
        for layer_id, swa in enumerate(kinds):
            arguments = {
                **shared,
                "kv_cache": (caches[swa], caches[swa]),
                "block_tables": self.swa if swa else self.full,
                "window_left": WINDOW - 1 if swa else -1,
            }
            layer = Layer(layer_id)
            self.calls.append((layer, AttentionCall(DECODE, arguments)))

    @property
    def length(self) -> int:
        """Tokens of every row, the last page partly filled."""
        return self.width * PAGE - 3

    @staticmethod
    def sliding(layer_id: int) -> bool:
        return (layer_id + 1) % 6 != 0

    def trapped(self, traps: Traps, batch: Any) -> None:
        self.backend.forward_metadata = SimpleNamespace(
            page_table=self.full, swa_page_table=self.swa
        )
        for layer, call in self.calls:
            with traps.launches.entered(self.backend, layer, batch):
                traps.launches.host_check.before_launch(call)

    def naive(self) -> None:
        for _, call in self.calls:
            _ = call.block_tables.max().item(), call.block_tables.min().item()
