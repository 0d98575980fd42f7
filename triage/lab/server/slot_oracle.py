"""The oracle for SGLang's FlashInfer (fa2) and Triton backends, which take slots, no page table.

As `oracle.py`: copies on the launch's stream, numpy afterwards, and nothing of the checks. Slots
and offsets are copied right behind SGLang's filling, which is outside a graph too. Which they are,
and of which forwards, says `slot_plans.py`. The number of slots of a row is judged as well.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from triage.lab.server import plugin_folder
from triage.lab.server.late import Moments, Step, capturing, complain, observe, side_copy, wrap
from triage.lab.server.oracle import Oracle, Wrong, event_behind
from triage.lab.server.slot_plans import Plan, Plans, flashinfer_plans, triton_plans

BACKENDS: dict[str, Plans] = {
    "flashinfer_backend.FlashInferAttnBackend": flashinfer_plans,
    "triton_backend.TritonAttnBackend": triton_plans,
}
"""Of `sglang.srt.layers.attention`, with what tells their plans."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Copies on the host of what one launch was planned with, and where it should have come from.

    indptr `(rows + 1,)`, indices: slots of all rows. ends `(rows,)`: where each row's tokens end.
    slots `(rows, tokens)`: the request table. mapping: as `oracle.Taken`.
    window, counted, spare: as `slot_plans.Plan`.
    """

    indptr: np.ndarray
    indices: np.ndarray
    ends: np.ndarray
    slots: np.ndarray
    mapping: np.ndarray | None
    window: int
    counted: bool
    spare: int = 0


def judge(stream: Stream) -> Wrong:
    """Compare each slot with the request table and the mapping. Column -1: the row's length."""
    found = Wrong()
    for row, end in enumerate(map(int, stream.ends)):
        begin, stop = int(stream.indptr[row]), int(stream.indptr[row + 1])
        right = min(end, stream.window) if stream.window >= 0 else end
        least = min(right, stream.window - stream.spare) if stream.window >= 0 else right
        if stream.counted and not least <= stop - begin <= right:
            found.entries.append((row, -1, stop - begin, right))
        held = stream.indices[begin:stop].astype(np.int64)
        kept = min(len(held), end)
        columns, got = np.arange(end - kept, end), held[len(held) - kept :]
        expected = stream.slots[row, columns].astype(np.int64)
        if stream.mapping is not None:
            expected = stream.mapping[np.clip(expected, 0, len(stream.mapping) - 1)]
        for place in np.flatnonzero((got != expected) | (expected <= 0)):
            found.entries.append((row, int(columns[place]), int(got[place]), int(expected[place])))
    return found


@dataclass(slots=True)
class _Copy:
    """One look at one pair of buffers, on its way to the host.

    books: request rows and mapping behind the filling; at_launch: as the host had queued them
    when the step was launched. See `oracle.py` for why both.
    """

    role: str
    captured: bool
    plan: Plan
    indptr: Tensor
    indices: Tensor
    ends: Tensor
    books: tuple[Tensor, Tensor | None]
    at_launch: tuple[Tensor, Tensor | None] | None
    done: Any

    @property
    def space(self) -> str:
        return self.plan.space

    @property
    def window_left(self) -> int:
        return self.plan.window - 1 if self.plan.window >= 0 else -1

    def judged(self) -> Wrong:
        now = self._against(self.books)
        if not now or self.at_launch is None:
            return now
        places = {entry[:2] for entry in self._against(self.at_launch).entries}
        return Wrong([entry for entry in now.entries if entry[:2] in places])

    def _against(self, books: tuple[Tensor, Tensor | None]) -> Wrong:
        slots, mapping = books
        return judge(
            Stream(
                self.indptr.numpy(),
                self.indices.numpy(),
                self.ends.numpy(),
                slots.numpy(),
                None if mapping is None else mapping.numpy(),
                self.plan.window,
                self.plan.counted,
                self.plan.spare,
            )
        )


class SlotOracle(Oracle):
    """One process's, for the backends that this machine has of BACKENDS."""

    copies = _Copy

    def bind(self, moments: Moments) -> None:
        self.moments = moments
        bound = [name for name, plans in BACKENDS.items() if self._bind(name, plans)]
        self.lines.write("bound", backends=bound)

    def _bind(self, name: str, plans: Plans) -> bool:
        module, _, kind = name.partition(".")
        try:
            owner = getattr(importlib.import_module(f"sglang.srt.layers.attention.{module}"), kind)
        except ImportError as error:  # a machine without that backend's kernels
            complain(f"{name} is not observed: {error}")
            return False

        def eager(original: Any, backend: Any, batch: Any, *a: Any, **k: Any) -> Any:
            result = original(backend, batch, *a, **k)
            self._planned(plans, backend, batch, captured=False)
            return result

        def graph(original: Any, backend: Any, batch: Any, *a: Any, **k: Any) -> Any:
            result = original(backend, batch, *a, **k)
            if not (k.get("in_capture") or (a and a[0])):
                self._planned(plans, backend, batch, captured=True)
            return result

        wrap(owner, "init_forward_metadata", eager)
        if hasattr(owner, "init_forward_metadata_out_graph"):
            wrap(owner, "init_forward_metadata_out_graph", graph)
        return True

    def _planned(self, plans: Plans, backend: Any, batch: Any, *, captured: bool) -> None:
        step = self.moments.step
        if step is None or not step.rows or self.lost or capturing():
            return
        try:
            self.launches += 1
            found = plans(backend, batch, captured)
            self.skipped += not found
            self._copy(found, batch, step, captured=captured)
        except Exception as error:  # an observer of the server's changes nothing in it
            self.lines.write("failed", where="plan", why=f"{type(error).__name__}: {error}")

    def _copy(self, plans: list[Plan], batch: Any, step: Step, *, captured: bool) -> None:
        """Copy what `batch`'s launches will read, and the books. Queued, not waited for."""
        if not plans:
            return
        rows = min(len(step.rows), int(batch.batch_size))
        pool = self.moments.pools[0]
        longest, total = _sizes(batch, rows)
        slots = side_copy(self._rows(step, rows)[:, :longest])
        launch = step.at_launch
        before = None if launch is None else side_copy(launch.rows[:rows, :longest])
        for plan in plans:
            slides = plan.space == "swa"
            mapping = side_copy(pool.full_to_swa_index_mapping) if slides else None
            mapped = side_copy(launch.mappings[id(pool)]) if slides and launch is not None else None
            step.copies.append(
                _Copy(
                    role=self.moments.role,
                    captured=captured,
                    plan=plan,
                    indptr=side_copy(plan.indptr[: rows + 1]),
                    indices=side_copy(plan.indices[:total]),
                    ends=side_copy(plan.ends[:rows]),
                    books=(slots, mapping),
                    at_launch=None if before is None else (before, mapped),
                    done=event_behind(plan.indptr),
                )
            )


def _sizes(batch: Any, rows: int) -> tuple[int | None, int | None]:
    """Tokens of the longest of `rows` and of all rows, padding included; None: not on the host.

    A replay's batch has lengths on the host in any case; without their sum they are old ones.
    """
    if batch.seq_lens_sum is None or batch.seq_lens_cpu is None:
        return None, None
    return int(max(batch.seq_lens_cpu[:rows].tolist())), int(batch.seq_lens_sum)


def plugin(directory: Path, out: Path) -> Path:
    """A plugin folder with which a server writes its oracle's lines to `out`."""
    return plugin_folder.write(directory, "slot-oracle", f"{__name__}:insert", out=str(out))


def insert(out: str) -> None:
    observe(SlotOracle(Path(out)))
