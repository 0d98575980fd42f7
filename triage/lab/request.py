"""One request as the lab sees it, with the attributes SGLang's pools and eviction read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triage.lab.runtime import Runtime


@dataclass(eq=False, slots=True)
class LabRequest:
    """`length` is what is committed, `allocated` what req_to_token holds. Units: tokens.

    `reported` is the length the scheduler knows when it prepares a batch: under
    overlap scheduling the result of the step before has not been processed yet.
    """

    rid: int | str
    prompt_tokens: int
    output_tokens: int
    length: int = 0
    reported: int = 0
    _allocated: int = 0
    _row: int | None = None
    is_chunked: int = 0
    kv_committed_len: int = 0
    decode_batch_idx: int = 0
    cache_protected_len: int = 0
    swa_evict_floor: int = 0
    swa_evicted_seqlen: int = 0
    kv: Any = field(default_factory=lambda: kv_record())

    @property
    def req_pool_idx(self) -> int | None:
        """From 0.5.23 the row is registered in the KV record."""
        return self.kv.req_pool_idx if hasattr(self.kv, "holds_kv") else self._row

    @req_pool_idx.setter
    def req_pool_idx(self, row: int | None) -> None:
        self._row = row

    @property
    def allocated(self) -> int:
        """Tokens that its row of req_to_token holds; SGLang keeps the number on the KV record."""
        return self._allocated

    @allocated.setter
    def allocated(self, tokens: int) -> None:
        self._allocated = tokens
        if hasattr(self.kv, "kv_allocated_len"):
            self.kv.kv_allocated_len = tokens

    @property
    def kv_allocated_len(self) -> int:
        return self._allocated

    @property
    def final_tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens

    @property
    def seqlen(self) -> int:
        return self.reported + 1  # SGLang counts the token that is about to be computed


def kv_record() -> Any:
    """SGLang's own record of the KV a request holds, as this release has it."""
    from sglang.srt.managers import schedule_batch

    record = getattr(schedule_batch, "ReqKvInfo", None)
    if record is None:  # kept on the request itself before 0.5.18
        return SimpleNamespace()
    if hasattr(record, "holds_kv"):
        return record()
    return record(kv_allocated_len=0, swa_evicted_seqlen=0)


def evict_before_decode(runtime: Runtime, batch: list[LabRequest]) -> None:
    """SGLang's SWA eviction under the conditions of ScheduleBatch.maybe_evict_swa in decode."""
    for request in batch:
        if request.decode_batch_idx >= 1:
            _evict(runtime, request, request.seqlen - 1)


def evict_before_extend(runtime: Runtime, request: LabRequest, lag_tokens: int) -> None:
    """The same before a further prefill chunk; `lag_tokens` is the chunk still in flight."""
    if request.length > lag_tokens:
        _evict(runtime, request, request.length - lag_tokens)


def _evict(runtime: Runtime, request: LabRequest, pre_len: int) -> None:
    g = runtime.geometry
    try:
        from sglang.srt.mem_cache.common import free_swa_out_of_window_slots
    except ImportError:  # 0.5.12.post1 and 0.5.13.post1 keep it on ScheduleBatch
        from sglang.srt.managers.schedule_batch import ScheduleBatch

        batch: Any = SimpleNamespace(
            tree_cache=SimpleNamespace(
                supports_swa=lambda: True,
                sliding_window_size=g.window - 1,
                page_size=g.page_size,
                is_chunk_cache=lambda: True,
            ),
            req_to_token_pool=runtime.req_to_token_pool,
            token_to_kv_pool_allocator=runtime.token_to_kv_pool_allocator,
        )
        ScheduleBatch._evict_swa(batch, request, pre_len)
        return
    accepted = inspect.signature(free_swa_out_of_window_slots).parameters
    without_tree = {  # one name a release, the oldest first
        "drop_page_margin": True,
        "is_chunk_cache": True,
        "supports_prefix_sharing": False,
    }
    extra = {name: value for name, value in without_tree.items() if name in accepted}
    free_swa_out_of_window_slots(
        request,
        pre_len,
        sliding_window_size=g.window - 1,
        page_size=g.page_size,
        req_to_token_pool=runtime.req_to_token_pool,
        token_to_kv_pool_allocator=runtime.token_to_kv_pool_allocator,
        **extra,
    )
