"""The ScheduleBatch driver: SGLang's own requests, batches, admission and radix caches.

`Req`, `ScheduleBatch` (extend, decode, eviction from the window, retraction,
filter, merge), `PrefillAdder` and the radix or chunk cache are SGLang's; so is
the release of a finished request. By hand stays what a scheduler process does
around them: the loop, the next token (drawn, not computed), and when a request
is done. No speculation here: the pool driver has the drafts.

Long because it is one scheduler, around SGLang's own requests and batches.
"""

from __future__ import annotations

import inspect
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from triage.errors import LabError
from triage.lab.forwards import Forwards
from triage.lab.runtime import Runtime
from triage.lab.scenarios import Scenario
from triage.lab.steps import StepGuard

Progress = Callable[[int, int], None]

CACHES = ("swa-radix", "unified", "chunk")
"""SWARadixCache (up to 0.5.18), UnifiedRadixCache, SWAChunkCache (radix off)."""


def make_cache(kind: str, runtime: Runtime, chunk: int) -> Any:
    """SGLang's prefix cache of this kind over the runtime's pools, or LabError if it has none."""
    from sglang.srt.mem_cache.cache_init_params import CacheInitParams

    g = runtime.geometry
    wanted = {
        "disable": kind == "chunk",
        "req_to_token_pool": runtime.req_to_token_pool,
        "token_to_kv_pool_allocator": runtime.token_to_kv_pool_allocator,
        "page_size": g.page_size,
        "sliding_window_size": g.window - 1,
        "chunked_prefill_size": chunk,
    }
    known = inspect.signature(CacheInitParams).parameters
    params = CacheInitParams(**{name: value for name, value in wanted.items() if name in known})
    if kind == "chunk":
        try:
            from sglang.srt.mem_cache.chunk_cache import SWAChunkCache
        except ImportError:  # from 0.5.23 a unified cache that is switched off
            return _unified(params)
        return SWAChunkCache(params)
    if kind == "radix":  # of pools without a window: `plain_pools.py`
        return _radix(params)
    if kind == "swa-radix":
        try:
            from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache
        except ImportError:
            raise LabError(f"this SGLang has no {kind} cache") from None
        return SWARadixCache(params)
    return _unified(params)


def _radix(params: Any) -> Any:
    """For pools of one kind; from 0.5.23 the unified cache with that component alone."""
    try:
        from sglang.srt.mem_cache.radix_cache import RadixCache

        return RadixCache(params)
    except (ImportError, TypeError):
        params.tree_components = (_component_types().FULL,)
        from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

        return UnifiedRadixCache(params)


def _unified(params: Any) -> Any:
    from sglang.srt.mem_cache.unified_radix_cache import UnifiedRadixCache

    kinds = _component_types()
    params.tree_components = (kinds.FULL, kinds.SWA)
    return UnifiedRadixCache(params)


def _component_types() -> Any:
    try:
        from sglang.srt.mem_cache.unified_cache.component_type import ComponentType
    except ImportError:  # up to 0.5.15.post1
        from sglang.srt.mem_cache.unified_cache_components.tree_component import ComponentType
    return ComponentType


