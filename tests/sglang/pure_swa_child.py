"""A model whose every layer slides: SGLang's allocator of one pool, decode past the window; JSON.

python -m tests.sglang.pure_swa_child

Real: `PureSWATokenToKVPoolAllocator`, the request table, `PureSWAChunkCache`, `Req` and the
eviction from the window. Stubs: the batch and the scheduler, as far as the checks read them.
"""

from __future__ import annotations

import json
from array import array
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402, after the interpreter is set

from triage.evidence import Evidence  # noqa: E402
from triage.lab.settings import Published  # noqa: E402
from triage.sglang.allocator.late_audit import LateAudit  # noqa: E402
from triage.sglang.allocator.pool_sums import PoolSums  # noqa: E402
from triage.sglang.holders import Holders  # noqa: E402

WINDOW, SLOTS, PROMPT, DECODED = 16, 160, 40, 30


class Server:
    """Two requests of `PROMPT` tokens; `prefill_aware`: the window never takes of a prompt."""

    def __init__(self, prefill_aware: bool) -> None:
        from sglang.srt.mem_cache.allocator.swa import PureSWATokenToKVPoolAllocator
        from sglang.srt.mem_cache.cache_init_params import CacheInitParams
        from sglang.srt.mem_cache.chunk_cache import PureSWAChunkCache
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool
        from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool

        self.pool = SWAKVPool(
            size=1, size_swa=SLOTS, page_size=1, dtype=torch.float32, head_num=1, head_dim=8,
            swa_attention_layer_ids=[0], full_attention_layer_ids=[], device="cpu",
            enable_memory_saver=False,
        )  # fmt: skip
        self.allocator = PureSWATokenToKVPoolAllocator(
            SLOTS, 1, torch.float32, "cpu", self.pool, False
        )
        self.rows = ReqToTokenPool(
            size=4, max_context_len=SLOTS, device="cpu", enable_memory_saver=False
        )
        self.tree_cache = PureSWAChunkCache(
            CacheInitParams(
                disable=True,
                req_to_token_pool=self.rows,
                token_to_kv_pool_allocator=self.allocator,
                page_size=1,
                sliding_window_size=WINDOW,
            )
        )
        self.reqs = [self.prefilled(number, prefill_aware) for number in range(2)]
        self.running_batch = SimpleNamespace(
            reqs=self.reqs,
            token_to_kv_pool_allocator=self.allocator,
            req_to_token_pool=self.rows,
            tree_cache=self.tree_cache,
            spec_algorithm=None,
            req_pool_indices=torch.tensor([req.req_pool_idx for req in self.reqs]),
            seq_lens=torch.tensor([PROMPT, PROMPT]),
        )

    def prefilled(self, number: int, prefill_aware: bool) -> Any:
        from sglang.srt.managers.schedule_batch import Req, ReqKvInfo
        from sglang.srt.sampling.sampling_params import SamplingParams

        prompt = array("q", range(10, 10 + PROMPT))
        req = Req(f"r{number}", "", prompt, SamplingParams(max_new_tokens=64))
        self.rows.alloc([req])
        req.kv = ReqKvInfo(kv_allocated_len=0, swa_evicted_seqlen=0)
        self.grow(req, PROMPT)
        if prefill_aware:  # as `Scheduler._get_new_batch_prefill_raw` does
            req.swa_evict_floor = PROMPT
        return req

    def grow(self, req: Any, tokens: int) -> None:
        start = req.kv_committed_len
        slots = self.allocator.alloc(tokens)
        self.rows.write((req.req_pool_idx, slice(start, start + tokens)), slots.to(torch.int32))
        req.kv_committed_len = req.kv.kv_allocated_len = start + tokens

    def decode(self, batch: Any) -> None:
        from sglang.srt.mem_cache.common import free_swa_out_of_window_slots

        for req in self.reqs:
            free_swa_out_of_window_slots(
                req, req.kv_committed_len, sliding_window_size=WINDOW, page_size=1,
                req_to_token_pool=self.rows, token_to_kv_pool_allocator=self.allocator,
                is_chunk_cache=True,
            )  # fmt: skip
            self.grow(req, 1)
        batch.seq_lens = batch.seq_lens + 1


def play(prefill_aware: bool, freed: bool = False) -> dict[str, Any]:
    """freed: a slot of the window is freed under its request."""
    said: list[str] = []

    def say(evidence: Evidence) -> None:
        said.append(f"{evidence.invariant} {evidence.pool} {evidence.kind}")

    server, holders = Server(prefill_aware), Holders()
    holders.note(server)
    audit = LateAudit(say, lambda: 1, every=1)
    sums = PoolSums(lambda: holders, say)
    for step in range(DECODED):
        if freed and step == DECODED // 2:
            row, newest = server.reqs[0].req_pool_idx, server.reqs[0].kv_committed_len - 1
            server.allocator.free(server.rows.req_to_token[row, newest : newest + 1])
        sums.at_step(server.running_batch)
        planned = audit.before_prepare(server.running_batch, (), {})
        server.decode(planned)
        audit.behind_prepare(planned)
    audit.tell()
    evicted = [req.kv.swa_evicted_seqlen for req in server.reqs]
    return {"said": said, "looks": [audit.looks, sums.looks], "evicted": evicted}


if __name__ == "__main__":
    Published(page_size=1)
    told = {
        "plain": play(prefill_aware=False),
        "prefill aware": play(prefill_aware=True),
        "harmed": play(prefill_aware=True, freed=True),
    }
    print(json.dumps(told))
