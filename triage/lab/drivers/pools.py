"""Drive request lifecycles through SGLang's real classes: the part a scheduler would play.

`overlap` delays what the scheduler knows by one step, as SGLang's default
overlap scheduler does: eviction sees the length of the step before, and a
request that finished takes part in one more step.

By hand, because SGLang's scheduler needs a model: admission, chunking, the
order of draft and verify, the random number of accepted tokens, the release of
rejected tokens, finish. Eviction from the sliding window is SGLang's own
function. Everything is deterministic from the seed. `schedule_batch.py` drives SGLang's
own ScheduleBatch and radix caches instead.

Long because it is one scheduler: admission, chunks, drafts and ends share its requests.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from triage.lab.drivers.landing import Landing
from triage.lab.forwards import Forwards, Row
from triage.lab.request import LabRequest, evict_before_decode, evict_before_extend
from triage.lab.runtime import Runtime
from triage.lab.scenarios import Scenario
from triage.lab.steps import StepGuard

Progress = Callable[[int, int], None]


class Driver:
    """Runs one scenario. `watch` is told which forward and layer the next launch belongs to."""

    def __init__(
        self,
        scenario: Scenario,
        runtime: Runtime,
        watch: Any,
        seed: int,
        overlap: bool,
        guard: StepGuard,
        *,
        lands_inside: bool = True,
    ) -> None:
        self.scenario, self.runtime, self.watch = scenario, runtime, watch
        self.overlap = overlap
        self.guard = guard
        widest = max(scenario.chunk, scenario.concurrency * scenario.draft_tokens)
        self.forwards = Forwards(runtime, watch, widest, guard.forward_done, graphs=scenario.graphs)
        self.seconds = self.forwards.seconds
        self.landing = Landing(seed, lands_inside and overlap and scenario.queued)
        self.forwards.landing = self.landing
        self.rng = np.random.default_rng(seed)
        self.waiting = deque(self._requests())
        self.running: list[LabRequest] = []
        self.finished = 0
        self.step = 0

    tree_cache = None  # SGLang's name: there is no prefix cache

    @property
    def running_batch(self) -> Any:
        """As the attribute of SGLang's scheduler: what has rows now, by `reqs`."""
        return SimpleNamespace(reqs=self.running)

    def _requests(self) -> Iterator[LabRequest]:
        s = self.scenario
        for rid in range(s.requests):
            # +-2 % on the prompt, so that rows do not march in step.
            jitter = int(self.rng.integers(-(s.prompt_tokens // 50), 1))
            yield LabRequest(rid, s.prompt_tokens + jitter, s.output_tokens)

    # -- the loop ----------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Requests that have not finished."""
        return len(self.waiting) + len(self.running)

    def enqueue(self, rid: int, prompt: int, output: int, shared: int = 0) -> None:
        """One more request of that many tokens; nothing is shared without a prefix cache."""
        self.waiting.append(LabRequest(rid, prompt, output))

    def abort(self, which: int) -> None:
        """Finish a running request early, `which` counted around."""
        if self.running:
            self._finish(self.running[which % len(self.running)])

    def tick(self) -> None:
        """Admit what fits, then one decode step of what runs."""
        self._admit()
        if self.running:
            self.watch.step = self.step
            self._decode_step()
            self.step += 1

    def run(self, progress: Progress, max_steps: int | None = None) -> None:
        """Until every request has finished, or `max_steps` decode steps."""
        while self.waiting or self.running:
            self.tick()
            progress(self.finished, self.scenario.requests)
            if max_steps is not None and self.step >= max_steps:
                return

    def _admit(self) -> None:
        allocator = self.runtime.token_to_kv_pool_allocator
        page = self.runtime.geometry.page_size
        while self.waiting and len(self.running) < self.scenario.concurrency:
            request = self.waiting[0]
            need = self._reserve(request.final_tokens)
            reserved = sum(self._reserve(r.final_tokens - r.length) for r in self.running)
            if allocator.full_available_size() < need + reserved:
                if not self.running:
                    raise MemoryError(
                        f"request {request.rid} needs {need} slots, the full pool has "
                        f"{allocator.full_available_size()} free"
                    )
                return
            if self.running and allocator.swa_available_size() < self._swa_reserve(page):
                return
            if not self.runtime.req_to_token_pool.alloc([request]):
                return
            self.waiting.popleft()
            while request.length < request.prompt_tokens:
                self._prefill_chunk(request)
            self.running.append(request)

    def _reserve(self, tokens: int) -> int:
        """Full slots a request may still take: overlap runs a step past its end."""
        page = self.runtime.geometry.page_size
        ahead = 2 * self.scenario.tokens_per_step if self.overlap else 0
        return _pages(tokens + ahead, page) * page

    def _swa_reserve(self, page: int) -> int:
        """SWA slots one more request may hold, and what the running ones may still take."""
        s = self.scenario
        kept = self.runtime.geometry.window + s.chunk + 2 * s.tokens_per_step + 2 * page
        return min(kept, s.prompt_tokens) + (len(self.running) + 1) * 3 * page

    # -- steps -------------------------------------------------------------------------

    def _prefill_chunk(self, request: LabRequest) -> None:
        start = request.length
        stop = min(request.prompt_tokens, start + self.scenario.chunk)
        evict_before_extend(self.runtime, request, self.scenario.chunk if self.overlap else 0)
        loc = self._extend([request], [stop])
        request.length = request.reported = stop
        step = self.guard.begin()
        self.forwards.extend(request, start, loc)
        self.guard.end()
        self.guard.release(step)

    def _decode_step(self) -> None:
        batch = list(self.running)
        evict_before_decode(self.runtime, batch)
        if self.scenario.draft == "none":
            self._plain_step(batch)
        else:
            self._speculative_step(batch)

    def _plain_step(self, batch: list[LabRequest]) -> None:
        before = [r.length for r in batch]
        ended = self._ended_before(batch)
        loc = self._next_token(batch)
        rows = _rows(batch)
        step = self._begin(ended)
        self.forwards.decode(rows, loc)
        self._end(step)
        for request, length in zip(batch, before, strict=True):
            if request in ended:
                continue
            request.reported = length if self.overlap else request.length
            request.decode_batch_idx += 1
            self._end_of_step(request)

    def _speculative_step(self, batch: list[LabRequest]) -> None:
        width = self.scenario.draft_tokens
        lookahead = 2 * width if self.scenario.keeps_rejected else width
        ended = self._ended_before(batch)
        self._extend(batch, [r.length + lookahead for r in batch])
        slots = torch.stack([self._slots(r, r.length, r.length + width) for r in batch])
        rows, loc = _rows(batch), slots.reshape(-1)
        step = self._begin(ended)
        self.forwards.draft(rows, slots)
        self.forwards.verify(rows, loc)
        self.forwards.after_verify(rows, loc)
        self._end(step)
        self._accept(batch, ended)

    def _ended_before(self, batch: list[LabRequest]) -> list[LabRequest]:
        """Under overlap, the requests of `batch` that the result of the step before ends."""
        return [r for r in batch if self.overlap and r.length >= r.final_tokens]

    def _begin(self, ended: list[LabRequest]) -> int:
        """A step is queued; `ended` are finished somewhere inside its forwards, or behind them."""
        step = self.guard.begin()
        self.watch.moved.clear()

        def look_at_last() -> None:
            for request in ended:
                self.watch.moved.add(request.req_pool_idx)
                self._finish(request)

        self.landing.expect(look_at_last)
        return step

    def _end(self, step: int) -> None:
        self.guard.end()
        self.landing.behind()
        self.guard.release(step)

    # -- lifecycle by hand -------------------------------------------------------------

    def _extend(self, batch: list[LabRequest], new_lengths: list[int]) -> torch.Tensor:
        """Allocate slots up to `new_lengths` and write them into req_to_token."""
        pool = self.runtime.req_to_token_pool
        held = [r.allocated for r in batch]
        wanted = [max(have, want) for have, want in zip(held, new_lengths, strict=True)]
        prefix = torch.tensor(held, dtype=torch.int64)
        target = torch.tensor(wanted, dtype=torch.int64)
        with self.forwards.timed("alloc"):
            loc = self._allocate(prefix, target, batch)
        if loc is None:
            raise self._out_of_memory("alloc_extend")
        at = 0
        for request, stop in zip(batch, wanted, strict=True):
            count = stop - request.allocated
            pool.write(
                (request.req_pool_idx, slice(request.allocated, stop)),
                loc[at : at + count].to(torch.int32),
            )
            request.allocated = stop
            at += count
        return loc

    def _allocate(
        self, prefix: torch.Tensor, target: torch.Tensor, batch: list[LabRequest]
    ) -> torch.Tensor | None:
        """As SGLang's alloc_for_extend: by the token where a page is one."""
        allocator, count = self.runtime.token_to_kv_pool_allocator, int((target - prefix).sum())
        if self.runtime.geometry.page_size == 1:
            loc: torch.Tensor | None = allocator.alloc(count)
        else:
            loc = allocator.alloc_extend(
                prefix, prefix, target, target, self._last_loc(batch), count
            )
        return loc

    def _next_token(self, batch: list[LabRequest]) -> torch.Tensor:
        pool = self.runtime.req_to_token_pool
        lengths = torch.tensor([r.length + 1 for r in batch], dtype=torch.int64)
        with self.forwards.timed("alloc"):
            if self.runtime.geometry.page_size == 1:
                loc = self.runtime.token_to_kv_pool_allocator.alloc(len(batch))
            else:
                loc = self.runtime.token_to_kv_pool_allocator.alloc_decode(
                    lengths, lengths, self._last_loc(batch)
                )
        if loc is None:
            raise self._out_of_memory("alloc_decode")
        rows = torch.tensor([r.req_pool_idx for r in batch], dtype=torch.int64)
        pool.write((rows, lengths - 1), loc.to(torch.int32))
        for request in batch:
            request.length += 1
            request.allocated = request.length
        return loc

    def _last_loc(self, batch: list[LabRequest]) -> torch.Tensor:
        """The slot of the last token each row holds, -1 for none."""
        held = torch.tensor([r.allocated for r in batch], dtype=torch.int64)
        rows = torch.tensor([r.req_pool_idx for r in batch], dtype=torch.int64)
        table = self.runtime.req_to_token_pool.req_to_token
        last = table[rows, (held - 1).clamp(min=0)].to(torch.int64)
        return torch.where(held > 0, last, -1)

    def _out_of_memory(self, where: str) -> MemoryError:
        allocator = self.runtime.token_to_kv_pool_allocator
        return MemoryError(f"{where} returned None at step {self.step}: {allocator.debug_print()}")

    def _accept(self, batch: list[LabRequest], ended: list[LabRequest]) -> None:
        """Accept 1 to `draft_tokens` tokens a row, release what was rejected, finish rows."""
        s = self.scenario
        drafts = s.draft_tokens - 1
        extra = self.rng.binomial(drafts, (s.mean_accept - 1) / drafts, len(batch))
        for request, more in zip(batch, extra, strict=True):
            if request in ended:
                continue
            before = request.length
            request.length += 1 + int(more)
            if not self.overlap:
                request.length = min(request.length, request.final_tokens)
            request.reported = before if self.overlap else request.length
            request.decode_batch_idx += 1
            if not s.keeps_rejected:
                self._release_rejected(request)
            self._end_of_step(request)

    def _end_of_step(self, request: LabRequest) -> None:
        """Under overlap the result of a step is seen one step later."""
        seen = request.reported if self.overlap else request.length
        if seen >= request.final_tokens:
            self._finish(request)

    def _release_rejected(self, request: LabRequest) -> None:
        page = self.runtime.geometry.page_size
        keep = _pages(request.length, page) * page
        if request.allocated > keep:
            self._free(self._slots(request, keep, request.allocated))
        request.allocated = request.length

    def _finish(self, request: LabRequest) -> None:
        self._free(self._slots(request, 0, request.allocated))
        self.runtime.req_to_token_pool.free(request)
        self.running.remove(request)
        self.finished += 1

    def _free(self, slots: torch.Tensor) -> None:
        """With pages of one, 0.5.23 frees slots without an SWA peer apart, and so do we."""
        allocator = self.runtime.token_to_kv_pool_allocator
        if self.runtime.geometry.page_size == 1 and hasattr(allocator, "free_full"):
            paired = allocator.full_to_swa_index_mapping[slots] > 0
            allocator.free_full(slots[~paired])
            slots = slots[paired]
        if len(slots):
            allocator.free(slots)

    def _slots(self, request: LabRequest, start: int, stop: int) -> torch.Tensor:
        row = self.runtime.req_to_token_pool.req_to_token[request.req_pool_idx]
        return row[start:stop].to(torch.int64)


def _rows(batch: list[LabRequest]) -> list[Row]:
    """Rows and lengths as they are when a step is queued."""
    return [Row(int(request.req_pool_idx or 0), request.length, request.rid) for request in batch]


def _pages(tokens: int, page_size: int) -> int:
    return math.ceil(tokens / page_size)
