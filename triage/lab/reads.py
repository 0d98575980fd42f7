"""What the kernels of Triton, FA3 and fa2 read in the lab: an oracle that shares no code with us.

It walks the slots or pages in plain numpy and says at which launch an index was first
wrong, traps or no traps. The traps are those of a server, at SGLang's backends. A slot or
page past the buffer is a plain pointer past an allocation: reported as the fault it may be
(deduced; on a GPU such a load may also hit other memory).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from triage.lab.emulated_gpu import EmulatedGpu
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.kernel_reads import PageTableRead, SlotRead
from triage.lab.request import LabRequest
from triage.lab.runtime import Runtime


class BuilderGpu(EmulatedGpu):
    """Receives the reads of Triton's and FA3's kernels; interface and report of EmulatedGpu."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self._ends = self._lengths = np.zeros(0, dtype=np.int64)

    def forward(
        self,
        role: str,
        forward_batch: Any,
        batch: list[LabRequest],
        own_pool: bool = False,
        ahead: int = 0,
    ) -> None:
        super().forward(role, forward_batch, batch, own_pool, ahead)
        mode = forward_batch.forward_mode
        cached = forward_batch.seq_lens
        if not (mode.is_decode() or mode.is_target_verify()):
            cached = forward_batch.extend_prefix_lens
        # Triton reads what is cached; the tokens of this forward come as they are.
        self._ends = cached.numpy().astype(np.int64) + ahead
        self._lengths = forward_batch.seq_lens.numpy().astype(np.int64) + ahead

    def read(self, read: SlotRead | PageTableRead) -> None:
        """One kernel call. Raises TrapError before it, EmulatedFault where memory ends."""
        space = "swa" if self._slides() else "full"
        indices = read.kv_indices if isinstance(read, SlotRead) else read.page_table
        key = (indices.data_ptr(), tuple(indices.shape), space)
        if key not in self._seen:
            self._seen[key] = self._judge(read, space)  # type: ignore[assignment]
        self.launches += 1
        wrong, faulting = self._seen[key]
        if wrong:
            self.wrong_launches += 1
            if self.first_wrong is None:
                self.first_wrong = self._moment(space, int(wrong))  # type: ignore[call-overload]
                self.on_wrong(self.first_wrong)
        if faulting:
            self.fault = self._moment(space, int(faulting))
            raise EmulatedFault(
                f"launch {self.launches}: {faulting} indices past the {space} K cache "
                f"of {read.k_buffer.shape[0]} rows"
            )

    # -- the oracle --------------------------------------------------------------------

    def _judge(self, read: SlotRead | PageTableRead, space: str) -> tuple[int, int]:
        """(entries that are wrong, entries outside the buffer) among those that are read."""
        self.peak_swa_fill = max(self.peak_swa_fill, self._fill("swa"))
        if isinstance(read, PageTableRead):
            page = self.runtime.geometry.page_size
            table = read.page_table.numpy().astype(np.int64)
            lengths = read.cache_seqlens.numpy().astype(np.int64)
            queries = np.diff(read.cu_seqlens_q.numpy())
            self._note(space, table, lengths, page)
            wrong = self._wrong(table, lengths, queries, page, read.window_left, space)
            live = np.arange(table.shape[1]) < -(-lengths // page)[:, None]
            pages = read.k_buffer.shape[0]
            return wrong, int((live & ((table < 0) | (table >= pages))).sum())
        offsets = read.kv_indptr.tolist()
        slots = read.kv_indices.numpy()
        rows = self.runtime.req_to_token_pool.req_to_token.numpy()
        wrong = faulting = 0
        ends = self._lengths if read.with_queries else self._ends
        for row, (request, end) in enumerate(zip(self._requests, ends, strict=True)):
            seen = slots[offsets[row] : offsets[row + 1]]
            start = end - self._reads(row, int(end), read)
            expected = self._read_as(rows[request, start:end].astype(np.int64), space)
            self._digest.update(f"{self._role} {self._mode} {space}".encode())
            self._digest.update(seen.astype(np.int64).tobytes())
            if int(request) in self.moved:  # the scheduler's since it was queued
                continue
            faulting += int(((seen < 0) | (seen >= read.k_buffer.shape[0])).sum())
            common = min(len(seen), len(expected))
            differing = (seen[:common] != expected[:common]) | (expected[:common] == 0)
            wrong += int(differing.sum()) + abs(len(seen) - len(expected))
        return wrong, faulting

    def _reads(self, row: int, end: int, read: SlotRead) -> int:
        """Positions a row reads: of a window those that a query of it sees, the newest."""
        if not read.window:
            return end
        queries = 0
        if read.with_queries:
            queries = max(int(self._lengths[row] - self._ends[row]), 1)
        return min(end, self.runtime.geometry.window - 1 + queries)
