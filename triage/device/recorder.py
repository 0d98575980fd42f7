"""The flight recorder: the newest launches' tables, on the host before anything can fault.

The failure: a kernel faults, the CUDA context is gone, and with it the tables
that would say why. The rule: every watched launch first writes what it will
read into a ring in pinned host memory; reading the ring touches no device. The
ring keeps the newest launches, works under CUDA graphs, and its size is a
formula of its shape, not of the traffic.

Host memory of a lane with N slots, B rows, C columns, Q requests:

    windowed  N * (128 + B * 16 + B * columns * 4) bytes
    changes   N * (128 + B * 16 + changes * 16) + Q * C * 4 bytes

With N = 256, B = 256, C = 2048, Q = 257, 10 window columns and 2048 changes that
is 3.5 MiB and 11.1 MiB, where 256 raw tables of each space would be 1 GiB. On the
device: a changes lane has one more Q * C * 4 bytes, every lane 48 bytes.

Not covered: a row past `max_rows`, and columns of a launch that a later one
changed more of than a slot holds; both say so in their entry.

Long because the ring is laid out, written and read here: its format is known nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.device import recorder_kernels as kernels
from triage.device.checker import DeviceChecker
from triage.device.launches import RecordLaunch
from triage.device.recorder_kernels import Lane, record_eager
from triage.dump.history import first_offence

INTEGERS = (torch.int32, torch.int64)


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """The sizes of one lane.

    name: the index space, as `record` will be told ("full", "swa", "draft full").
    max_columns: widest table; only a changes lane is bounded by it.
    window_columns: columns kept per row; 0 makes a changes lane.
    requests: rows of `req_to_token`; without request indices at least `max_rows`.
    changes: changed cells a slot has room for.
    """

    name: str
    page_size: int
    max_rows: int
    max_columns: int
    window_columns: int = 0
    requests: int = 0
    changes: int = 2048


def window_columns(window_left: int, max_q_len: int, page_size: int) -> int:
    """Columns that can lie in a row's window: its tokens may begin anywhere in a page."""
    tokens = window_left + max(max_q_len, 1)
    return (tokens - 1) // page_size + 2