class Scheduler:
    """Runs one scenario through `ScheduleBatch`. `step` counts decode steps."""

    overlap = False  # each result is looked at before the next step is planned

    def __init__(
        self, scenario: Scenario, runtime: Runtime, watch: Any, seed: int, guard: StepGuard
    ) -> None:
        self.scenario, self.runtime, self.watch = scenario, runtime, watch
        self.seconds: dict[str, float] = {}
        self.guard = guard
        widest = scenario.chunk * scenario.concurrency
        self.forwards = Forwards(runtime, watch, widest, guard.forward_done, graphs=scenario.graphs)
        self.tree_cache = make_cache(scenario.cache, runtime, scenario.chunk)
        self.rng = np.random.default_rng(seed)
        self.shared = self.rng.integers(1, 1000, scenario.prompt_tokens).tolist()
        self.waiting: deque[Any] = deque(self._requests())
        self.running: Any = None
        self.cur_batch: Any = None  # SGLang's name: what is queued now
        self.chunked: Any = None
        self.finished = self.step = 0

    @property
    def running_batch(self) -> Any:
        """As the attribute of SGLang's scheduler."""
        return self.running

    @property
    def chunked_req(self) -> Any:
        """The same: the request between two chunks."""
        return self.chunked

    def _requests(self) -> Iterator[Any]:
        """Prompts that share a prefix, so that the tree has something to match."""
        s = self.scenario
        for rid in range(s.requests):
            common = int(self.rng.integers(0, s.prompt_tokens))
            yield self._request(rid, s.prompt_tokens, s.output_tokens, common)

    def _request(self, rid: int, prompt: int, output: int, common: int) -> Any:
        from sglang.srt.managers.schedule_batch import Req
        from sglang.srt.sampling.sampling_params import SamplingParams

        own = self.rng.integers(1000, 2000, prompt - common).tolist()
        sampling = SamplingParams(max_new_tokens=output, temperature=0)
        sampling.normalize(None)
        ids = array("q", self.shared[:common] + own)
        annotation = str(inspect.signature(Req.__init__).parameters["origin_input_ids"])
        return Req(str(rid), "", ids if "array" in annotation else list(ids), sampling)

    # -- the loop ----------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Requests that have not finished."""
        running = 0 if self.running is None else len(self.running.reqs)
        return len(self.waiting) + running + (self.chunked is not None)

    def enqueue(self, rid: int, prompt: int, output: int, shared: int = 0) -> None:
        """One more request; its first `shared` tokens are the same for all."""
        self.waiting.append(self._request(rid, prompt, output, shared))

    def abort(self, which: int) -> None:
        """Finish a running request early, `which` counted around."""
        from sglang.srt.managers.schedule_batch import FINISH_ABORT

        if self.running is None:
            return
        req = self.running.reqs[which % len(self.running.reqs)]
        req.finished_reason = FINISH_ABORT("aborted by the lab")
        self._release(req)
        self.running.filter_batch()
        if not self.running.reqs:
            self.running = None

    def tick(self) -> None:
        """One round: a prefill batch if something is admitted, else one decode step."""
        batch = self._admit()
        if batch is not None:
            self._prefill(batch)
        elif self.running is not None:
            self.watch.step = self.step
            self._decode()
            self.step += 1
        elif self.waiting or self.chunked:
            raise MemoryError(f"nothing can be admitted at step {self.step}")

    def run(self, progress: Progress, max_steps: int | None = None) -> None:
        while self.waiting or self.chunked or self.running is not None:
            self.tick()
            progress(self.finished, self.scenario.requests)
            if max_steps is not None and self.step >= max_steps:
                return

    def _admit(self) -> Any:
        from sglang.srt.managers.schedule_batch import ScheduleBatch
        from sglang.srt.managers.schedule_policy import AddReqResult, PrefillAdder

        if self.chunked is not None:
            self._cache_unfinished(self.chunked, chunked=True)
        room = self.scenario.concurrency - (0 if self.running is None else len(self.running.reqs))
        if (not self.waiting and self.chunked is None) or room <= 0:
            return None
        running = self.running or self._new_batch(ScheduleBatch, [])
        adder = PrefillAdder(
            self.runtime.geometry.page_size,
            self.tree_cache,
            self.runtime.token_to_kv_pool_allocator,
            running,
            0.5,
            1 << 20,
            self.scenario.chunk,
        )
        if self.chunked is not None:
            self.chunked.init_next_round_input()
            self.chunked = adder.add_chunked_req(self.chunked)
        for req in self.waiting:
            if len(adder.can_run_list) >= room:
                break
            req.init_next_round_input(self.tree_cache)
            result = adder.add_one_req(
                req, has_chunked_req=self.chunked is not None, truncation_align_size=None
            )
            if result != AddReqResult.CONTINUE:
                break
        if not adder.can_run_list:
            return None
        self.waiting = deque(req for req in self.waiting if req not in adder.can_run_list)
        if adder.new_chunked_req is not None:
            self.chunked = adder.new_chunked_req
        if self.chunked is not None:
            self._count_chunk(self.chunked, +1)
        batch = self._new_batch(ScheduleBatch, adder.can_run_list)
        batch.prepare_for_extend()
        return batch

    def _new_batch(self, kind: Any, reqs: list[Any]) -> Any:
        config = SimpleNamespace(
            vocab_size=4096,
            is_encoder_decoder=False,
            is_multimodal=False,
            is_matryoshka=False,
            hf_config=None,
        )
        return kind.init_new(
            reqs=list(reqs),
            req_to_token_pool=self.runtime.req_to_token_pool,
            token_to_kv_pool_allocator=self.runtime.token_to_kv_pool_allocator,
            tree_cache=self.tree_cache,
            model_config=config,
            enable_overlap=self.overlap,
            spec_algorithm=_no_speculation(),
        )

    # -- forwards and their results ------------------------------------------------------

    def _prefill(self, batch: Any) -> None:
        starts, counts = list(batch.prefix_lens), list(batch.extend_lens)
        self._forward(batch, starts, counts)
        for req in batch.reqs:
            if req is self.chunked:
                continue
            if chunks_in_flight(req) > 0:
                self._count_chunk(req, -1)
                if chunks_in_flight(req) > 0:
                    continue
            self._next_token(req)
            if self._done(req):
                self._release(req)
            else:
                self._cache_unfinished(req)
        if self.chunked is not None:
            self._count_chunk(self.chunked, -1)
        keep = [i for i, r in enumerate(batch.reqs) if r is not self.chunked and not r.finished()]
        batch.filter_batch(keep_indices=keep)
        if not batch.reqs:
            return
        if self.running is None:
            self.running = batch
        else:
            self.running.merge_batch(batch)

    def _decode(self) -> None:
        batch = self.running
        if not batch.check_decode_mem():
            for req in retract(batch, self.runtime):
                self.waiting.appendleft(req)
        # Up to 0.5.14 the sampled tokens of the step before stand on the batch.
        batch.output_ids = torch.tensor([req.output_ids[-1] for req in batch.reqs])
        batch.prepare_for_decode()
        self._forward(batch, None, None)
        with self._frees_in_a_group():
            for req in batch.reqs:
                self._next_token(req)
                if self._done(req):
                    self._release(req)
        batch.filter_batch()
        if not batch.reqs:
            self.running = None

    def _forward(self, batch: Any, starts: Any, counts: Any) -> None:
        self.cur_batch = batch
        step = self.guard.begin()
        self.forwards.from_schedule_batch(batch, starts, counts)()
        self.guard.end()
        self.guard.release(step)

    def _next_token(self, req: Any) -> None:
        req.output_ids.append(int(self.rng.integers(2000, 3000)))

    def _done(self, req: Any) -> bool:
        from sglang.srt.managers.schedule_batch import FINISH_LENGTH

        if len(req.output_ids) >= req.sampling_params.max_new_tokens:
            req.finished_reason = FINISH_LENGTH(length=len(req.output_ids))
        return bool(req.finished())

    @contextmanager
    def _frees_in_a_group(self) -> Iterator[None]:
        """`process_batch_result_decode`: what it frees reaches the lists when it is over."""
        allocator = self.runtime.token_to_kv_pool_allocator
        allocator.free_group_begin()
        yield
        allocator.free_group_end()

    def _release(self, req: Any) -> None:
        from sglang.srt.mem_cache.common import release_kv_cache

        takes_checkpoint = "checkpoint" in inspect.signature(release_kv_cache).parameters
        extra = {"checkpoint": True} if takes_checkpoint else {}
        release_kv_cache(req, self.tree_cache, **extra)
        self.finished += 1

    def _cache_unfinished(self, req: Any, chunked: bool = False) -> None:
        extra = {"chunked": True} if chunked else {}
        if hasattr(self.tree_cache, "checkpoint"):  # from 0.5.23 a function of its own
            from sglang.srt.mem_cache.common import checkpoint_kv_cache

            checkpoint_kv_cache(req, self.tree_cache)
            return
        self.tree_cache.cache_unfinished_req(req, **extra)

    def _count_chunk(self, req: Any, by: int) -> None:
        name = "inflight_middle_chunks" if hasattr(req, "inflight_middle_chunks") else "is_chunked"
        setattr(req, name, getattr(req, name) + by)


def retract(batch: Any, runtime: Runtime) -> list[Any]:
    """SGLang's retraction; up to 0.5.18 it is given the server's arguments."""
    takes = len(inspect.signature(batch.retract_decode).parameters)
    given = (runtime.published.server_args,)[:takes]
    gone: list[Any] = batch.retract_decode(*given)[0]
    return gone


def chunks_in_flight(req: Any) -> int:
    return int(getattr(req, "inflight_middle_chunks", getattr(req, "is_chunked", 0)))


def _no_speculation() -> Any:
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

    return SpeculativeAlgorithm.from_string("NONE")
