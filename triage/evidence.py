"""Frozen records of what was seen. Imports nothing of ours, needs neither torch nor SGLang.

A trap produces `Evidence`; a dump stores it as its `fault` section; explain
reads it back. All numbers are plain Python, so a record can be printed,
pickled and compared anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """What a kernel is told about a tensor, without its values.

    Strides and offset are in elements, sizes in bytes. `data_ptr` is the
    address of element 0 of the view, not of the storage.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    storage_offset: int
    storage_bytes: int
    device: str
    data_ptr: int


@dataclass(frozen=True, slots=True)
class Violation:
    """One entry that breaks an invariant.

    `row` and `column` index `tensor`; `low` and `high` are the half-open range
    of legal values, `expected` the one value that would be right where the
    check knows it (I2). `request_id` is the request that held the row, as it may be told
    (`triage/dump/request_ids.py`), empty where nobody knew. `in_window` says whether a query
    of this launch can see the entry; None where the check does not know. `kind` is what was
    found, a `Found` (`triage/invariants/found.py`) as text; empty where it was not recorded.
    """

    invariant: str
    tensor: str
    row: int
    column: int
    value: int
    low: int
    high: int
    expected: int | None = None
    req_pool_index: int | None = None
    in_window: bool | None = None
    kind: str = ""
    request_id: str = ""

    @property
    def request(self) -> str:
        """The row of `req_to_token` and the request that held it; empty where not known."""
        if self.req_pool_index is None:
            return ""
        return f"{self.req_pool_index}" + (f" (id {self.request_id})" if self.request_id else "")

    def sentence(self) -> str:
        where = f"{self.tensor}[{self.row}, {self.column}] = {self.value}"
        if self.low <= self.value < self.high:
            return where if self.expected is None else f"{where}, expected {self.expected}"
        outside = f"{where} is outside [{self.low}, {self.high})"
        return outside if self.expected is None else f"{outside}, expected {self.expected}"


@dataclass(frozen=True, slots=True)
class PageEvent:
    """One event at an allocator that moved a page.

    `kind` says what ("allocated", "mapped", "freed", "inserted into the tree"), `frames`
    who called, innermost first ("mem_cache/common.py:321 alloc_for_decode"), `request` for
    which request; empty where it is not recorded.
    """

    kind: str
    step: int
    frames: tuple[str, ...] = ()
    request: str = ""

    def sentence(self) -> str:
        whom = f" for request {self.request}" if self.request else ""
        caller = self.frames[0] if self.frames else "a caller that is not recorded"
        return f"{self.kind} in step {self.step}{whom} by {caller}"


@dataclass(frozen=True, slots=True)
class PageHistory:
    """What is known of one page that evidence names: its events, newest first."""

    pool: str
    page: int
    events: tuple[PageEvent, ...] = ()

    @property
    def name(self) -> str:
        return f"page {self.page} of the {self.pool} pool"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a trap fired: which invariant, at which launch, and the first offenders.

    `total` counts every violating entry of the launch, `violations` holds the
    first of each invariant. `where` names the call ("decode launch 17",
    "alloc_decode"), `pool` the pool whose buffer was about to be read. `kind` is what
    was found, where no violation says it; `facts` has the values that go with it.
    `pages` says whose hand was on the pages that are named; empty where it is not recorded.
    """

    invariant: str
    summary: str
    where: str
    pool: str = ""
    layer_id: int | None = None
    forward_mode: str = ""
    total: int = 0
    rows_affected: int = 0
    violations: tuple[Violation, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)
    kind: str = ""
    pages: tuple[PageHistory, ...] = ()

    @property
    def found(self) -> str:
        """What was found, a `Found` as text: its own kind, else that of the first offender.

        Empty where it was not recorded, as in dumps of older writers.
        """
        if self.kind or not self.violations:
            return self.kind
        first = self.violations[0]
        return first.kind if first.invariant == self.invariant else ""

    def headline(self) -> str:
        """One paragraph: what was seen, what was allowed, how many more, where."""
        place = [self.where]
        if self.layer_id is not None:
            place.append(f"layer {self.layer_id}")
        if self.pool:
            place.append(f"{self.pool} pool")
        if self.forward_mode:
            place.append(self.forward_mode)
        lines = [f"{self.invariant}: {self.summary} ({', '.join(place)})"]
        if self.violations:
            first = self.violations[0]
            request = f" of request {first.request}" if first.request else ""
            lines.append(f"  {first.sentence()}{request}")
        more = self.total - 1
        if self.violations and more > 0:
            lines.append(f"  and {more} more in {self.rows_affected} rows")
        return "\n".join(lines)

    def whose_hand(self) -> str:
        """The newest events of the first two pages that are named; "" if none is recorded."""
        lines: list[str] = []
        for known in [page for page in self.pages if page.events][:2]:
            lines += [f"  {known.name}:", *(f"    {each.sentence()}" for each in known.events[:3])]
        return "\n".join(lines)
