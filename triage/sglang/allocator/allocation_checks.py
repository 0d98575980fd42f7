"""I8 and I14: what the SWA allocator has just handed out, and whom it was handed to.

The failure: a full slot comes back whose mapping is that of its last owner, or a
request is given more tokens than its row of the request table has columns. Both are
wrong the moment the allocator returns, so that is where this stands.

I8 compares with what the SWA side returned inside the same call; not for the ring and
the pure SWA allocator, which have no mapping of their own. I14 costs host integers, and
looks at lengths that SGLang has on the host already.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch

from triage.invariants.books import check_recorded, check_row_span
from triage.invariants.lifecycle import check_request_rows
from triage.invariants.mapping import check_mapped
from triage.sglang.allocator.ledger_hooks import LedgerHooks, has_mapping
from triage.sglang.holders import recorded_by, row_of
from triage.sglang.reporter import Reporter

LOOKED_AT = 8
"""Requests of a reserve that a call looks at: what it leaves out it does for all or for none."""


class AllocationChecks:
    """Stands around the SWA allocator's alloc calls and the request table's."""

    def __init__(self, reporter: Reporter, books: LedgerHooks) -> None:
        self.reporter = reporter
        self.books = books
        self._next = 0  # which request of a reserve is looked at first
        self._tables: WeakSet[Any] = WeakSet()
        self._width: int | None = None  # columns of the request table, if all agree
        self._places: dict[str, int] = {}  # where an alloc call has the lengths on the host

    def restart(self) -> None:
        """As in a new process."""
        self._next = 0
        self._tables.clear()
        self._width = None

    def around_alloc(self, original: Any, allocator: Any, *args: Any, **kwargs: Any) -> Any:
        if "I14" in self.reporter.enabled:
            self._fits_its_row(original, args, kwargs)
        judged = "I8" in self.reporter.enabled and self.reporter.may_wait
        if not judged or not has_mapping(allocator):
            return original(allocator, *args, **kwargs)
        sub = allocator.swa_attn_allocator
        self.books.given.pop(sub, None)
        slots = original(allocator, *args, **kwargs)
        given = self.books.given.pop(sub, None)
        if slots is not None and len(slots):
            wanted = torch.zeros_like(slots, dtype=torch.int64)
            if given is not None:  # a tail: SWA slots for the last tokens only
                wanted[len(slots) - len(given) :] = given
            self.reporter.fire_findings(
                check_mapped(slots, allocator.full_to_swa_index_mapping, wanted),
                "I8",
                "a slot was handed out whose mapping this call did not write",
                "swa",
                original.__name__,
            )
        return slots

    def _fits_its_row(self, original: Any, args: Any, kwargs: Any) -> None:
        """Before the call: no request may hold more tokens than its row has columns."""
        width = self._width
        if width is None:
            return
        lengths = kwargs.get("seq_lens_cpu")
        if lengths is None:
            lengths = self._lengths(original, args)
        if lengths is None or not len(lengths):
            return
        if isinstance(lengths, torch.Tensor) and lengths.device.type != "cpu":
            return
        most = int(max(lengths) if isinstance(lengths, list) else lengths.max())
        if most <= width:
            return
        longest = torch.as_tensor(lengths)
        self.reporter.fire_findings(
            check_request_rows(torch.ones_like(longest), longest, num_rows=2, row_width=width),
            "I14",
            "a request is to hold more tokens than its row of the request table has columns",
            "full",
            original.__name__,
        )

    def _lengths(self, original: Any, args: Sequence[Any]) -> Any:
        """`seq_lens_cpu` where it is passed by position; `args` without the allocator."""
        name = original.__name__
        if name not in self._places:
            names = [each for each in inspect.signature(original).parameters if each != "self"]
            self._places[name] = names.index("seq_lens_cpu") if "seq_lens_cpu" in names else -1
        place = self._places[name]
        return args[place] if 0 <= place < len(args) else None

    def _note(self, table: Any) -> None:
        if table not in self._tables:
            self._tables.add(table)
            widths = {int(each.req_to_token.shape[1]) for each in self._tables}
            self._width = widths.pop() if len(widths) == 1 else None

    def around_row_alloc(self, original: Any, table: Any, *args: Any, **kwargs: Any) -> Any:
        """Every table that is indexed by request has a row for the ones handed out."""
        rows = original(table, *args, **kwargs)
        self._note(table)
        if rows and "I14" in self.reporter.enabled:
            lowest, highest = int(min(rows)), int(max(rows))
            for name, each in tables_by_request(table).items():
                if lowest > 0 and highest < len(each):
                    continue
                given = torch.tensor([int(row) for row in rows])
                self.reporter.fire_findings(
                    check_request_rows(
                        given,
                        torch.zeros_like(given),
                        num_rows=len(each),
                        row_width=1,
                    ),
                    "I14",
                    f"{name} has no row for a request that was handed out",
                    "full",
                    "ReqToTokenPool.alloc",
                )
        return rows

    def around_reserve(
        self, original: Any, tree_cache: Any, table: Any, *args: Any, **given: Any
    ) -> Any:
        """I14 before a decode step's reserve is written into its rows: the kernel that writes it
        goes on in the next row. Host integers only, as SGLang keeps them."""
        lengths, requests = given.get("nxt_kv_lens_cpu"), given.get("reqs") or ()
        if isinstance(lengths, torch.Tensor) and lengths.device.type == "cpu" and len(lengths):
            longest = int(lengths.argmax())
            row = row_of(requests[longest]) if longest < len(requests) else None
            found = check_row_span(
                row or 0,
                0,
                int(lengths[longest]),
                row_width=int(table.req_to_token.shape[1]),
                where="alloc_for_spec_decode",
            )
            if found is not None:
                self.reporter.fire_event(found)
        result = original(tree_cache, table, *args, **given)
        if isinstance(lengths, torch.Tensor) and lengths.device.type == "cpu":
            self._recorded(requests, lengths)
        return result

    def _recorded(self, requests: Any, lengths: torch.Tensor) -> None:
        """I7: what a decode step has reserved stands in its requests' own numbers. SGLang allocates
        from those on, so it would do it again and lose these. `LOOKED_AT` requests a call."""
        count = min(len(requests), len(lengths))
        begin, self._next = self._next, self._next + LOOKED_AT
        for at in range(begin, begin + min(count, LOOKED_AT)):
            request, wants = requests[at % count], int(lengths[at % count])
            has = recorded_by(request, "kv_allocated_len")
            if has is None:  # a release that keeps it elsewhere
                continue
            found = check_recorded(row_of(request) or 0, has, wants, where="alloc_for_spec_decode")
            if found is not None:
                self.reporter.fire_event(found)


_BY_REQUEST = (
    "req_to_token",
    "req_generation",  # 0.5.23
    "req_index_to_mamba_index_mapping",  # hybrid models with a mamba state
    "req_index_to_mamba_ping_pong_track_buffer_mapping",
)


def tables_by_request(table: Any) -> dict[str, Any]:
    """The tensors of a request pool that have a row per request, those that it has."""
    found = {name: getattr(table, name, None) for name in _BY_REQUEST}
    return {name: each for name, each in found.items() if isinstance(each, torch.Tensor)}
