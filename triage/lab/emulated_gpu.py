"""What happens below the FlashInfer call in the lab: an emulated GPU and an oracle of its own.

For every launch the address emulator says whether a trtllm-gen kernel would
have faulted. Beside it, independent of the traps and of their code, an oracle
compares the visible entries with what `req_to_token` and the mapping say they
should be, so that a report can name the launch at which ids were already wrong
though still in range. All layers of one forward that pass the same table get
one emulation; the result is the same by construction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from triage.dump.footprint import Footprint
from triage.lab.flashinfer_stub import EmulatedFault, InterceptedCall
from triage.lab.request import LabRequest
from triage.lab.runtime import Runtime
from triage.replay.emulator import emulate
from triage.sglang.launch.call import AttentionCall


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """One launch of the run, and how full the pools were."""

    launch: int
    step: int
    role: str
    forward_mode: str
    layer_id: int
    space: str
    rows: int
    swa_fill: float
    full_fill: float
    entries: int  # bad or wrong entries

    def json(self) -> dict[str, Any]:
        return asdict(self)


class EmulatedGpu:
    """Receives every launch of a run. `first_wrong` and `fault` are None on a clean one."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.launches = 0
        self.wrong_launches = 0
        self.peak_swa_fill = 0.0
        self.first_wrong: LaunchRecord | None = None
        self.fault: LaunchRecord | None = None
        self.on_wrong: Callable[[LaunchRecord], None] = lambda moment: None
        self.layer: Any = None
        self.step = 0
        self._role = self._mode = ""
        self._own_pool = False
        self._requests = np.zeros(0, dtype=np.int64)
        self.moved: set[int] = set()
        """Rows that the scheduler gave back or rewrote since the forward was queued: not judged."""
        self._seen: dict[tuple[Any, ...], tuple[Footprint, int]] = {}
        self._digest = hashlib.sha256()
        self._noted: set[bytes] = set()

    @property
    def tables_digest(self) -> str:
        """SHA-256 over role, lengths and live columns of every table that was launched with.

        Of a forward each content counts once: a copy of a table is the same table.
        """
        return self._digest.hexdigest()

    def forward(
        self,
        role: str,
        forward_batch: Any,
        batch: list[LabRequest],
        own_pool: bool = False,
        ahead: int = 0,
    ) -> None:
        """The next launches belong to this forward; its metadata was just built.

        own_pool: it reads a draft's own pool, which is indexed by full slots.
        ahead: tokens beyond `seq_lens` that this step of a draft reads.
        """
        self._role, self._mode, self._own_pool = role, forward_batch.forward_mode.name, own_pool
        self._requests = np.array([r.req_pool_idx for r in batch], dtype=np.int64)
        self._seen.clear()
        self._noted.clear()

    def launch(self, intercepted: InterceptedCall) -> torch.Tensor:
        """Emulate one launch. Raises EmulatedFault where a GPU would have faulted."""
        self.launches += 1
        call = AttentionCall(intercepted.api, intercepted.arguments)
        space = "swa" if self._slides() else "full"
        key = (call.block_tables.data_ptr(), call.window_left, call.num_pages, space)
        if key not in self._seen:
            self._seen[key] = self._emulate(call, space)
        footprint, wrong = self._seen[key]
        if wrong:
            self.wrong_launches += 1
            if self.first_wrong is None:
                self.first_wrong = self._moment(space, wrong)
                self.on_wrong(self.first_wrong)
        faulting = footprint.bad["must"]["fault"]
        if faulting:
            self.fault = self._moment(space, faulting)
            raise EmulatedFault(
                f"launch {self.launches}: {faulting} page ids in [{footprint.num_pages}, "
                f"{footprint.extent}) would be dereferenced outside the {space} K cache"
            )
        return torch.zeros_like(call.query)

    def _slides(self) -> bool:
        if self._own_pool:
            return False
        kinds = getattr(self.runtime.token_to_kv_pool, "layers_mapping", None)  # None: one kind
        return kinds is not None and bool(kinds[self.layer.layer_id][1])

    def _emulate(self, call: AttentionCall, space: str) -> tuple[Footprint, int]:
        table = call.block_tables.numpy()
        lengths = call.cache_seqlens.numpy().astype(np.int64)
        cumulative = call.cum_seq_lens_q
        queries: np.ndarray | int = call.q_len_per_req
        if cumulative is not None:
            queries = np.diff(cumulative.numpy())
        footprint = emulate(
            table,
            lengths,
            page_size=call.page_size,
            window_left=call.window_left,
            num_pages=call.num_pages,
            q_lens=queries,
        )
        self._note(space, table, lengths, call.page_size)
        fill = self._fill("swa")
        self.peak_swa_fill = max(self.peak_swa_fill, fill)
        wrong = self._wrong(table, lengths, queries, call.page_size, call.window_left, space)
        return footprint, wrong

    def _wrong(
        self,
        table: np.ndarray,
        lengths: np.ndarray,
        queries: np.ndarray | int,
        page: int,
        window_left: int,
        space: str,
    ) -> int:
        """Visible entries that are not the page req_to_token (and the mapping) names.

        The dummy page is nobody's, whatever names it. Rows past the batch are a graph's padding.
        """
        real = len(self._requests)
        table, lengths = table[:real], lengths[:real]
        queries = queries if isinstance(queries, int) else queries[:real]
        slots = self.runtime.req_to_token_pool.req_to_token.numpy()[self._requests, ::page]
        expected = self._read_as(slots.astype(np.int64), space)
        width = min(table.shape[1], expected.shape[1])
        column = np.arange(width)
        first = np.zeros_like(lengths)
        if window_left >= 0:
            first = np.maximum(lengths - queries - window_left, 0) // page
        visible = (column >= first[:, None]) & (column < -(-lengths // page)[:, None])
        visible &= ~np.isin(self._requests, list(self.moved))[:, None]
        expected = expected[:, :width] // page
        return int((visible & ((table[:, :width] != expected) | (expected == 0))).sum())

    def _read_as(self, slots: np.ndarray, space: str) -> np.ndarray:
        """Where a kernel finds the `slots` of the request table: by a unified pool's, or mapped."""
        allocator, page = self.runtime.token_to_kv_pool_allocator, self.runtime.geometry.page_size
        pages = getattr(allocator, f"{space}_v2p_page_table", None)
        if pages is not None:
            physical: np.ndarray = pages.numpy().astype(np.int64)[slots // page]
            return physical * page + slots % page
        if space == "full":
            return slots
        mapped: np.ndarray = self.runtime.token_to_kv_pool.full_to_swa_index_mapping.numpy()[slots]
        return mapped

    def _note(self, space: str, table: np.ndarray, lengths: np.ndarray, page: int) -> None:
        launch = hashlib.sha256(f"{self._role} {self._mode} {space}".encode())
        launch.update(lengths.tobytes())
        for row, length in zip(table, lengths, strict=True):
            launch.update(np.ascontiguousarray(row[: -(-length // page)]).tobytes())
        if launch.digest() not in self._noted:
            self._noted.add(launch.digest())
            self._digest.update(launch.digest())

    def _moment(self, space: str, entries: int) -> LaunchRecord:
        return LaunchRecord(
            launch=self.launches,
            step=self.step,
            role=self._role,
            forward_mode=self._mode,
            layer_id=int(self.layer.layer_id),
            space=space,
            rows=len(self._requests),
            swa_fill=round(self._fill("swa"), 4),
            full_fill=round(self._fill("full"), 4),
            entries=entries,
        )

    def _fill(self, space: str) -> float:
        allocator = self.runtime.token_to_kv_pool_allocator
        if not hasattr(allocator, "size_swa"):  # of one kind
            return 0.0 if space == "swa" else float(1 - allocator.available_size() / allocator.size)
        size = allocator.size_swa if space == "swa" else allocator.size_full
        return 1 - getattr(allocator, f"{space}_available_size")() / size
