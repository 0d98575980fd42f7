"""I19 when a server starts: is each pool as large as what uses it needs?

The failure: a draft's pool is sized before the target's is split into a full and an SWA side, and
has fewer rows than the allocator that both share hands out (sgl-project/sglang#17630); or the SWA
side is smaller than a window and a page, and every request waits for ever (#37610). Both are
comparisons of integers that are known before the first request.

Looked at where an attention backend is built, and again when the scheduler's loop begins, which
every backend passes. Each sentence is told once.

Not covered: allocators beside the three named here (unified, HiSparse, ring), whose slots are not
rows of one pool; a draft that reads the target's pool, and its own is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triage.evidence import Evidence
from triage.invariants.geometry import check_shared_index_range, check_swa_floor
from triage.sglang.launch.pools import is_hybrid
from triage.sglang.reporter import Reporter

ALLOCATORS = (
    "SWATokenToKVPoolAllocator",
    "PagedTokenToKVPoolAllocator",
    "TokenToKVPoolAllocator",
)
"""By their very class: a subclass may mean something else by its size."""

_WORKERS = ("draft_worker", "model_worker", "tp_worker")
_RUNNERS = ("model_runner", "draft_model_runner", "draft_runner")


class SizesAtStart:
    """Of one process. Host integers only."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.restart()

    def restart(self) -> None:
        self._told: set[str] = set()

    def around_backend(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        runner = args[0] if args else kwargs.get("model_runner")
        self._tell(runner, getattr(runner, "token_to_kv_pool_allocator", None), "__init__", backend)
        return original(backend, *args, **kwargs)

    def around_loop(self, original: Any, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        self.of_scheduler(scheduler)
        return original(scheduler, *args, **kwargs)

    def of_scheduler(self, scheduler: Any) -> None:
        """The pools of every runner that the scheduler's workers have."""
        shared = getattr(scheduler, "token_to_kv_pool_allocator", None)
        for runner in runners_of(scheduler):
            allocator = getattr(runner, "token_to_kv_pool_allocator", None) or shared
            self._tell(runner, allocator, "run_event_loop", scheduler)

    def hooked_start(self, scheduler: Any) -> None:
        """`around_loop` as its hook runs it, for a driver that has no `Scheduler`."""
        if self.reporter.armed:
            around = self.reporter.group(WHY).around(lambda original: self.of_scheduler(scheduler))
            around(lambda: None)

    def _tell(self, runner: Any, allocator: Any, call: str, of: Any) -> None:
        if type(allocator).__name__ not in ALLOCATORS:
            return
        where = f"{type(of).__name__}.{call}"
        for found in (draft_pool(runner, allocator, where), swa_side(runner, allocator, where)):
            if found is not None and found.summary not in self._told:
                self._told.add(found.summary)
                self.reporter.fire_event(found)


WHY = "sizes of pools at the start (I19)"


def draft_pool(runner: Any, allocator: Any, where: str) -> Evidence | None:
    """A draft that owns its pool is handed every slot of the shared allocator."""
    pool: Any = getattr(runner, "token_to_kv_pool", None)
    algorithm = getattr(runner, "spec_algorithm", None)
    frozen = algorithm is not None and algorithm.is_frozen_kv_mtp()
    size = getattr(pool, "size", None)
    if size is None or frozen or is_hybrid(pool) or not getattr(runner, "is_draft_worker", False):
        return None
    page = int(allocator.page_size)
    return check_shared_index_range(
        "draft",
        pool_rows=int(size) + page,
        allocator_size=_full_slots(allocator),
        page_size=page,
        where=where,
    )


def swa_side(runner: Any, allocator: Any, where: str) -> Evidence | None:
    """The SWA side of the allocator that the target's requests live in."""
    window = getattr(runner, "sliding_window_size", None)
    slots = getattr(allocator, "size_swa", None)
    if not window or slots is None or getattr(runner, "is_draft_worker", False):
        return None
    rows = getattr(getattr(runner, "req_to_token_pool", None), "req_to_token", None)
    full = _full_slots(allocator)
    context = getattr(getattr(runner, "model_config", None), "context_len", None)
    longest = min(
        full,
        full if rows is None else int(rows.shape[1]),
        context if isinstance(context, int) else full,
    )
    return check_swa_floor(
        swa_slots=int(slots),
        full_slots=full,
        window=int(window),
        page_size=int(allocator.page_size),
        longest=longest,
        where=where,
    )


def runners_of(scheduler: Any) -> Iterator[Any]:
    """The model runners of the scheduler's workers, each once, as its releases name them."""
    seen: set[int] = set()
    for name in _WORKERS:
        worker = _part(scheduler, name)
        for holder in (worker, _part(worker, "draft_worker")):
            listed = list(_part(holder, "draft_runner_list") or ())
            for runner in (*(_part(holder, each) for each in _RUNNERS), *listed):
                if runner is not None and id(runner) not in seen:
                    seen.add(id(runner))
                    yield runner


def _part(holder: Any, name: str) -> Any:
    """A worker may have the name and refuse it: `BaseTpWorker.model_runner` of some of them."""
    try:
        return getattr(holder, name, None)
    except Exception:  # a property of SGLang's may raise anything
        return None


def _full_slots(allocator: Any) -> int:
    size = getattr(allocator, "size_full", None)
    return int(allocator.size if size is None else size)
