"""The device checker: I1, I2, I3, I10, I12, I26 without a host sync, inside CUDA graphs too.

The failure it is for: a check that waits for the device costs so much that
nobody leaves it on, and a check that is skipped under capture is blind in
production. The rule: the hot path launches one kernel per index space and
forward, allocates nothing and waits for nothing; what the kernel found comes
to the host one step later through pinned memory and an event.

    launch    `check_table`, `check_writes`    before the attention, captured or not
    mark      after a forward, outside capture: copies the state to pinned memory
    poll      before that step's tokens leave: what is new, per step
    silence   a checker that is armed and does not run is a fault of its own

Limits: launches, marks and captured replays of one checker follow each other on
one stream. `req_to_token` or the mapping, rewritten on another stream between
the table's build and this check, shows as I2.

Long because both checks, of tables and of writes, share one state buffer and one report; the
kernels and their twin stand apart.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from triage.device import checker_eager
from triage.device.checker_kernels import (
    COUNTS,
    CURSOR,
    FLOOR,
    HEADER,
    INVARIANTS,
    LAUNCHES,
    RECORD,
    TENSORS,
    UNKNOWN,
)
from triage.device.kept_slots import KeptSlots
from triage.device.launches import PackedSlotLaunch, TableLaunch, WriteLaunch
from triage.errors import TriageError
from triage.evidence import Violation
from triage.invariants.found import Found
from triage.invariants.reads import IndexSpace

INTEGERS = (torch.int32, torch.int64)
COLUMNS_PER_BLOCK = 1024
TOKENS_PER_BLOCK = 1024
PARTS_OF_A_ROW = 8
"""Programs that share a row of a slot stream on a GPU."""


FOUND_BY_RECORD = {
    ("I1", "block_tables"): Found.PAGE_OUTSIDE_POOL,
    ("I2", "block_tables"): Found.WRONG_PAGE,
    ("I2", "req_pool_indices"): Found.NO_SUCH_REQUEST,
    ("I3", "out_cache_loc"): Found.WRITE_OUTSIDE_POOL,
    ("I3", "swa_loc"): Found.WRITE_NOT_MAPPED_SLOT,
    ("I10", "block_tables"): Found.PADDING_NOT_INERT,
    ("I10", "cache_seqlens"): Found.PADDING_NOT_INERT,
    ("I10", "req_pool_indices"): Found.PADDING_NOT_INERT,
    ("I12", "cache_seqlens"): Found.ILLEGAL_LENGTH,
    ("I12", "q_len"): Found.ILLEGAL_QUERIES,
    ("I26", "cache_seqlens"): Found.TABLE_TOO_NARROW,
    **{
        (invariant, f"{name}_{tensor}"): found
        for name in ("kv", "window_kv")
        for invariant, tensor, found in (
            ("I1", "indices", Found.PAGE_OUTSIDE_POOL),
            ("I2", "indices", Found.WRONG_SLOT),
            ("I12", "indptr", Found.SLOTS_OF_ANOTHER_LENGTH),
            ("I13", "indptr", Found.BUFFER_TOO_SMALL),
        )
    },
}
"""What a record of the device is: it holds an invariant and a tensor, which tell it."""


class CheckRefused(TriageError):
    """The checker does not know a tensor's form, and launches nothing; says which and why."""


@dataclass(frozen=True, slots=True)
class Offender:
    """A violation, the checker's launch that saw it, and the caller's tag of that launch."""

    violation: Violation
    launch: int
    tag: int


