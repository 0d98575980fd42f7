"""What a decode step of a draft may write is held to the width of the row, before it is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.lab import bootstrap
from triage.sglang.allocator.allocation_checks import AllocationChecks
from triage.sglang.state_hooks import RESERVES

WIDTH = 72


def reserved(lengths: Any, records: bool | None = None) -> tuple[list[Evidence], list[str]]:
    """What is found, and what was called, when two requests are to reach `lengths`.

    records: does SGLang record the new lengths in its requests? None: they have no such number.
    """
    found: list[Evidence] = []
    called: list[str] = []
    reporter: Any = SimpleNamespace(fire_event=found.append)
    known = {} if records is None else {"kv_allocated_len": 0}
    requests = [SimpleNamespace(req_pool_idx=row, kv=None, **known) for row in (4, 2)]
    table = SimpleNamespace(req_to_token=torch.zeros(5, WIDTH, dtype=torch.int32))

    def sglangs(*_: Any, **__: Any) -> None:
        called.append("SGLang's")
        for request, length in zip(requests, () if lengths is None else lengths, strict=False):
            if records and length.device.type == "cpu":
                request.kv_allocated_len = int(length)

    AllocationChecks(reporter, SimpleNamespace()).around_reserve(  # type: ignore[arg-type]
        sglangs,
        None,
        table,
        reqs=requests,
        nxt_kv_lens_cpu=lengths,
    )
    return found, called


def test_a_reserve_that_goes_past_the_row_is_told_before_the_row_behind_it_is_written():
    found, _ = reserved(torch.tensor([60, WIDTH + 8]))
    (seen,) = found
    assert seen.invariant == "I14" and "row 2" in seen.summary
    assert "8 tokens go past the row" in seen.summary


@pytest.mark.parametrize("records", [True, None], ids=["recorded", "not known"])
@pytest.mark.parametrize("lengths", [torch.tensor([WIDTH, 8]), torch.tensor([], dtype=torch.int64)])
def test_a_reserve_that_fits_is_silent_and_sglang_is_called(lengths, records):
    assert reserved(lengths, records) == ([], ["SGLang's"])


def test_a_reserve_that_the_requests_do_not_record_is_told():
    found, called = reserved(torch.tensor([WIDTH, 8]), records=False)
    assert called == ["SGLang's"]
    assert [(seen.invariant, seen.kind) for seen in found] == [
        ("I7", Found.ALLOCATED_NOT_RECORDED)
    ] * 2


def test_lengths_that_the_host_does_not_have_are_not_read():
    # GIVEN lengths on a device that would have to be waited for
    assert reserved(torch.zeros(2, device="meta")) == ([], ["SGLang's"])
    assert reserved(None) == ([], ["SGLang's"])


def test_the_installed_release_imports_it_by_name_where_it_is_looked_for():
    bootstrap.prepare()
    from pkgutil import resolve_name

    functions = {resolve_name(target) for target in RESERVES[:2]}
    assert len(functions) == 1
