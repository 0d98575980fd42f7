"""I1, I2, I12, I26: the page table and the lengths that an attention launch reads.

The failure: a table entry that names a page of another pool, of another
request, or of no pool at all. Far out of range the kernel faults; in range it
reads somebody else's keys and nobody notices. The rule: judge exactly the
entries the launch may read, live columns of each row, and know which of them a
query can still see. Columns past the length hold whatever was there before
(uninitialised memory since SGLang 0.5.14) and are never looked at.

Not covered: whether the pages named hold the right keys. Long because the four are judged in one
pass over a table, and share what they look at.

Notation: PS page size, P pages a kernel may address (dummy page 0 included),
L(r) length of row r with the queries of this launch, W = window_left + 1.

Long because the rules of one table stand together, beside the form that the kernel reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


@dataclass(frozen=True, slots=True)
class IndexSpace:
    """The pool whose page ids a table should hold.

    name: "full" or "swa", as messages print it.
    num_pages: pages the kernel may address, dummy page 0 included: size / page_size + 1.
    """

    name: str
    page_size: int
    num_pages: int


def check_form(
    block_tables: Tensor,
    cache_seqlens: Tensor,
    *,
    page_size: int,
    device_of_kernel: torch.device,
    where: str = "attention entry",
    any_stride: bool = False,
) -> tuple[Evidence, ...]:
    """I26 as far as the host knows: forms that trtllm-gen would misread rather than refuse.

    The kernel takes bare pointers and one width, so an int64 table, a sliced
    one or a length tensor on another device is read as if it were not.

    Args:
        block_tables: should be `(rows, width)`, int32, row stride == width.
        cache_seqlens: should be `(rows,)`, int32, contiguous. Unit: tokens.
        page_size: tokens per page, as the kernel is told.
        any_stride: the kernel is told the row stride too (FlashAttention), and so takes any.
    Returns: one Evidence per fault, empty if the form is right. Whether the
        width covers the lengths needs their values: `check_table` says that.
    Cost: host integers only; no kernel, no sync, legal under capture.
    """
    wrong: list[tuple[str, str]] = []  # tensor, what is wrong with it

    def add(tensor: str, text: str) -> None:
        wrong.append((tensor, text))

    if page_size < 1:
        add("", f"page_size = {page_size}, at least 1 is needed")
    if block_tables.dim() != 2:
        add("block_tables", f"block_tables has {block_tables.dim()} dimensions, 2 are needed")
    elif block_tables.numel() > 0:
        rows, width = block_tables.shape
        row_stride, column_stride = block_tables.stride()
        packed = any_stride or rows == 1 or row_stride == width
        if not packed or (width > 1 and column_stride != 1):
            strides = f"({row_stride}, {column_stride})"
            text = f"block_tables has strides {strides}, the kernel assumes ({width}, 1)"
            add("block_tables", text)
    if cache_seqlens.dim() != 1:
        add("cache_seqlens", f"cache_seqlens has {cache_seqlens.dim()} dimensions, 1 is needed")
    elif len(cache_seqlens) > 1 and cache_seqlens.stride(0) != 1:
        text = f"cache_seqlens has stride {cache_seqlens.stride(0)}, the kernel assumes 1"
        add("cache_seqlens", text)
    if block_tables.dim() >= 1 and cache_seqlens.dim() >= 1:
        rows, lengths = block_tables.shape[0], cache_seqlens.shape[0]
        if rows != lengths:
            add("", f"block_tables has {rows} rows, cache_seqlens {lengths}")
    for name, tensor in (("block_tables", block_tables), ("cache_seqlens", cache_seqlens)):
        if tensor.dtype != torch.int32:
            add(name, f"{name} is {tensor.dtype}, the kernel reads torch.int32")
        if tensor.device != device_of_kernel:
            add(name, f"{name} is on {tensor.device}, the kernel runs on {device_of_kernel}")
    facts: dict[str, object] = {
        "block_tables.shape": list(block_tables.shape),
        "block_tables.stride": list(block_tables.stride()),
        "cache_seqlens.shape": list(cache_seqlens.shape),
        "cache_seqlens.stride": list(cache_seqlens.stride()),
    }
    return tuple(
        Evidence(
            "I26",
            text,
            where,
            total=1,
            facts={**facts, "misread": tensor},
            kind=Found.FORM_NOT_READ,
        )
        for tensor, text in wrong
    )


def check_table(
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
) -> Findings:
    """I1, I2, I12 and the width part of I26 for every row of one launch.

    A row is real, not graph padding, if its number is below `num_real_rows`;
    without that, if its request index is not the reserved 0; without that
    either, if its length is above 0.

    A column p is live if p < ceil(L / PS). It is in the window if a query of
    the row can see a token of it; the oldest query, at L - q_len, decides:
    p >= max(0, L - q_len - window_left) // PS.

    I1   real row, in the window: 1 <= id < P. Page 0 is the dummy page, which
         SWA eviction leaves in the table: in the window it is a fault.
         Below the window, and on padded rows: 0 <= id < P.
    I2   real row, id in range but not the one that `req_to_token` implies:
         R[req, p * PS] // PS, or with `full_to_swa` m[R[req, p * PS]] // PS.
         Below the window of a mapped table, 0 is right too (evicted before the
         table was built) and anything is if the mapping says 0 (evicted since).
         A request index outside [1, len(R)) is an I2 fault of its own, reported
         on `req_pool_indices`; so is a slot in R, or in m, that cannot be one.
    I12  real row: 1 <= L and 0 <= q_len <= L. Padded row: 0 <= L.
    I26  L <= width * PS, on every row.

    An entry outside its range is an I1 fault only; `expected` still tells what
    I2 would have said.

    Args:
        block_tables: `(rows, width)`, integer, page ids. Values may be anything.
        cache_seqlens: `(rows,)`, integer, tokens. Values may be anything.
        window_left: tokens a query sees before itself; negative for no window.
        q_len: query tokens per row, one number or `(rows,)`.
        cum_seq_lens_q: `(rows + 1,)`, prefix sum of the query tokens; replaces `q_len`.
        req_pool_indices: `(rows,)`, integer.
        req_to_token: `(requests, context)`, integer, full-pool slots. I2 needs both.
        full_to_swa: `(slots,)`, integer, full slot -> SWA slot, 0 = none, -1 ends it.
            Pass it only for a table that should hold mapped ids. Neither it nor
            `req_to_token` may be empty.
        num_real_rows: a number, or a one-element tensor on the table's device.
    Cost: 49 small launches, 95 with I2 and a mapping, over `(rows, width)` int64
        temporaries; no sync until `Findings.read()`. Legal under capture (it allocates
        from the graph's pool), but `triage/device/checker.py` does the same in one launch.
        A slot table that the scheduler rewrites between table build and check (radix
        deduplication on its own stream) shows as I2: call it on the stream that
        built the table.
    Source: SGLang's page-table builders of trtllm_mha (0.5.12.post1 to 0.5.23) and
        `_evict_swa` in managers/schedule_batch.py.
    """
    table = block_tables.to(torch.int64)
    length = cache_seqlens.to(torch.int64)
    width = table.shape[1]
    page = space.page_size
    request = None if req_pool_indices is None else req_pool_indices.to(torch.int64)
    real = _real_rows(length, request, num_real_rows)
    queries = _query_tokens(length, q_len, cum_seq_lens_q)

    column = torch.arange(width, device=table.device)
    reach = length.clamp(0, width * page)
    live = column < ((reach + page - 1) // page)[:, None]
    oldest = (length - queries.clamp(min=1) - window_left).clamp(min=0)
    first_visible = oldest // page if window_left >= 0 else torch.zeros_like(length)
    in_window = column >= first_visible[:, None]

    low = (in_window & real[:, None]).to(torch.int64)
    in_range = (table >= low) & (table < space.num_pages)
    shortest, longest = real.to(torch.int64), width * page
    wrong_queries = real & (length >= 1) & ((queries < 0) | (queries > length))
    faults = [
        Fault(
            "I12",
            "cache_seqlens",
            length < shortest,
            length,
            shortest,
            longest + 1,
            kind=Found.ILLEGAL_LENGTH,
        ),
        Fault("I12", "q_len", wrong_queries, queries, 0, length + 1, kind=Found.ILLEGAL_QUERIES),
        Fault(
            "I26",
            "cache_seqlens",
            length > longest,
            length,
            shortest,
            longest + 1,
            kind=Found.TABLE_TOO_NARROW,
        ),
    ]
    expected = known = None
    if request is not None and req_to_token is not None:
        expected, known, identity, stranger = _identity(
            table, in_window, request, real, req_to_token, full_to_swa, page
        )
        faults += [
            Fault(
                "I2",
                "req_pool_indices",
                stranger,
                request,
                1,
                req_to_token.shape[0],
                kind=Found.NO_SUCH_REQUEST,
            ),
            Fault(
                "I2",
                "block_tables",
                live & in_range & real[:, None] & ~stranger[:, None] & ~identity,
                table,
                low,
                space.num_pages,
                expected=expected,
                known=known,
                in_window=in_window,
                request=request,
                kind=Found.WRONG_PAGE,
            ),
        ]
    out_of_range = Fault(
        "I1",
        "block_tables",
        live & ~in_range,
        table,
        low,
        space.num_pages,
        expected=expected,
        known=known,
        in_window=in_window,
        request=request,
        kind=Found.PAGE_OUTSIDE_POOL,
    )
    return Findings([out_of_range, *faults])


def _real_rows(
    length: Tensor, request: Tensor | None, num_real_rows: int | Tensor | None
) -> Tensor:
    if num_real_rows is not None:
        return torch.arange(len(length), device=length.device) < num_real_rows
    return length > 0 if request is None else request != 0


def _query_tokens(length: Tensor, q_len: int | Tensor, cum_seq_lens_q: Tensor | None) -> Tensor:
    if cum_seq_lens_q is not None:
        return cum_seq_lens_q.to(torch.int64).diff()
    if isinstance(q_len, int):
        return torch.full_like(length, q_len)
    return q_len.to(torch.int64)


def _identity(
    table: Tensor,
    in_window: Tensor,
    request: Tensor,
    real: Tensor,
    req_to_token: Tensor,
    full_to_swa: Tensor | None,
    page: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Expected ids, where they are known, where the table agrees, rows without a request.

    Every gather is clamped first: garbage in gives a wrong number and a flag, no fault.
    """
    requests, context = req_to_token.shape
    stranger = real & ((request < 1) | (request >= requests))
    owned = (real & ~stranger)[:, None]
    position = torch.arange(table.shape[1], device=table.device) * page
    row = request.clamp(0, requests - 1)[:, None]
    slot = req_to_token[row, position.clamp(max=context - 1)].to(torch.int64)
    known = (position < context) & (slot >= 0)
    if full_to_swa is None:
        expected = slot // page
        return expected, known & owned, known & (table == expected), stranger
    known = known & (slot < len(full_to_swa))
    slot = full_to_swa[slot.clamp(0, len(full_to_swa) - 1)].to(torch.int64)
    known = known & (slot >= 0)
    expected = slot // page
    agrees = known & (table == expected)
    forgiven = ~in_window & ((table == 0) | (expected == 0) | ~known)
    return expected, known & owned, agrees | forgiven, stranger