class StepReport(NamedTuple):
    """What the checker did between two marks.

    launches: half-open range of launch numbers.
    counts: new offenders per invariant; only those that fired.
    offenders: the first of them, in no certain order; `total` may be larger.
    whole_before: of the launches with a lower number every offender is here, launches being
        checked one after the other.
    excused: offenders that the scheduler's own doing explains; part of neither of the above.
    """

    step: int
    launches: tuple[int, int]
    counts: dict[str, int]
    offenders: tuple[Offender, ...]
    whole_before: int = 0
    excused: tuple[Offender, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(slots=True)
class _Snapshot:
    """A copy of the state on its way to the host; the arrays are the same host memory."""

    state: Tensor
    numbers: np.ndarray
    header: np.ndarray
    event: torch.cuda.Event | None
    step: int = -1


class SafeCopy:
    """Where a launch leaves the table and lengths that the attention may read.

    table: `(rows, width)`, int32, dense. lengths: `(rows,)`, int32.
    Raises:
        CheckRefused: the two are not of that form. Judged once, here.
    """

    __slots__ = ("_shape", "lengths", "table")

    def __init__(self, table: Tensor, lengths: Tensor) -> None:
        self.table, self.lengths = table, lengths
        self._shape = tuple(table.shape)
        for name, tensor, rank in (("table", table, 2), ("lengths", lengths, 1)):
            if tensor.dtype != torch.int32 or tensor.dim() != rank or not tensor.is_contiguous():
                raise CheckRefused(f"the safe {name} is not a dense int32 tensor of rank {rank}")
        if len(table) != len(lengths) or table.device != lengths.device:
            raise CheckRefused("the safe table and lengths are not of one launch")

    def refuse(self, rows: int, width: int, device: torch.device) -> None:
        """Raise `CheckRefused` unless the copy fits a launch of this size."""
        if self._shape != (rows, width) or self.table.device != device:
            raise CheckRefused(f"the safe copy is {self._shape}, the table {rows} x {width}")


@dataclass(slots=True)
class _Progress:
    launches: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(INVARIANTS))


