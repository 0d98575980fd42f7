"""A row is given back by a request that ends or is retracted; one that goes on keeps it."""

from __future__ import annotations

from typing import Any

import pytest

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.lab import bootstrap
from triage.sglang.allocator.ledger_hooks import LedgerHooks


class Request:
    """What `ReqToTokenPool` and the hooks read of SGLang's Req."""

    def __init__(self) -> None:
        self.req_pool_idx: int | None = None
        self.inflight_middle_chunks = self.kv_committed_len = self.retraction_count = 0
        self.finished_reason: Any = None


class Rows:
    """SGLang's request table under the hooks of the ledger, and what they found."""

    def __init__(self) -> None:
        bootstrap.prepare()
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

        self.found: list[Evidence] = []
        self.books = LedgerHooks(self.found.append)
        self.table = ReqToTokenPool(4, 64, "cpu", False)

    def alloc(self, *requests: Request) -> None:
        self.books.around_row_alloc(type(self.table).alloc, self.table, list(requests))

    def free(self, request: Request) -> None:
        self.books.around_row_free(type(self.table).free, self.table, request)


@pytest.fixture
def rows() -> Rows:
    return Rows()


def test_a_request_that_gave_its_row_back_between_two_chunks_is_told_as_it_gets_one_again(rows):
    first, other = Request(), Request()
    rows.alloc(first)
    rows.free(first)
    rows.alloc(other, first)
    (seen,) = rows.found
    assert (seen.invariant, seen.kind) == ("I17", Found.ROW_LEFT_WHILE_RUNNING)
    assert seen.facts["row"] == 4 and "goes on" in seen.summary


def test_a_retracted_request_a_request_that_ended_and_a_chunk_that_kept_its_row_are_right(rows):
    retracted, ended, chunked = Request(), Request(), Request()
    rows.alloc(retracted, ended, chunked)
    rows.free(retracted)
    retracted.retraction_count += 1  # as SGLang does, behind the release
    ended.finished_reason = "stop"
    rows.free(ended)
    chunked.inflight_middle_chunks = 1
    rows.alloc(retracted, chunked)
    assert rows.found == []


def test_no_request_is_kept_alive_for_it(rows):
    for _ in range(100):
        request = Request()
        rows.alloc(request)
        rows.free(request)
        del request
    assert rows.found == [] and not rows.books._left._left
