"""What requests hold of a pool, by their own numbers; what they do not say is not counted as 0."""

from __future__ import annotations

from types import SimpleNamespace as Has
from typing import Any

import pytest

from triage.sglang.allocator.pool_sums import _held

PAGE = 16
WAITS = Has(req_pool_idx=None, kv=None)
OLDER = Has(req_pool_idx=1, kv_allocated_len=20, cache_protected_len=16, swa_evicted_seqlen=0)
NEWER = Has(
    req_pool_idx=1, cache_protected_len=16, kv=Has(kv_allocated_len=20, swa_evicted_seqlen=16)
)
ELSEWHERE = Has(req_pool_idx=2, cache_protected_len=16, kv=Has(length=20))


@pytest.mark.parametrize(
    ("requests", "held"),
    [
        ([], {"full": 0, "swa": 0}),
        ([WAITS], {"full": 0, "swa": 0}),
        ([OLDER, WAITS], {"full": 16, "swa": 16}),
        ([NEWER], {"full": 16, "swa": 16}),
        ([OLDER, ELSEWHERE], None),
        ([ELSEWHERE], None),
    ],
    ids=["none", "waiting", "on the request", "on its record", "one elsewhere", "elsewhere"],
)
def test_whole_pages_behind_the_cached_prefix_are_held_and_an_unknown_record_is_no_zero(
    requests: list[Any], held: dict[str, int] | None
):
    assert _held(requests, PAGE, slides=True) == held