class FlightRecorder:
    """Rings of the newest `slots` launches of each index space.

    Args:
        device: where the tables live. On a CPU the twin runs unless `interpret`.
        lanes: one per index space; all memory is taken here, none later.
        checker: its launch number and offender count go with every entry; on `device`.
        fingerprint: False to measure what it costs.
    `newest` is the launch of the last `record`, None where there was none.
    """

    def __init__(
        self,
        device: torch.device | str,
        lanes: Sequence[LaneSpec],
        *,
        slots: int = 256,
        checker: DeviceChecker | None = None,
        interpret: bool = False,
        fingerprint: bool = True,
    ) -> None:
        self.device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        self.on_cuda = self.device.type == "cuda"
        self._eager = not self.on_cuda and not interpret
        self._checker_state: Tensor | None = None if checker is None else checker.state
        self._fingerprints = fingerprint
        self._sequence = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._none = torch.zeros(1, dtype=torch.int32, device=self.device)
        self._lanes = {spec.name: self._lane(spec, slots) for spec in lanes}
        self._facts: list[dict[str, Any]] = []
        self._tags: dict[tuple[tuple[str, Any], ...], int] = {}
        self.refused: Counter[str] = Counter()
        self.newest: RecordLaunch | None = None

    def _lane(self, spec: LaneSpec, slots: int) -> Lane:
        changes_lane = spec.window_columns == 0
        owners = max(spec.requests, spec.max_rows) if changes_lane else 0
        shapes = (
            (slots, spec.max_rows, 4),
            (slots, spec.changes, 4)
            if changes_lane
            else (slots, spec.max_rows, spec.window_columns),
            (owners, spec.max_columns),
        )
        # One block: torch rounds every pinned allocation up to a power of two.
        sizes = [a * b * c for a, b, c in ((*shape, 1)[:3] for shape in shapes)]
        block = torch.zeros(sum(sizes), dtype=torch.int32, pin_memory=self.on_cuda)
        rows, cells, mirror = (
            part.view(shape) for part, shape in zip(block.split(sizes), shapes, strict=True)
        )
        return Lane(
            name=spec.name,
            page_size=spec.page_size,
            slots=slots,
            max_rows=spec.max_rows,
            max_columns=spec.max_columns,
            columns=spec.window_columns,
            changes=spec.changes,
            owners=owners,
            cursor=torch.zeros(kernels.CURSOR, dtype=torch.int64, device=self.device),
            shadow=torch.zeros(owners, spec.max_columns, dtype=torch.int32, device=self.device),
            header=torch.zeros(slots, kernels.HEADER, dtype=torch.int64, pin_memory=self.on_cuda),
            rows=rows,
            cells=cells,
            mirror=mirror,
        )

    @property
    def host_bytes(self) -> int:
        """Host memory of all lanes, before the allocator rounds it up."""
        return sum(
            tensor.numel() * tensor.element_size()
            for lane in self._lanes.values()
            for tensor in (lane.header, lane.rows, lane.cells, lane.mirror)
        )

    @property
    def device_bytes(self) -> int:
        """Device memory of all lanes."""
        return sum(
            tensor.numel() * tensor.element_size()
            for lane in self._lanes.values()
            for tensor in (lane.cursor, lane.shadow)
        )

    def tag(self, **facts: Any) -> int:
        """A number that stands for what the host knows of a launch: layer, mode, graph.

        The same facts get the same number. A captured launch carries its number
        into every replay. Values must be plain (int, str, bool, None).
        """
        key = tuple(sorted(facts.items()))
        number = self._tags.setdefault(key, len(self._facts))
        if number == len(self._facts):
            self._facts.append(facts)
        return number

    def record(
        self,
        space: str,
        block_tables: Tensor,
        cache_seqlens: Tensor,
        *,
        window_left: int,
        q_len: int | Tensor = 1,
        cum_seq_lens_q: Tensor | None = None,
        req_pool_indices: Tensor | None = None,
        tag: int = 0,
        checked: bool = False,
    ) -> bool:
        """Write one launch into the ring of `space`; False if its form is not known.

        Args: as in `DeviceChecker.check_table`. A refusal is counted in `refused`
            and never raised: the recorder must not take a server down.
            checked: `DeviceChecker.check_table` has accepted these very tensors;
            their forms are not judged again.
        Cost: one kernel launch; no sync, no allocation, legal under capture. Launches
            of one recorder follow each other on one stream.
        """
        self.newest = None
        lane = self._lanes.get(space)
        if lane is None:
            self.refused[f"no lane for {space!r}"] += 1
            return False
        queries, query_mode = self._none, 0
        if cum_seq_lens_q is not None:
            queries, query_mode = cum_seq_lens_q, 2
        elif isinstance(q_len, Tensor):
            queries, query_mode = q_len, 1
        if not checked:
            vectors = {
                "cache_seqlens": (cache_seqlens, 0),
                "req_pool_indices": (req_pool_indices, 0),
                "q_len": (queries if query_mode == 1 else None, 0),
                "cum_seq_lens_q": (cum_seq_lens_q, 1),
            }
            reason = self._unknown_form(block_tables, vectors)
            if reason is not None:
                self.refused[reason] += 1
                return False
        rows, width = block_tables.shape
        if rows == 0 or width == 0:
            return True
        state = self._checker_state
        if self._eager:
            if query_mode == 2:
                queries = queries.diff()
            elif query_mode == 0:
                queries = torch.full((rows,), q_len)  # type: ignore[arg-type]
            record_eager(
                lane,
                self._sequence,
                state,
                block_tables,
                cache_seqlens,
                window_left=window_left,
                queries=queries,
                req_pool_indices=req_pool_indices,
                tag=tag,
            )
            return True
        none = self._none
        self.newest = RecordLaunch(
            rows=min(rows, lane.max_rows),
            counters=(
                lane.cursor,
                self._sequence,
                none if state is None else state,
            ),
            none=none,
            rest=(
                lane.shadow if lane.owners else none,
                lane.header,
                lane.rows,
                lane.cells,
                lane.mirror if lane.owners else none,
                block_tables.stride(0),
                width,
                rows,
                window_left,
                q_len if isinstance(q_len, int) else 1,
                tag,
            ),
            constants={
                "PAGE": lane.page_size,
                "QUERIES": query_mode,
                "BY_REQUEST": req_pool_indices is not None,
                "CHECKER": state is not None,
                "SLOTS": lane.slots,
                "MAX_ROWS": lane.max_rows,
                "MAX_COLUMNS": lane.max_columns,
                "COLUMNS": lane.columns,
                "CHANGES": lane.changes,
                "OWNERS": lane.owners,
                "FINGERPRINT": self._fingerprints,
                "BLOCK": 512 if self.on_cuda else 16,
            },
        )
        self.newest(block_tables, cache_seqlens, queries, req_pool_indices)
        return True

    def _unknown_form(
        self, table: Tensor, vectors: dict[str, tuple[Tensor | None, int]]
    ) -> str | None:
        if table.dim() != 2:
            return f"block_tables has shape {tuple(table.shape)}"
        if table.dtype not in INTEGERS or table.device != self.device:
            return f"block_tables is {table.dtype} on {table.device}"
        rows, width = table.shape
        if width > 1 and table.stride(1) != 1:
            return f"block_tables has column stride {table.stride(1)}"
        for name, (vector, more) in vectors.items():
            if vector is None:
                continue
            if vector.shape != (rows + more,):
                return f"{name} has shape {tuple(vector.shape)}, not ({rows + more},)"
            if vector.dtype not in INTEGERS or vector.device != self.device:
                return f"{name} is {vector.dtype} on {vector.device}"
            if rows + more > 1 and vector.stride() != (1,):
                return f"{name} has stride {vector.stride(0)}"
        return None

    def entries(
        self, *, columns_of: int | None = None, and_of: int | None = None
    ) -> tuple[dict[str, Any], ...]:
        """The recorded launches, oldest first, from host memory alone.

        Args:
            columns_of: keep the columns of that many newest launches of each space and of
                the first that the checker objected to; of the others say in `lost` that
                they were left out. A ring of full tables unfolds to gigabytes.
            and_of: keep those of this launch of the checker, too.

        Each entry is plain: `space`, `launch` (of its lane), `sequence` (over all
        lanes), `tag` and its facts, `rows`, `width`, `torn` (the launch was being
        written when it stopped), `checker_launch` and `offenders` (what the device
        checker had seen by then; None without one), numpy int32 arrays `cache_seqlens`,
        `req_pool_indices`, `q_len`, `first_column`, and the kept table columns as
        `table_values` and `table_offsets` (row i is values[offsets[i]:offsets[i+1]],
        from `first_column[i]`). `table_values` is None, and `lost` says why, where the
        columns cannot be told any more. `fingerprint` (`fingerprints.py`) has a number for each
        table that the launch was given, None for others; None as a whole if torn.
        Cost: no device is touched; after a sticky CUDA error it works as before.
        """
        found: list[dict[str, Any]] = []
        for lane in self._lanes.values():
            found.extend(self._lane_entries(lane, columns_of, and_of))
        found.sort(key=lambda entry: entry["sequence"])
        _written_between(found)
        return tuple(found)

    def _lane_entries(
        self, lane: Lane, columns_of: int | None, and_of: int | None
    ) -> list[dict[str, Any]]:
        header = lane.header.numpy()
        newest_first = sorted(
            (slot for slot in range(lane.slots) if header[slot, kernels.BEGUN] > 0),
            key=lambda slot: -int(header[slot, kernels.BEGUN]),
        )
        found = [self._entry(lane, slot) for slot in newest_first]
        wanted = {id(entry) for entry in found[:columns_of]}
        if columns_of is not None and (first := first_offence(found[::-1])) is not None:
            wanted.add(id(first))
        if and_of is not None:
            wanted |= {id(entry) for entry in found if entry["checker_launch"] == and_of}
        mirror = lane.mirror.numpy().copy()
        lost = ""
        for slot, entry in zip(newest_first, found, strict=True):
            keep = id(entry) in wanted
            if lane.columns:
                if keep:
                    self._add_window(lane, slot, entry)
            elif entry["torn"]:
                lost = f"launch {entry['launch']} was torn, its changes are not known"
            if lost:
                entry["lost"] = lost
            elif not lane.columns:
                lost = self._add_whole_rows(lane, slot, entry, mirror, keep)
            if not keep and not entry["lost"]:
                entry["lost"] = "left out of the list"
        return found

    def _entry(self, lane: Lane, slot: int) -> dict[str, Any]:
        head = [int(number) for number in lane.header[slot].numpy()]
        torn = head[kernels.BEGUN] != head[kernels.COMPLETE]
        launch = head[kernels.BEGUN] - 1
        kept = lane.max_rows if torn else min(head[kernels.ROWS], lane.max_rows)
        rows = lane.rows.numpy()[slot, :kept]
        checked = None if self._checker_state is None or torn else head[kernels.CHECKED] - 1
        requests = rows[:, kernels.REQUEST]
        entry: dict[str, Any] = {
            "space": lane.name,
            "launch": launch,
            "sequence": int(self._newest_sequence() + 1 if torn else head[kernels.SEQUENCE]),
            "tag": head[kernels.TAG],
            "rows": kept if torn else head[kernels.ROWS],
            "width": head[kernels.WIDTH],
            "page_size": lane.page_size,
            "torn": torn,
            "checker_launch": checked,
            "offenders": None if checked is None else head[kernels.OFFENDERS],
            "cache_seqlens": rows[:, kernels.LENGTH].copy(),
            "req_pool_indices": None if (requests == kernels.NOBODY).all() else requests.copy(),
            "q_len": rows[:, kernels.QUERIES].copy(),
            "first_column": rows[:, kernels.START].copy(),
            "table_values": None,
            "table_offsets": None,
            "lost": "",
            "fingerprint": None
            if torn or not self._fingerprints
            else self._fingerprint(head, requests),
        }
        if not torn and 0 <= head[kernels.TAG] < len(self._facts):
            entry.update(self._facts[head[kernels.TAG]])
        return entry

    def _fingerprint(self, head: list[int], requests: np.ndarray) -> dict[str, int | None]:
        """Of the launch's tables; None for what it was not given. Locations: all until then."""
        by_request = bool((requests != kernels.NOBODY).any())
        return {
            "page_table": head[kernels.OF_TABLE],
            "req_pool_indices": head[kernels.OF_REQUESTS] if by_request else None,
            "cache_seqlens": head[kernels.OF_LENGTHS],
            "out_cache_loc": None if self._checker_state is None else head[kernels.OF_LOCATIONS],
        }

    def _newest_sequence(self) -> int:
        return max(
            int(lane.header.numpy()[:, kernels.SEQUENCE].max()) for lane in self._lanes.values()
        )

    def _live_columns(self, entry: dict[str, Any]) -> np.ndarray:
        page = entry["page_size"]
        reach = np.clip(entry["cache_seqlens"].astype(np.int64), 0, entry["width"] * page)
        return (reach + page - 1) // page

    def _add_window(self, lane: Lane, slot: int, entry: dict[str, Any]) -> None:
        kept = np.clip(self._live_columns(entry) - entry["first_column"], 0, lane.columns)
        table = lane.cells.numpy()[slot, : len(kept)]
        entry["table_values"] = table[np.arange(lane.columns)[None, :] < kept[:, None]]
        entry["table_offsets"] = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)

    def _add_whole_rows(
        self, lane: Lane, slot: int, entry: dict[str, Any], mirror: np.ndarray, keep: bool
    ) -> str:
        """Take the entry's rows from the mirror, then undo its changes; says what that loses."""
        changed = int(lane.header.numpy()[slot, kernels.CHANGED])
        changes = lane.cells.numpy()[slot, : min(changed, lane.changes)]
        # An entry's own new values stand even where the undone mirror disagrees.
        owners, columns = changes[:, kernels.OWNER], changes[:, kernels.COLUMN]
        mirror[owners, columns] = changes[:, kernels.NEW]
        if keep:
            self._add_rows(lane, entry, mirror)
        mirror[owners, columns] = changes[:, kernels.OLD]
        if changed > lane.changes:
            return f"launch {entry['launch']} changed {changed} cells, {lane.changes} were kept"
        return ""

    def _add_rows(self, lane: Lane, entry: dict[str, Any], mirror: np.ndarray) -> None:
        requests = entry["req_pool_indices"]
        owner = np.arange(len(entry["cache_seqlens"])) if requests is None else requests
        known = (owner >= (requests is not None)) & (owner < lane.owners)
        kept = np.where(known, np.minimum(self._live_columns(entry), lane.max_columns), 0)
        rows = [mirror[o, :n] for o, n in zip(owner, kept, strict=True) if n]
        entry["table_values"] = np.concatenate([*rows, np.empty(0, np.int32)])
        entry["table_offsets"] = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)


def _written_between(entries: list[dict[str, Any]]) -> None:
    """Of `out_cache_loc` an entry keeps what was written since the launch recorded before it.

    None where that launch is not in the ring, and where nothing was written in between.
    """
    before: tuple[int, int] | None = None
    for entry in entries:
        fingerprint = entry["fingerprint"]
        until = None if fingerprint is None else fingerprint["out_cache_loc"]
        if until is None:
            before = None
            continue
        known = before is not None and entry["sequence"] == before[0] + 1
        written = until - before[1] if known and before is not None else 0
        fingerprint["out_cache_loc"] = written or None
        before = entry["sequence"], until
