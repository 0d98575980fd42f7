"""The Watch of one device, sized from SGLang's backend before any graph is captured.

All memory is taken here, so that a launch under capture allocates nothing. With R
rows of `req_to_token`, C columns of the page table and K = 256 offenders kept:

    device  (16 + 12 K) * 8 bytes, and 4 R C of the recorder's shadow;
            in `contain` 4 (R C + R) for each of the two index spaces
    host    8 snapshots of the first term, and the recorder's lanes (triage/device/recorder.py):
            the ring is halved from 256 launches until they fit into 64 MiB
"""

from __future__ import annotations

from torch import Tensor

from triage.device.checker import INTEGERS, CheckRefused
from triage.device.recorder import LaneSpec, window_columns
from triage.device.watch import Mode, Watch

RING = 256
SNAPSHOTS = 8
HOST_BYTES = 64 << 20
MIRROR_BYTES = 16 << 20
MAX_RECORDED_ROWS = 1024
UNKNOWN_WINDOW_COLUMNS = 16


SMALLEST_PAGE = 16
"""Below it no table is recorded or copied: SGLang packs slots, and a table is as wide as a row."""


def watch_for(
    slots: Tensor, page: int, queries: int, window: int | None, mode: Mode, heartbeat: int
) -> Watch:
    """Sized for the rows and the context of `req_to_token`, in pages.

    Args:
        slots: `req_to_token`. page: tokens per page. queries: tokens a row of a verification.
        window: tokens a sliding layer sees beside the current one, None for a model without.
    Raises:
        CheckRefused: page size or `req_to_token` have a form that is not known.
    """
    if page < 1 or page & (page - 1):
        raise CheckRefused(f"page size {page} is not a power of two")
    if slots.dim() != 2 or slots.dtype not in INTEGERS or slots.numel() == 0:
        raise CheckRefused(f"req_to_token is {slots.dtype} of shape {tuple(slots.shape)}")
    rows, context = slots.shape
    columns = -(-context // page) if page >= SMALLEST_PAGE else 1
    lanes = lanes_of(rows, columns, page, window, queries)
    return Watch(
        slots.device,
        lanes,
        mode=mode,
        slots=ring_length(lanes),
        heartbeat=heartbeat,
        snapshots=SNAPSHOTS,
        largest=(rows, columns),
    )


def lanes_of(
    rows: int, columns: int, page: int, window: int | None, queries: int
) -> tuple[LaneSpec, ...]:
    """A full table's rows change little from step to step, a sliding one's window is short.

    Without a window there is a sliding lane all the same: a later backend may have one.
    """
    kept_rows = min(rows, MAX_RECORDED_ROWS)
    kept_columns = min(columns, max(MIRROR_BYTES // (4 * rows), 1))
    full = LaneSpec("full", page, kept_rows, kept_columns, requests=rows)
    sliding = UNKNOWN_WINDOW_COLUMNS
    if window is not None and window >= 0:
        sliding = window_columns(window, queries, page)
    return full, LaneSpec("swa", page, kept_rows, columns, window_columns=sliding)


def ring_length(lanes: tuple[LaneSpec, ...], limit: int = HOST_BYTES) -> int:
    """Launches each lane keeps: RING, halved until the lanes fit into `limit` bytes."""
    ring = RING
    while ring > 8 and sum(lane_bytes(spec, ring) for spec in lanes) > limit:
        ring //= 2
    return ring


def lane_bytes(spec: LaneSpec, ring: int) -> int:
    """Host bytes of one lane with a ring of that length, by the formula of `device/recorder.py`."""
    rows = 128 + spec.max_rows * 16
    if spec.window_columns:
        return ring * (rows + spec.max_rows * spec.window_columns * 4)
    owners = max(spec.requests, spec.max_rows)
    return ring * (rows + spec.changes * 16) + owners * spec.max_columns * 4
