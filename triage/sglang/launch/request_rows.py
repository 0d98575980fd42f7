"""`req_to_token` and the mapping beside a table that the flight recorder has kept.

The failure: a finding of `contain` and `log` is known a step later, and a dump that holds the
table alone cannot say whose ids stand in it. The rule: what the two hold is read when the
report is written, after the step, and an entry is kept only where it says what the check found
right while the step ran. What was moved since is left out, never shown as what the launch had.

Waits for the device: only for a dump of a launch that was wrong, never under a capture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.device import capture
from triage.dump.expected_ids import UNKNOWN
from triage.dump.from_ring import NO_ROWS, Recorded
from triage.dump.sections import Ragged, Tables

SOURCE = (
    "req_to_token and mapping as they were when the report was written, where they name the "
    "pages that the check found right"
)


class RequestRows:
    """Of the launches of one API, by the role of their backend. One thread."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._of: dict[str, tuple[Tensor, Any]] = {}

    def note(self, role: str, req_to_token: Tensor, pool: Any) -> None:
        """A launch of a backend of that role is checked: these are what it is judged by."""
        self._of[role] = req_to_token, pool

    def beside(self, recorded: Recorded, entry: dict[str, Any]) -> Recorded:
        """`recorded`, which is `entry` of the ring, with the request rows of its backend."""
        rows, pool = self._of.get(str(entry.get("role")), (None, None))
        if entry.get("api") != self._api or not entry.get("identity"):
            return recorded
        mapping = None
        if entry["space"] == "swa":
            mapping = getattr(pool, "full_to_swa_index_mapping", None)
        tables = with_request_rows(recorded.tables, int(entry["page_size"]), rows, mapping)
        return replace(recorded, tables=tables)


def with_request_rows(
    tables: Tables, page: int, req_to_token: Tensor | None, full_to_swa: Tensor | None
) -> Tables:
    """`tables` with the request rows of what is known of `tables.expected`; unchanged without.

    full_to_swa: of the pool, for a launch that reads SWA slots; None for full ones.
    """
    right, requests = tables.expected, tables.req_pool_indices
    if right is None or requests is None or req_to_token is None or capture.capturing():
        return tables
    rows = torch.as_tensor(np.clip(requests, 0, len(req_to_token) - 1), device=req_to_token.device)
    starts = req_to_token[:, ::page][rows].detach().cpu().to(torch.int64).numpy()
    own = Ragged.of(starts, np.diff(right.offsets))
    if len(own.values) != len(right.values):  # a table wider than the rows of `req_to_token`
        return tables
    slots = own.values.astype(np.int64)
    named = slots
    if full_to_swa is not None:
        named = _mapped(slots, full_to_swa)
    agrees = (right.values != UNKNOWN) & (named >= 0) & (named // page == right.values)
    if not agrees.any():
        return tables
    mapping = None
    if full_to_swa is not None:
        mapping = np.unique(np.stack([slots[agrees], named[agrees]], axis=1), axis=0)
    nothing = None if mapping is None else np.zeros((0, 2), dtype=np.int64)
    return replace(
        tables,
        req_to_token=Ragged(np.where(agrees, slots, UNKNOWN), own.offsets),
        req_to_token_exceptions=np.zeros((0, 3), dtype=np.int64),
        mapping=mapping,
        mapping_exceptions=nothing,
        source=f"{tables.source.replace(NO_ROWS, '')}; {SOURCE}",
    )


def _mapped(slots: np.ndarray, full_to_swa: Tensor) -> np.ndarray:
    known = (slots >= 0) & (slots < len(full_to_swa))
    at = torch.as_tensor(np.where(known, slots, 0), device=full_to_swa.device)
    found: np.ndarray = full_to_swa[at].detach().cpu().to(torch.int64).numpy()
    return np.where(known, found, UNKNOWN)
