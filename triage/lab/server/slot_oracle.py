"""The oracle for SGLang's own FlashInfer backend (fa2), whose launches take slots, no page table.

As `oracle.py`: copies on the launch's stream, numpy afterwards, and nothing of the checks. Slots
and offsets are copied from FlashInfer's wrappers right behind SGLang's planning, which is on the
host for a graph too. Judged are forwards that read the cache alone: decode, eager or replayed, and
prompts with SGLANG_FLASHINFER_USE_PAGED=1. Of a decode step the number of slots as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from triage.lab.server import plugin_folder
from triage.lab.server.late import Moments, Step, capturing, observe, side_copy, wrap
from triage.lab.server.oracle import Oracle, Wrong, event_behind


@dataclass(frozen=True, slots=True)
class Stream:
    """Copies on the host of what one launch was planned with, and where it should have come from.

    indptr `(rows + 1,)`, indices: slots of all rows. ends `(rows,)`: tokens of each request.
    slots `(rows, tokens)`: the request table. mapping: as `oracle.Taken`.
    window: tokens that a decoding row holds at most, -1 for all. decodes: one query a row.
    """

    indptr: np.ndarray
    indices: np.ndarray
    ends: np.ndarray
    slots: np.ndarray
    mapping: np.ndarray | None
    window: int
    decodes: bool


def judge(stream: Stream) -> Wrong:
    """Compare each slot with the request table and the mapping. Column -1: the row's length."""
    found = Wrong()
    for row, end in enumerate(map(int, stream.ends)):
        begin, stop = int(stream.indptr[row]), int(stream.indptr[row + 1])
        right = min(end, stream.window) if stream.window >= 0 else end
        if stream.decodes and stop - begin != right:
            found.entries.append((row, -1, stop - begin, right))
        columns = np.arange(max(end - (stop - begin), 0), end)
        got = stream.indices[begin:stop][-len(columns) :].astype(np.int64)
        columns = columns[-len(got) :] if len(got) else columns[:0]
        expected = stream.slots[row, columns].astype(np.int64)
        if stream.mapping is not None:
            expected = stream.mapping[np.clip(expected, 0, len(stream.mapping) - 1)]
        for place in np.flatnonzero((got != expected) | (expected <= 0)):
            found.entries.append((row, int(columns[place]), int(got[place]), int(expected[place])))
    return found


@dataclass(slots=True)
class _Copy:
    """One look at one wrapper's plan, on its way to the host."""

    role: str
    captured: bool
    space: str
    window: int
    decodes: bool
    indptr: Tensor
    indices: Tensor
    ends: Tensor
    slots: Tensor
    mapping: Tensor | None
    done: Any

    @property
    def window_left(self) -> int:
        return self.window - 1 if self.window >= 0 else -1

    def judged(self) -> Wrong:
        return judge(
            Stream(
                self.indptr.numpy(),
                self.indices.numpy(),
                self.ends.numpy(),
                self.slots.numpy(),
                None if self.mapping is None else self.mapping.numpy(),
                self.window,
                self.decodes,
            )
        )


class SlotOracle(Oracle):
    """One process's, for FlashInferAttnBackend."""

    copies = _Copy

    def bind(self, moments: Moments) -> None:
        from sglang.srt.layers.attention.flashinfer_backend import FlashInferAttnBackend

        self.moments = moments
        wrap(FlashInferAttnBackend, "init_forward_metadata", self._eager)
        graphs = hasattr(FlashInferAttnBackend, "init_forward_metadata_out_graph")
        if graphs:
            wrap(FlashInferAttnBackend, "init_forward_metadata_out_graph", self._graph)
        self.lines.write("bound", graphs=graphs)

    def _eager(self, original: Any, backend: Any, batch: Any, *a: Any, **k: Any) -> Any:
        result = original(backend, batch, *a, **k)
        self._seen(backend, batch, captured=False)
        return result

    def _graph(self, original: Any, backend: Any, batch: Any, *a: Any, **k: Any) -> Any:
        result = original(backend, batch, *a, **k)
        if not (k.get("in_capture") or (a and a[0])):
            self._seen(backend, batch, captured=True)
        return result

    def _seen(self, backend: Any, batch: Any, *, captured: bool) -> None:  # type: ignore[override]
        step = self.moments.step
        if step is None or not step.rows or self.lost or capturing():
            return
        try:
            self.plan(backend, batch, step, captured=captured)
        except Exception as error:  # an observer of the server's changes nothing in it
            self.lines.write("failed", where="plan", why=f"{type(error).__name__}: {error}")

    def plan(self, backend: Any, batch: Any, step: Step, *, captured: bool) -> None:
        """Copy what `backend`'s wrappers were planned with for `batch`. Queued, not waited for."""
        self.launches += 1
        decodes = bool(batch.forward_mode.is_decode())
        if captured:
            wrappers = backend.decode_cuda_graph_metadata.get(batch.batch_size)
        else:
            kind = "decode_wrappers" if decodes else "prefill_wrappers"
            wrappers = getattr(backend.forward_metadata, kind, None)
        ragged = not decodes and getattr(backend.forward_metadata, "use_ragged", False)
        if wrappers is None or ragged:
            self.skipped += 1
            return
        rows = min(len(step.rows), int(batch.batch_size))
        pool = self.moments.pools[0]
        longest = int(max(batch.seq_lens_cpu[:rows].tolist()))
        slots = self._slots_of(step, rows, longest)
        for number, wrapper in enumerate(wrappers):
            slides = len(wrappers) == 2 and number == 0
            window = int(backend.indices_updater_decode.sliding_window_size) + 1 if slides else -1
            held = min(len(wrapper._paged_kv_indices_buf), int(batch.seq_lens_sum))
            step.copies.append(
                _Copy(
                    role=self.moments.role,
                    captured=captured,
                    space="swa" if slides else "full",
                    window=window,
                    decodes=decodes,
                    indptr=side_copy(wrapper._paged_kv_indptr_buf[: rows + 1]),
                    indices=side_copy(wrapper._paged_kv_indices_buf[:held]),
                    ends=side_copy(batch.seq_lens[:rows]),
                    slots=slots,
                    mapping=side_copy(pool.full_to_swa_index_mapping) if slides else None,
                    done=event_behind(wrapper._paged_kv_indptr_buf),
                )
            )

    def _slots_of(self, step: Step, rows: int, longest: int) -> Tensor:
        """The request table's rows of this step, as a copy on the host."""
        import torch

        table = self._req_to_token()
        chosen = torch.tensor([row.slot for row in step.rows[:rows]], dtype=torch.int64)
        return side_copy(table[chosen.to(table.device, non_blocking=True), :longest])


def plugin(directory: Path, out: Path) -> Path:
    """A plugin folder with which a server through FlashInfer writes its oracle's lines to `out`."""
    return plugin_folder.write(directory, "slot-oracle", f"{__name__}:insert", out=str(out))


def insert(out: str) -> None:
    observe(SlotOracle(Path(out)))
