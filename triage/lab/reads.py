"""What the Triton and FA3 kernels of the lab read: an oracle, and traps on the same indices.

Two judges that share no code. The oracle walks the slots or pages in plain numpy
and says at which launch an index was first wrong, traps or no traps. The traps
are the checks of `triage/invariants/` on the tensors the kernel was passed, and
stop before the read, once for each metadata and index space. A slot or page past
the buffer is a plain pointer past an allocation: reported as the fault it may be
(deduced; on a GPU such a load may also hit other memory).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.errors import TableForm
from triage.evidence import Evidence
from triage.invariants.catalogue import error_of, first_of, sentence
from triage.invariants.findings import Findings
from triage.invariants.lengths import check_lengths
from triage.invariants.reads import IndexSpace, check_form, check_table
from triage.invariants.streams import check_slot_stream
from triage.lab.builders import PageTableRead, SlotRead
from triage.lab.emulated_gpu import EmulatedGpu
from triage.lab.flashinfer_stub import EmulatedFault
from triage.lab.request import LabRequest
from triage.lab.runtime import Runtime


class BuilderGpu(EmulatedGpu):
    """Receives the reads of Triton's and FA3's kernels; interface and report of EmulatedGpu."""

    def __init__(self, runtime: Runtime, enabled: Callable[[], frozenset[str]]) -> None:
        super().__init__(runtime)
        self.enabled = enabled
        self.checked = 0  # metadata and index spaces the traps have judged
        self._batch: Any = None
        self._ends = np.zeros(0, dtype=np.int64)

    def forward(
        self,
        role: str,
        forward_batch: Any,
        batch: list[LabRequest],
        own_pool: bool = False,
        ahead: int = 0,
    ) -> None:
        super().forward(role, forward_batch, batch, own_pool, ahead)
        self._batch, self._ahead = forward_batch, ahead
        mode = forward_batch.forward_mode
        cached = forward_batch.seq_lens
        if not (mode.is_decode() or mode.is_target_verify()):
            cached = forward_batch.extend_prefix_lens
        # Triton reads what is cached; the tokens of this forward come as they are.
        self._ends = cached.numpy().astype(np.int64) + ahead

    def read(self, read: SlotRead | PageTableRead) -> None:
        """One kernel call. Raises TrapError before it, EmulatedFault where memory ends."""
        space = "swa" if self._slides() else "full"
        indices = read.kv_indices if isinstance(read, SlotRead) else read.page_table
        key = (indices.data_ptr(), tuple(indices.shape), space)
        if key not in self._seen:
            if self.enabled():
                self._trap(read, space)
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
        for row, (request, end) in enumerate(zip(self._requests, self._ends, strict=True)):
            seen = slots[offsets[row] : offsets[row + 1]]
            start = end - self._reads(int(end), read.window)
            expected = rows[request, start:end].astype(np.int64)
            if space == "swa":
                mapping = self.runtime.token_to_kv_pool.full_to_swa_index_mapping.numpy()
                expected = mapping[expected]
            self._digest.update(f"{self._role} {self._mode} {space}".encode())
            self._digest.update(seen.astype(np.int64).tobytes())
            faulting += int(((seen < 0) | (seen >= read.k_buffer.shape[0])).sum())
            common = min(len(seen), len(expected))
            differing = (seen[:common] != expected[:common]) | (expected[:common] == 0)
            wrong += int(differing.sum()) + abs(len(seen) - len(expected))
        return wrong, faulting

    def _reads(self, end: int, window: bool) -> int:
        """Positions a row reads: SGLang keeps window - 1 of them, the newest."""
        return min(end, self.runtime.geometry.window - 1) if window else end

    # -- the traps ---------------------------------------------------------------------

    def _trap(self, read: SlotRead | PageTableRead, space: str) -> None:
        if isinstance(read, PageTableRead):
            found, form = self._check_table(read, space)
            if form and "I26" in self.enabled():
                raise TableForm(form[0])
        else:
            found = [self._check_stream(read, space)]
        self.checked += 1
        for findings in found:
            wrong = {n: c for n, c in findings.read().items() if c and n in self.enabled()}
            if wrong:
                self._raise(findings, wrong, space)

    def _check_stream(self, read: SlotRead, space: str) -> Findings:
        ends = torch.from_numpy(self._ends)
        reads = [self._reads(int(end), read.window) for end in self._ends]
        return check_slot_stream(
            read.kv_indptr,
            read.kv_indices,
            self._space(read.k_buffer.shape[0] // self.runtime.geometry.page_size, space),
            ends=ends,
            tokens=torch.tensor(reads, dtype=torch.int64),
            width=max(reads, default=0),
            req_pool_indices=self._batch.req_pool_indices,
            req_to_token=self.runtime.req_to_token_pool.req_to_token,
            full_to_swa=self._mapping(space),
            name="window_kv" if read.window else "kv",
        )

    def _check_table(
        self, read: PageTableRead, space: str
    ) -> tuple[list[Findings], tuple[Evidence, ...]]:
        form = check_form(
            read.page_table,
            read.cache_seqlens,
            page_size=self.runtime.geometry.page_size,
            device_of_kernel=read.k_buffer.device,
            where=self._where(),
        )
        mode = self._batch.forward_mode
        added = self._ahead
        if mode.is_target_verify():
            added = self.runtime.draft_tokens
        lengths = check_lengths(read.cache_seqlens, self._batch.seq_lens, (added,))
        table = check_table(
            read.page_table,
            read.cache_seqlens,
            self._space(read.k_buffer.shape[0], space),
            window_left=read.window_left,
            cum_seq_lens_q=read.cu_seqlens_q,
            req_pool_indices=self._batch.req_pool_indices,
            req_to_token=self.runtime.req_to_token_pool.req_to_token,
            full_to_swa=self._mapping(space),
        )
        return [lengths, table], form

    def _space(self, pages: int, name: str) -> IndexSpace:
        return IndexSpace(name, self.runtime.geometry.page_size, pages)

    def _mapping(self, space: str) -> Tensor | None:
        if space == "full":
            return None
        mapping: Tensor = self.runtime.token_to_kv_pool.full_to_swa_index_mapping
        return mapping

    def _where(self) -> str:
        return f"{self._role} kernel, launch {self.launches + 1}"

    def _raise(self, findings: Findings, wrong: dict[str, int], space: str) -> None:
        first = first_of(wrong)
        violations = [v for v in findings.violations() if v.invariant in wrong]
        violations.sort(key=lambda v: v.invariant != first)
        evidence = Evidence(
            invariant=first,
            summary=sentence(first),
            where=self._where(),
            pool=space,
            layer_id=int(self.layer.layer_id),
            forward_mode=self._mode,
            total=sum(wrong.values()),
            rows_affected=findings.rows_affected,
            violations=tuple(violations),
        )
        error = error_of(first)
        raise error(evidence, "seen by the lab at the kernel's arguments; such a read has no dump")
