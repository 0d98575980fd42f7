"""SGLang's overlap loop around its own ScheduleBatch: a step is queued before the last is judged.

`Scheduler.event_loop_overlap` in the same order: plan step N + 1 (filter, merge, admit,
retract, allocate), queue it, look at the result of step N. So a request that ends in N, is
aborted, or is retracted by the plan of N + 2, is still in N + 1. Its pages are freed from
inside the queued forward (`landing.py`); a decode step with the inputs of a captured graph
may even run behind the next plan, as SGLang's scheduler waits for its snapshot only
(`_apply_war_barrier`).

Stubs are those of `schedule_batch.py`: the loop, the next token, and when a request is done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from triage.lab.drivers.landing import Landing
from triage.lab.drivers.schedule_batch import Progress, Scheduler, chunks_in_flight, retract
from triage.lab.runtime import Runtime
from triage.lab.scenarios import Scenario
from triage.lab.steps import StepGuard


@dataclass(slots=True)
class Queued:
    """A step whose result has not been looked at.

    rows: request -> its row of `req_to_token` when the step was queued.
    """

    step: int
    reqs: list[Any]
    rows: dict[Any, int]
    extend: bool
    run: Callable[[], None] | None = None


class OverlapScheduler(Scheduler):
    """Runs one scenario as SGLang's overlap scheduler does."""

    overlap = True

    def __init__(
        self,
        scenario: Scenario,
        runtime: Runtime,
        watch: Any,
        seed: int,
        guard: StepGuard,
        *,
        lands_inside: bool = True,
    ) -> None:
        super().__init__(scenario, runtime, watch, seed, guard)
        self.landing = Landing(seed, lands_inside)
        self.forwards.landing = self.landing
        self.last: Queued | None = None
        self.last_batch: Any = None  # the ScheduleBatch of `last`, where it is an extend
        self.waits: Queued | None = None  # queued, and runs behind the next plan
        self.aborted: set[Any] = set()

    @property
    def rows(self) -> int:
        merged = 0 if self.last_batch is None else len(self.last_batch.reqs)
        return super().rows + merged

    def abort(self, which: int) -> None:
        """As SGLang: it ends when the result of its step is looked at."""
        if self.running is not None and self.running.reqs:
            self.aborted.add(self.running.reqs[which % len(self.running.reqs)])

    def run(self, progress: Progress, max_steps: int | None = None) -> None:
        while self.rows or self.last is not None:
            self.tick()
            progress(self.finished, self.scenario.requests)
            if max_steps is not None and self.step >= max_steps:
                return

    def tick(self) -> None:
        """Plan a step, queue it, look at the result of the one before."""
        batch = self._plan()
        self._run(self.waits)
        self.waits = None
        last, self.last = self.last, None
        if last is not None:
            self.landing.expect(lambda: self._look_at(last))
        if batch is not None:
            self.last = self._queue(batch)
        elif last is None and self.rows:
            raise MemoryError(f"nothing can be admitted at step {self.step}")
        self.landing.behind()

    # -- planning --------------------------------------------------------------------------

    def _plan(self) -> Any:
        self._merge_last_extend()
        batch = self._admit()
        if batch is not None:
            self.last_batch = batch
            return batch
        if self.running is None:
            return None
        self.running.filter_batch()
        if self.running.reqs and not self.running.check_decode_mem():
            for req in self._retracted():
                self.waiting.appendleft(req)
        if not self.running.reqs:
            self.running = None
            return None
        # Up to 0.5.13.post1 the tokens of the step before stand on the batch, not known here.
        self.running.output_ids = torch.zeros(len(self.running.reqs), dtype=torch.int64)
        self.running.prepare_for_decode()
        return self.running

    def _merge_last_extend(self) -> None:
        batch, self.last_batch = self.last_batch, None
        if batch is None:
            return
        keep = [
            i for i, req in enumerate(batch.reqs) if req is not self.chunked and not req.finished()
        ]
        batch.filter_batch(keep_indices=keep)
        if not batch.reqs:
            return
        if self.running is None:
            self.running = batch
        else:
            self.running.merge_batch(batch)

    def _retracted(self) -> list[Any]:
        before = {req: _row(req) for req in self.running.reqs}
        gone = retract(self.running, self.runtime)
        self.watch.moved.update(before[req] for req in gone)
        return gone

    # -- queueing --------------------------------------------------------------------------

    def _queue(self, batch: Any) -> Queued:
        extend = bool(batch.forward_mode.is_extend())
        counts = (list(batch.prefix_lens), list(batch.extend_lens)) if extend else (None, None)
        self.watch.step = self.step
        self.watch.moved.clear()
        self.cur_batch = batch
        rows = dict(zip(batch.reqs, batch.req_pool_indices.tolist(), strict=True))
        queued = Queued(self.guard.begin(), list(batch.reqs), rows, extend)
        queued.run = self.forwards.from_schedule_batch(batch, *counts)
        later = self.scenario.graphs and not extend and self.landing.waits_for_the_next_plan()
        if later:
            self.waits = queued
        else:
            self._run(queued)
        self.step += not extend
        return queued

    def _run(self, queued: Queued | None) -> None:
        if queued is not None and queued.run is not None:
            run, queued.run = queued.run, None
            run()
            self.guard.end()

    # -- looking at a result ---------------------------------------------------------------

    def _look_at(self, queued: Queued) -> None:
        """`process_batch_result_prefill` and `_decode`, as far as memory goes."""
        self.guard.release(queued.step)
        with nullcontext() if queued.extend else self._frees_in_a_group():
            self._process(queued)

    def _process(self, queued: Queued) -> None:
        for req in queued.reqs:
            if req.finished() or req.is_retracted:
                continue
            if queued.extend and chunks_in_flight(req) > 0:
                self._count_chunk(req, -1)
                continue
            self._next_token(req)
            if self._done(req):
                self.watch.moved.add(queued.rows[req])
                self._release(req)
            elif queued.extend:
                self.watch.moved.add(queued.rows[req])
                self._cache_unfinished(req)

    def _done(self, req: Any) -> bool:
        from sglang.srt.managers.schedule_batch import FINISH_ABORT

        if req in self.aborted:
            self.aborted.discard(req)
            req.finished_reason = FINISH_ABORT("aborted by the lab")
        return super()._done(req)


def _row(req: Any) -> int:
    """Its row of `req_to_token`; from 0.5.23 on its KV record."""
    record = getattr(req, "kv", None)
    row = getattr(record, "req_pool_idx", None)
    return int(req.req_pool_idx if row is None else row)