class DeviceChecker:
    """Owns the state buffer of one stream of launches.

    Args:
        device: where the tables live. On a CPU the launches run as plain torch
            (`device_eager`) unless `interpret` asks for the Triton interpreter.
        capacity: offenders kept per poll.
        snapshots: marks that may be on their way at once.
    Memory: (16 + 12 * capacity) * 8 bytes on the device, 24 KiB at the default,
        and as much pinned per snapshot.
    """

    def __init__(
        self,
        device: torch.device | str,
        *,
        capacity: int = 256,
        snapshots: int = 4,
        interpret: bool = False,
    ) -> None:
        self.device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        self.capacity = capacity
        self.on_cuda = self.device.type == "cuda"
        self._eager = not self.on_cuda and not interpret
        size = HEADER + capacity * RECORD
        self.state = torch.zeros(size, dtype=torch.int64, device=self.device)
        self._none = torch.zeros(1, dtype=torch.int32, device=self.device)
        self._free = deque(self._new_snapshot(size) for _ in range(snapshots))
        self._pending: deque[_Snapshot] = deque()
        self._seen = _Progress()
        self.marks_without_launch = 0  # in a row, as far as polled; the heartbeat
        self._known_slots: Tensor | None = None
        self._known_mapping: Tensor | None = None

    def _new_snapshot(self, size: int) -> _Snapshot:
        host = torch.zeros(size, dtype=torch.int64, pin_memory=self.on_cuda)
        numbers, event = host.numpy(), torch.cuda.Event() if self.on_cuda else None
        return _Snapshot(host, numbers, numbers[:HEADER], event)

    def check_table(
        self,
        block_tables: Tensor,
        cache_seqlens: Tensor,
        space: IndexSpace,
        *,
        window_left: int,
        q_len: int | Tensor = 1,
        cum_seq_lens_q: Tensor | None = None,
        req_pool_indices: Tensor | None = None,
        req_to_token: Tensor | None = None,
        full_to_swa: Tensor | None = None,
        num_real_rows: int | Tensor | None = None,
        check_padding: bool = False,
        padded_length: int | None = None,
        safe: SafeCopy | None = None,
        tag: int = 0,
    ) -> TableLaunch | None:
        """Launch `invariants.reads.check_table`, and with `check_padding` I10, for one launch.

        Args: as there; besides,
            check_padding: `invariants.graph.check_padding` too; needs `num_real_rows`.
            safe: receives the copy for containment: live ids outside the pool (I1) and
                dead columns are page 0, lengths lie in [0, width * PS].
            tag: any number; comes back with each offender.
        Returns: the launch, for tensors of the very same form; None for an empty one
            and where plain torch stands in for the kernel.
        Raises:
            CheckRefused: before anything is launched.
        Cost: one kernel launch; no sync, no allocation, legal under capture. A
            captured launch checks at every replay what its tensors then hold.
        """
        self._refuse_table(block_tables, cache_seqlens, space, safe)
        rows, width = block_tables.shape
        queries, query_mode = self._queries(rows, q_len, cum_seq_lens_q)
        real, real_mode, real_rows = self._real(num_real_rows)
        if check_padding and real_mode == 0:
            raise CheckRefused("check_padding needs num_real_rows")
        if req_pool_indices is not None:
            self._refuse_vector("req_pool_indices", req_pool_indices, rows)
        slots, mapping = self._none, None
        if req_to_token is not None and req_pool_indices is not None:
            slots, mapping = req_to_token, full_to_swa
            self._refuse_identity(slots, mapping)
        if rows == 0:
            self._count_empty_launch()
            return None
        if self._eager:
            checker_eager.check_table(
                self.state,
                self.capacity,
                block_tables,
                cache_seqlens,
                space,
                window_left=window_left,
                q_len=q_len,
                cum_seq_lens_q=cum_seq_lens_q,
                req_pool_indices=req_pool_indices,
                req_to_token=req_to_token,
                full_to_swa=full_to_swa,
                num_real_rows=num_real_rows,
                check_padding=check_padding,
                padded_length=padded_length,
                safe_table=None if safe is None else safe.table,
                safe_lengths=None if safe is None else safe.lengths,
                tag=tag,
            )
            return None
        none = self._none
        launch = TableLaunch(
            rows=rows,
            state=self.state,
            none=none,
            rest=(
                slots,
                none if mapping is None else mapping,
                real,
                none if safe is None else safe.table,
                none if safe is None else safe.lengths,
                block_tables.stride(0),
                width,
                space.num_pages,
                window_left,
                q_len if isinstance(q_len, int) else 1,
                real_rows,
                slots.shape[0],
                slots.shape[-1],
                slots.stride(0),
                0 if mapping is None else mapping.shape[0],
                0 if padded_length is None else padded_length,
                tag,
            ),
            constants={
                "PAGE": space.page_size,
                "QUERIES": query_mode,
                "REAL": real_mode,
                "REQUEST": req_pool_indices is not None,
                "IDENTITY": slots is not none,
                "MAPPED": mapping is not None,
                "PADDING": 0 if not check_padding else 1 if padded_length is None else 2,
                "SAFE": safe is not None,
                "CAPACITY": self.capacity,
                "BLOCK": COLUMNS_PER_BLOCK if self.on_cuda else 16,
            },
        )
        launch(block_tables, cache_seqlens, queries, req_pool_indices)
        return launch

    def check_writes(
        self,
        out_cache_loc: Tensor,
        space: IndexSpace,
        *,
        swa_loc: Tensor | None = None,
        swa_space: IndexSpace | None = None,
        full_to_swa: Tensor | None = None,
        req_pool_indices: Tensor | None = None,
        tokens_per_row: int = 1,
        num_real_tokens: int | Tensor | None = None,
        tag: int = 0,
    ) -> WriteLaunch | None:
        """Launch `invariants.writes.check_writes` (I3) for one forward.

        Args, result, errors and cost as in `check_table`. The two spaces must have one page size.
        A strided `out_cache_loc`, as each step of an EAGLE draft has it, is copied first, one more
        launch, and cannot be checked again by the launch that is returned elsewhere: None.
        """
        strided = out_cache_loc.dim() == 1 and not out_cache_loc.is_contiguous()
        if strided:
            out_cache_loc = out_cache_loc.contiguous()
        tokens = len(out_cache_loc)
        self._refuse_vector("out_cache_loc", out_cache_loc, tokens)
        swa = swa_loc is not None and swa_space is not None
        if swa_loc is not None:
            self._refuse_vector("swa_loc", swa_loc, tokens)
        if swa_space is not None and swa_space.page_size != space.page_size:
            raise CheckRefused(
                f"the SWA pool has pages of {swa_space.page_size} tokens, the full pool of "
                f"{space.page_size}; one launch judges both only with one page size"
            )
        if full_to_swa is not None:
            self._refuse_vector("full_to_swa", full_to_swa, max(len(full_to_swa), 1))
        if req_pool_indices is not None:
            rows = -(-tokens // tokens_per_row)
            self._refuse_vector("req_pool_indices", req_pool_indices, len(req_pool_indices))
            if len(req_pool_indices) < rows:
                raise CheckRefused(f"{len(req_pool_indices)} rows of {tokens_per_row} < {tokens}")
        real, real_mode, real_tokens = self._real(num_real_tokens)
        if tokens == 0:
            self._count_empty_launch()
            return None
        if self._eager:
            checker_eager.check_writes(
                self.state,
                self.capacity,
                out_cache_loc,
                space,
                swa_loc=swa_loc,
                swa_space=swa_space,
                full_to_swa=full_to_swa,
                req_pool_indices=req_pool_indices,
                tokens_per_row=tokens_per_row,
                num_real_tokens=num_real_tokens,
                tag=tag,
            )
            return None
        none = self._none
        block = TOKENS_PER_BLOCK if self.on_cuda else 16
        launch = WriteLaunch(
            blocks=-(-tokens // block),
            state=self.state,
            none=none,
            mapping=none if full_to_swa is None else full_to_swa,
            rest=(
                real,
                tokens,
                space.num_pages,
                0 if swa_space is None else swa_space.num_pages,
                0 if full_to_swa is None else len(full_to_swa),
                real_tokens,
                tokens_per_row,
                tag,
            ),
            constants={
                "PAGE": space.page_size,
                "REAL": real_mode,
                "REQUEST": req_pool_indices is not None,
                "SWA": swa,
                "MAPPED": swa and full_to_swa is not None,
                "CAPACITY": self.capacity,
                "BLOCK": block,
            },
        )
        launch(out_cache_loc, swa_loc, req_pool_indices)
        return None if strided else launch

    def check_packed_slots(
        self,
        kv_indptr: Tensor,
        kv_indices: Tensor,
        space: IndexSpace,
        *,
        ends: Tensor | None = None,
        ahead: int = 0,
        window: int = -1,
        counted: bool = True,
        one_fewer: bool = False,
        req_pool_indices: Tensor | None = None,
        req_to_token: Tensor | None = None,
        full_to_swa: Tensor | None = None,
        name: str = "kv",
        safe: bool = False,
        tag: int = 0,
        kept: KeptSlots | None = None,
    ) -> PackedSlotLaunch | None:
        """Launch `invariants.packed_slots.check_packed_slots` for one launch.

        Args: as there; besides,
            kv_indptr: `(rows + 1,)`; kv_indices: `(capacity,)`, slots of `space`. Both int32 or
                int64, stride 1.
            ends: `(rows,)`, positions; `ahead` is added to each. None where nobody knows: a
                row then ends where its offsets say, its length is not judged, and without a
                window its slots still are.
            window: positions that a row holds at most, the newest; -1 for all.
            counted: do `ends` and `window` say how many slots a row has? Else as many as its
                offsets say, before its end.
            one_fewer: a row that `window` cuts may also lack the oldest of its slots.
            safe: live slots outside the pool are overwritten by slot 0, in `kv_indices` itself.
            kept: where the rows of a launch that found something are copied to.
        Returns, raises and costs as `check_table`.
        """
        rows = kv_indptr.numel() - 1
        self._refuse_vector(f"{name}_indptr", kv_indptr, max(rows, 0) + 1)
        self._refuse_vector(f"{name}_indices", kv_indices, kv_indices.numel())
        if ends is not None:
            self._refuse_vector("ends", ends, rows)
        if req_pool_indices is not None:
            self._refuse_vector("req_pool_indices", req_pool_indices, rows)
        slots, mapping = self._none, None
        if req_to_token is not None and req_pool_indices is not None:
            if ends is None and window >= 0:
                raise CheckRefused("the slots of a window are judged where the row's end is known")
            slots, mapping = req_to_token, full_to_swa
            self._refuse_identity(slots, mapping)
        if rows < 1:
            self._count_empty_launch()
            return None
        if self._eager:
            checker_eager.check_packed_slots(
                self.state,
                self.capacity,
                kv_indptr,
                kv_indices,
                space,
                ends=ends,
                ahead=ahead,
                window=window,
                counted=counted,
                one_fewer=one_fewer,
                req_pool_indices=req_pool_indices,
                req_to_token=req_to_token if slots is not self._none else None,
                full_to_swa=mapping,
                name=name,
                safe=safe,
                tag=tag,
                kept=kept,
            )
            return None
        parts = PARTS_OF_A_ROW if self.on_cuda else 2
        launch = PackedSlotLaunch(
            programs=rows * parts,
            state=self.state,
            none=self._none,
            rest=(
                slots,
                self._none if mapping is None else mapping,
                kv_indices.numel(),
                max(space.page_size, 1),
                space.num_pages * space.page_size,
                ahead,
                window,
                slots.shape[0],
                slots.shape[-1],
                slots.stride(0),
                0 if mapping is None else mapping.shape[0],
                tag,
                self._none if kept is None else kept.words,
                self._none if kept is None else kept.cells,
            ),
            constants={
                "ENDS": 0 if ends is None else 2 if not counted else 3 if one_fewer else 1,
                "BY_REQUEST": req_pool_indices is not None,
                "IDENTITY": slots is not self._none,
                "MAPPED": mapping is not None,
                "SAFE": safe,
                "OFFSETS": TENSORS.index(f"{name}_indptr"),
                "INDICES": TENSORS.index(f"{name}_indices"),
                "PARTS": parts,
                "CAPACITY": self.capacity,
                "KEPT": 0 if kept is None else kept.places,
                "MAX_ROWS": 0 if kept is None else kept.max_rows,
                "MAX_CELLS": 0 if kept is None else kept.max_cells,
                "BLOCK": TOKENS_PER_BLOCK if self.on_cuda else 16,
            },
        )
        launch(kv_indptr, kv_indices, ends, req_pool_indices)
        return launch

    def mark(self, step: int) -> bool:
        """Send the state as it will be after the work queued so far; True if it was sent.

        It is not under capture, nor when every snapshot is still on its way: the
        next mark then covers both steps. Cost: one async copy of 6 KiB, one event.
        """
        if self.on_cuda and torch.cuda.is_current_stream_capturing():
            return False
        if not self._free:
            return False
        snapshot = self._free.popleft()
        snapshot.state.copy_(self.state, non_blocking=True)
        if snapshot.event is not None:
            snapshot.event.record()
        snapshot.step = step
        self._pending.append(snapshot)
        return True

    @property
    def oldest_step(self) -> int | None:
        """The step of the oldest mark that has not been polled."""
        return self._pending[0].step if self._pending else None

    def poll(self, *, wait: bool = False, until: int | None = None) -> tuple[StepReport, ...]:
        """Reports of the marks that have arrived, oldest first; empty if none has.

        Args:
            wait: wait for every mark sent. That is a sync: raise mode and shutdown only.
            until: wait for the marks of this step and of those before it.
        """
        reports, fresh = [], False
        while self._pending:
            snapshot = self._pending[0]
            if snapshot.event is not None and not snapshot.event.query():
                if not wait and (until is None or snapshot.step > until):
                    break
                snapshot.event.synchronize()
            report = self._report(snapshot)
            reports.append(report)
            fresh = fresh or bool(report.counts)
            self._free.append(self._pending.popleft())
        if fresh:
            # Room for the next offenders. A launch that is running keeps its own out.
            self.state[FLOOR : FLOOR + 1].copy_(self.state[CURSOR : CURSOR + 1])
        return tuple(reports)

    def _report(self, snapshot: _Snapshot) -> StepReport:
        header: list[int] = snapshot.header.tolist()
        launches, counts = header[LAUNCHES], header[COUNTS : COUNTS + len(INVARIANTS)]
        before = self._seen
        fresh: dict[str, int] = {}
        offenders: tuple[Offender, ...] = ()
        if counts != before.counts:
            both = zip(INVARIANTS, counts, before.counts, strict=True)
            fresh = {name: now - then for name, now, then in both if now > then}
            kept = min(header[CURSOR] - header[FLOOR], self.capacity)
            records = snapshot.numbers[HEADER:].reshape(-1, RECORD)[:kept].tolist()
            offenders = tuple(_offender(r) for r in records if r[10] >= before.launches)
        whole = launches
        if len(offenders) < sum(fresh.values()):
            whole = max((each.launch for each in offenders), default=before.launches)
        quiet = launches == before.launches
        self.marks_without_launch = self.marks_without_launch + 1 if quiet else 0
        seen = before.launches, launches
        before.launches, before.counts = launches, counts
        return StepReport(snapshot.step, seen, fresh, offenders, whole)

    def _count_empty_launch(self) -> None:
        self.state[LAUNCHES : LAUNCHES + 1].add_(1)

    def _refuse_table(
        self, table: Tensor, lengths: Tensor, space: IndexSpace, safe: SafeCopy | None
    ) -> None:
        if table.dim() != 2:
            raise CheckRefused(f"block_tables has {table.dim()} dimensions, not 2")
        if table.dtype not in INTEGERS or table.device != self.device:
            raise CheckRefused(f"block_tables is {table.dtype} on {table.device}")
        rows, width = table.shape
        if width > 1 and table.stride(1) != 1:
            raise CheckRefused(f"block_tables has column stride {table.stride(1)}, not 1")
        self._refuse_vector("cache_seqlens", lengths, rows)
        page = space.page_size
        if page < 1 or page & (page - 1):
            raise CheckRefused(f"page size {page} is not a power of two")
        if safe is not None:
            safe.refuse(rows, width, self.device)

    def _refuse_vector(self, name: str, vector: Tensor, length: int) -> None:
        if vector.shape != (length,):
            raise CheckRefused(f"{name} has shape {tuple(vector.shape)}, not ({length},)")
        if vector.dtype not in INTEGERS or vector.device != self.device:
            raise CheckRefused(f"{name} is {vector.dtype} on {vector.device}")
        if length > 1 and vector.stride() != (1,):
            raise CheckRefused(f"{name} has stride {vector.stride(0)}, not 1")

    def _refuse_identity(self, req_to_token: Tensor, full_to_swa: Tensor | None) -> None:
        # Both live as long as the server: judge each object once. A tensor's form
        # can change in place (resize_, set_), SGLang does that to neither.
        if req_to_token is not self._known_slots:
            if req_to_token.dim() != 2 or req_to_token.numel() == 0:
                raise CheckRefused(f"req_to_token has shape {tuple(req_to_token.shape)}")
            if req_to_token.device != self.device or req_to_token.dtype not in INTEGERS:
                raise CheckRefused(f"req_to_token is {req_to_token.dtype} on {req_to_token.device}")
            if req_to_token.shape[1] > 1 and req_to_token.stride(1) != 1:
                raise CheckRefused(f"req_to_token has column stride {req_to_token.stride(1)}")
            self._known_slots = req_to_token
        if full_to_swa is not None and full_to_swa is not self._known_mapping:
            self._refuse_vector("full_to_swa", full_to_swa, max(full_to_swa.numel(), 1))
            self._known_mapping = full_to_swa

    def _queries(
        self, rows: int, q_len: int | Tensor, cumulative: Tensor | None
    ) -> tuple[Tensor, int]:
        if cumulative is not None:
            self._refuse_vector("cum_seq_lens_q", cumulative, rows + 1)
            return cumulative, 2
        if isinstance(q_len, int):
            return self._none, 0
        self._refuse_vector("q_len", q_len, rows)
        return q_len, 1

    def _real(self, real: int | Tensor | None) -> tuple[Tensor, int, int]:
        if real is None:
            return self._none, 0, 0
        if isinstance(real, int):
            return self._none, 1, real
        if real.numel() != 1 or real.device != self.device or real.dtype not in INTEGERS:
            raise CheckRefused(f"the number of real rows is {tuple(real.shape)} on {real.device}")
        return real, 2, 0


def _offender(record: list[int]) -> Offender:
    def known(number: int) -> int | None:
        return None if number == UNKNOWN else number

    invariant, tensor, row, column, value, expected, low, high, request, seen, launch, tag = record
    violation = Violation(
        invariant=INVARIANTS[invariant],
        tensor=TENSORS[tensor],
        row=row,
        column=column,
        value=value,
        low=low,
        high=high,
        expected=known(expected),
        req_pool_index=known(request),
        in_window=None if seen == UNKNOWN else bool(seen),
        kind=FOUND_BY_RECORD.get((INVARIANTS[invariant], TENSORS[tensor]), ""),
    )
    return Offender(violation, launch, tag)
