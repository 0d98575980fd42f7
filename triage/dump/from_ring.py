"""The launch of a dump, made from what the flight recorder holds of it: no device is asked.

The failure: in `contain` and under CUDA graphs a violation is known a step later, when
the launch's tensors hold something else, and after a sticky error nothing can be read at
all. The ring has the table as it was launched with. From it, and from what the device
checker said of it, comes a dump that shows, explains and replays like any other.

What the ring has not is left out and said in `Tables.source`: `req_to_token`, the mapping,
addresses, and columns that no query sees. The ids I2 demands are known all the same where
the checker reported every offender: an entry it did not name was right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from triage.dump.expected_ids import UNKNOWN
from triage.dump.flashinfer_api import CONTEXT, DECODE
from triage.dump.sections import Backend, Launch, Pool, Pools, Ragged, Tables
from triage.evidence import TensorFacts, Violation

NO_ROWS = "no req_to_token, no mapping, "
SOURCE = f"the flight recorder: {NO_ROWS}no addresses, no columns below the window"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The sections of a dump that the ring can fill."""

    launch: Launch
    tables: Tables
    pools: Pools
    backend: Backend | None


def launch_of(
    entry: dict[str, Any],
    offenders: Sequence[Violation] = (),
    *,
    complete: bool = False,
    excused: int = 0,
) -> Recorded | None:
    """The launch that `entry` of the ring is, or None where its table is lost.

    Args:
        entry: as `FlightRecorder.entries` gives it.
        offenders: what the checker said of this launch.
        complete: these are all that it found.
        excused: entries that differ as well, of rows that the scheduler moved while the step was
            queued: the recorded page holds the same keys, or its row's output is dropped.
    """
    if entry.get("table_values") is None or "num_q_heads" not in entry:
        return None
    first = entry["first_column"].astype(np.int64)
    table = _from_column_0(entry, first)
    by_request = entry["req_pool_indices"] is not None
    tables = Tables(
        page_table=table,
        cache_seqlens=entry["cache_seqlens"].astype(np.int64),
        req_pool_indices=entry["req_pool_indices"].astype(np.int64) if by_request else None,
        expected=_expected(entry, table, first, offenders, complete),
        stored_from=first,
        source="; ".join([SOURCE, *_lacks(entry, table, excused)]),
    )
    return Recorded(_launch(entry), tables, _pools(entry), _backend(entry))


def _lacks(entry: dict[str, Any], table: Ragged, excused: int) -> list[str]:
    """What this entry has not, beside what no entry has."""
    found = [f"{excused} of rows moved meanwhile count as right"] if excused else []
    page = int(entry["page_size"])
    live = -(-np.clip(entry["cache_seqlens"].astype(np.int64), 0, entry["width"] * page) // page)
    cut = np.diff(table.offsets) < live
    if entry["req_pool_indices"] is not None:
        cut &= entry["req_pool_indices"] > 0  # a padded row is kept nowhere
    if cut.any():
        found.append(
            f"not recorded: columns from {int(np.diff(table.offsets)[cut].max())} on, of "
            f"{int(cut.sum())} rows, for which the ring has no room"
        )
    return found


def _from_column_0(entry: dict[str, Any], first: np.ndarray) -> Ragged:
    """Rows as a dump keeps them; the dummy page stands where nothing was recorded."""
    kept = np.diff(entry["table_offsets"])
    table = Ragged.of(np.zeros((len(kept), int((first + kept).max(initial=0)))), first + kept)
    values = table.values.astype(np.int32)
    for row, (start, stop) in enumerate(zip(table.offsets, table.offsets[1:], strict=False)):
        low, high = entry["table_offsets"][row : row + 2]
        values[start + first[row] : stop] = entry["table_values"][low:high]
    return Ragged(values, table.offsets)


def _expected(
    entry: dict[str, Any],
    table: Ragged,
    first: np.ndarray,
    offenders: Sequence[Violation],
    complete: bool,
) -> Ragged | None:
    """What I2 demands, as the checker reported it; UNKNOWN where it did not judge."""
    with_expected = [v for v in offenders if v.tensor == "block_tables" and v.expected is not None]
    if not entry.get("identity") or not with_expected:
        return None
    ids = np.full(len(table.values), UNKNOWN, dtype=np.int64)
    if complete:
        window, page = int(entry["window_left"]), int(entry["page_size"])
        lengths = entry["cache_seqlens"].astype(np.int64)
        queries = np.maximum(entry["q_len"].astype(np.int64), 1)
        visible = np.maximum(lengths - queries - window, 0) // page if window >= 0 else first * 0
        requests = entry["req_pool_indices"]
        for row in range(len(table)):
            if requests is None or requests[row] > 0:
                start = table.offsets[row] + max(visible[row], first[row])
                ids[start : table.offsets[row + 1]] = table.values[start : table.offsets[row + 1]]
    for violation in with_expected:
        place = table.offsets[violation.row] + violation.column
        if place < table.offsets[violation.row + 1]:
            ids[place] = int(violation.expected or 0)
    return Ragged(ids, table.offsets)


def _launch(entry: dict[str, Any]) -> Launch:
    queries = entry["q_len"].astype(np.int64)
    ragged = entry["kind"] == "context" or bool(entry["ragged"])
    rows, width = len(queries), int(entry["width"])
    return Launch(
        api=str(entry.get("api") or (CONTEXT if entry["kind"] == "context" else DECODE)),
        launch_id=int(entry["checker_launch"] or 0),
        layer_id=entry.get("layer_id"),
        page_size=int(entry["page_size"]),
        num_q_heads=int(entry["num_q_heads"]),
        num_kv_heads=int(entry["num_kv_heads"]),
        head_dim=int(entry["head_dim"]),
        num_pages=int(entry["num_pages"]),
        window_left=int(entry["window_left"]),
        max_seq_len=width * int(entry["page_size"]),
        q_len_per_req=0 if ragged else int(queries.max(initial=1)),
        kv_layout=str(entry["kv_layout"]),
        separate_kv=bool(entry["separate_kv"]),
        tensors={
            "block_tables": TensorFacts(
                dtype=str(entry["table_dtype"]),
                shape=(rows, width),
                stride=(int(entry["table_stride"]), 1),
                storage_offset=0,
                storage_bytes=0,
                device="",
                data_ptr=0,
            )
        },
        cum_seq_lens_q=np.concatenate([[0], np.cumsum(queries)]) if ragged else None,
    )


def _pools(entry: dict[str, Any]) -> Pools:
    page = int(entry["page_size"])
    owner = "draft " if str(entry["reads"]).startswith("draft ") else ""
    pools = tuple(
        Pool(owner + name, str(entry["pool_class"]), (pages - 1) * page, page, pages)
        for name in ("full", "swa")
        for pages in (int(entry.get(f"{name}_pages") or 0),)
        if pages
    )
    return Pools(pools, str(entry["reads"]), str(entry["table_space"]))


def _backend(entry: dict[str, Any]) -> Backend | None:
    if "role" not in entry:
        return None
    requests = entry["req_pool_indices"]
    rows = len(entry["cache_seqlens"])
    real = rows if requests is None else int(np.flatnonzero(requests).max(initial=-1)) + 1
    state = (part.partition(" = ") for part in str(entry["swa_state"]).split(", ") if part)
    return Backend(
        role=str(entry["role"]),
        forward_mode=str(entry["forward_mode"]),
        in_graph=bool(entry["graph"]),
        batch_size=real,
        padded_batch_size=rows,
        swa_state={name: value for name, _, value in state},
        pool_class=str(entry["pool_class"]),
        init_pool_class=str(entry["init_pool_class"]),
    )
