"""Drive request lifecycles through SGLang's real classes: the part a scheduler would play.

`overlap` delays what the scheduler knows by one step, as SGLang's default
overlap scheduler does; eviction depends on it.

By hand, because SGLang's scheduler needs a model: admission, chunking, the
draft and verify order of a frozen-KV MTP step, the random number of accepted
tokens, the release of wholly rejected pages, finish. Eviction from the sliding
window is SGLang's own function. Everything is deterministic from the seed.
"""

from __future__ import annotations

import inspect
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from triage.lab.request import LabRequest, evict_before_decode, evict_before_extend
from triage.lab.runtime import Runtime, bind_index_plan
from triage.lab.scenarios import Scenario

Progress = Callable[[int, int], None]


class Driver:
    """Runs one scenario. `watch` is told which forward and layer the next launch belongs to."""

    def __init__(
        self, scenario: Scenario, runtime: Runtime, watch: Any, seed: int, overlap: bool
    ) -> None:
        from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode
        from sglang.srt.speculative import frozen_kv_mtp_utils

        self.scenario, self.runtime, self.watch = scenario, runtime, watch
        self.overlap = overlap
        self.forward_batch_class, self.mode = ForwardBatch, ForwardMode
        self.views = frozen_kv_mtp_utils
        self.rng = np.random.default_rng(seed)
        self.waiting = deque(self._requests())
        self.running: list[LabRequest] = []
        self.finished = 0
        self.step = 0
        self.seconds: defaultdict[str, float] = defaultdict(float)
        g = runtime.geometry
        widest = max(scenario.chunk, scenario.concurrency * scenario.draft_tokens)
        self._rows = torch.zeros(widest, g.num_heads, g.head_dim, dtype=torch.float16)

    def _requests(self) -> Iterator[LabRequest]:
        s = self.scenario
        for rid in range(s.requests):
            # +-2 % on the prompt, so that rows do not march in step.
            jitter = int(self.rng.integers(-(s.prompt_tokens // 50), 1))
            yield LabRequest(rid, s.prompt_tokens + jitter, s.output_tokens)

    # -- the loop ----------------------------------------------------------------------

    def run(self, progress: Progress, max_steps: int | None = None) -> None:
        """Until every request has finished, or `max_steps` decode steps."""
        while self.waiting or self.running:
            self._admit()
            if self.running:
                self.watch.step = self.step
                self._decode_step()
                self.step += 1
            progress(self.finished, self.scenario.requests)
            if max_steps is not None and self.step >= max_steps:
                return

    def _admit(self) -> None:
        allocator = self.runtime.token_to_kv_pool_allocator
        page = self.runtime.geometry.page_size
        while self.waiting and len(self.running) < self.scenario.concurrency:
            request = self.waiting[0]
            need = _pages(request.prompt_tokens + request.output_tokens, page) * page
            reserved = sum(_pages(r.final_tokens - r.length, page) * page for r in self.running)
            if allocator.full_available_size() < need + reserved:
                if not self.running:
                    raise MemoryError(
                        f"request {request.rid} needs {need} slots, the full pool has "
                        f"{allocator.full_available_size()} free"
                    )
                return
            if not self.runtime.req_to_token_pool.alloc([request]):
                return
            self.waiting.popleft()
            while request.length < request.prompt_tokens:
                self._prefill_chunk(request)
            self.running.append(request)

    # -- forwards ----------------------------------------------------------------------

    def _prefill_chunk(self, request: LabRequest) -> None:
        start = request.length
        stop = min(request.prompt_tokens, start + self.scenario.chunk)
        evict_before_extend(self.runtime, request, self.scenario.chunk if self.overlap else 0)
        loc = self._extend([request], [stop])
        request.length = stop
        fb = self._forward_batch(
            self.mode.EXTEND,
            [request],
            out_cache_loc=loc,
            num_tokens=stop - start,
            extend_seq_lens=torch.tensor([stop - start], dtype=torch.int32),
            extend_prefix_lens=torch.tensor([start], dtype=torch.int32),
            extend_seq_lens_cpu=[stop - start],
            extend_prefix_lens_cpu=[start],
            extend_num_tokens=stop - start,
        )
        self._target_forward(fb, [request])

    def _decode_step(self) -> None:
        batch = list(self.running)
        evict_before_decode(self.runtime, batch)
        self._draft(batch)
        before = [r.length for r in batch]
        width = self.scenario.draft_tokens
        with self._timed("alloc"):
            loc = self._extend(batch, [n + width for n in before])
        fb = self._forward_batch(
            self.mode.TARGET_VERIFY, batch, out_cache_loc=loc, num_tokens=width * len(batch)
        )
        self._target_forward(fb, batch)
        self._accept(batch)

    def _draft(self, batch: list[LabRequest]) -> None:
        backend, context = self.runtime.draft_backend, self.runtime.kv_context
        fb = self._forward_batch(self.mode.DECODE, batch, out_cache_loc=None, num_tokens=len(batch))
        fb.token_to_kv_pool = self.runtime.draft_own_pool
        fb.attn_backend = backend
        view = self._view(self.views.frozen_kv_target_view, fb, context, backend)
        bind_index_plan(backend, fb)
        with self._timed("metadata"), view:
            backend.init_forward_metadata(fb)
        self.watch.forward("draft", fb, batch)
        for _ in range(self.scenario.draft_steps):
            view = self._view(self.views.target_kv_pool_view, fb, context, backend)
            with self._timed("launches"), view:
                for layer in self.runtime.draft_attention:
                    self.watch.layer = layer
                    backend.forward_decode(
                        self._rows[: len(batch)], None, None, layer, fb, save_kv_cache=False
                    )

    def _target_forward(self, fb: Any, batch: list[LabRequest]) -> None:
        backend = self.runtime.target_backend
        fb.token_to_kv_pool = self.runtime.token_to_kv_pool
        fb.attn_backend = backend
        bind_index_plan(backend, fb)
        with self._timed("metadata"):
            backend.init_forward_metadata(fb)
        self.watch.forward("target", fb, batch)
        rows = self._rows[: fb.input_ids.shape[0]]
        own = self.runtime.geometry.own_kv_layers
        with self._timed("launches"):
            for index, layer in enumerate(self.runtime.layers):
                self.watch.layer = layer
                kv = rows if index < own else None
                backend.forward_extend(rows, kv, kv, layer, fb, save_kv_cache=kv is not None)

    def _forward_batch(
        self,
        mode: Any,
        batch: list[LabRequest],
        *,
        out_cache_loc: torch.Tensor | None,
        num_tokens: int,
        **extra: Any,
    ) -> Any:
        lengths = torch.tensor([r.length for r in batch], dtype=torch.int64)
        indices = torch.tensor([r.req_pool_idx for r in batch], dtype=torch.int64)
        fb = self.forward_batch_class(
            forward_mode=mode,
            batch_size=len(batch),
            input_ids=torch.zeros(num_tokens, dtype=torch.int64),
            req_pool_indices=indices,
            seq_lens=lengths,
            out_cache_loc=out_cache_loc,
            seq_lens_sum=int(lengths.sum()),
            seq_lens_cpu=lengths,
            **extra,
        )
        fb.req_to_token_pool = self.runtime.req_to_token_pool
        return fb

    def _view(self, view: Any, fb: Any, context: Any, backend: Any) -> Any:
        """The views take the draft backend from 0.5.13.post1 on."""
        takes_backend = len(inspect.signature(view).parameters) == 3
        return view(fb, context, backend) if takes_backend else view(fb, context)

    # -- lifecycle by hand -------------------------------------------------------------

    def _extend(self, batch: list[LabRequest], new_lengths: list[int]) -> torch.Tensor:
        """Allocate slots up to `new_lengths` and write them into req_to_token."""
        pool = self.runtime.req_to_token_pool
        prefix = torch.tensor([r.length for r in batch], dtype=torch.int64)
        target = torch.tensor(new_lengths, dtype=torch.int64)
        rows = torch.tensor([r.req_pool_idx for r in batch], dtype=torch.int64)
        last = torch.where(
            prefix > 0,
            pool.req_to_token[rows, (prefix - 1).clamp(min=0)].to(torch.int64),
            torch.tensor(-1, dtype=torch.int64),
        )
        loc = self.runtime.token_to_kv_pool_allocator.alloc_extend(
            prefix, prefix, target, target, last, int((target - prefix).sum())
        )
        if loc is None:
            raise MemoryError(
                f"alloc_extend returned None at step {self.step}: "
                f"{self.runtime.token_to_kv_pool_allocator.debug_print()}"
            )
        at = 0
        for request, stop in zip(batch, new_lengths, strict=True):
            count = stop - request.length
            pool.write(
                (request.req_pool_idx, slice(request.length, stop)),
                loc[at : at + count].to(torch.int32),
            )
            request.allocated = max(request.allocated, stop)
            at += count
        return loc

    def _accept(self, batch: list[LabRequest]) -> None:
        """Accept 1 to `draft_tokens` tokens a row, free wholly rejected pages, finish rows."""
        s = self.scenario
        drafts = s.draft_tokens - 1
        extra = self.rng.binomial(drafts, (s.mean_accept - 1) / drafts, len(batch))
        for request, more in zip(batch, extra, strict=True):
            before = request.length
            request.length = min(request.length + 1 + int(more), request.final_tokens)
            request.reported = before if self.overlap else request.length
            request.decode_batch_idx += 1
            self._release_rejected(request)
            if request.length >= request.final_tokens:
                self._finish(request)

    def _release_rejected(self, request: LabRequest) -> None:
        page = self.runtime.geometry.page_size
        keep = _pages(request.length, page) * page
        if request.allocated > keep:
            slots = self._slots(request, keep, request.allocated)
            self.runtime.token_to_kv_pool_allocator.free(slots)
        request.allocated = request.length

    def _finish(self, request: LabRequest) -> None:
        slots = self._slots(request, 0, request.allocated)
        self.runtime.token_to_kv_pool_allocator.free(slots)
        self.runtime.req_to_token_pool.free(request)
        self.running.remove(request)
        self.finished += 1

    def _slots(self, request: LabRequest, start: int, stop: int) -> torch.Tensor:
        row = self.runtime.req_to_token_pool.req_to_token[request.req_pool_idx]
        return row[start:stop].to(torch.int64)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - started


def _pages(tokens: int, page_size: int) -> int:
    return math.ceil(tokens / page_size)
