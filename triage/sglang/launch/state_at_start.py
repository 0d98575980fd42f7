"""I2 where a backend is built: is its SWA state that of the pool that it will read?

The failure: a backend resolves the pool to translate by from the wrong object. A draft that owns
its pool takes the target's mapping (sgl-project/sglang#27491), or a frozen draft, which reads the
target's pool, believes that there is none (#26966). No id is wrong until both index spaces part,
many steps later. Which pool it will read is known when it is built.

trtllm_mha builds on FlashInfer's backend, which keeps the same state from 0.5.14 on; both are
asked. Logged, once of each kind, and never raised: the exception comes with the first wrong id.
Nothing is said where a fix of ours is armed that moves the state with the pool.

Not covered: pools of other classes than `SWAKVPool`, which a backend may translate by in its own
way; releases that keep no such state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.sglang.launch.pools import is_hybrid, stale_state, swa_state
from triage.sglang.reporter import Reporter

MOVED_BY = ("state-swap", "draft-own-pool")
"""The fixes under which the state at construction is not the one that is read by."""

WHY = "a backend's SWA state when it is built (I2)"


class StateAtStart:
    """Of one process. `moved`: is a fix armed that moves the state later?"""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.moved: Callable[[], bool] = lambda: False
        self.restart()

    def restart(self) -> None:
        self._told: set[str] = set()

    def around_backend(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(backend, *args, **kwargs)
        if not self.moved():
            runner = args[0] if args else kwargs.get("model_runner")
            found = state_of(backend, runner)
            if found is not None and found.summary not in self._told:
                self._told.add(found.summary)
                self.reporter.log_event(found)
        return result


def pool_that_is_read(runner: Any) -> Any:
    """The runner's own; of a frozen draft the target's, which the shared allocator fills."""
    algorithm: Any = getattr(runner, "spec_algorithm", None)
    drafts = getattr(runner, "is_draft_worker", False) and algorithm is not None
    if drafts and algorithm.is_frozen_kv_mtp():
        return runner.token_to_kv_pool_allocator.get_kvcache()
    return getattr(runner, "token_to_kv_pool", None)


def state_of(backend: Any, runner: Any) -> Evidence | None:
    """What is wrong with the state that the backend has just taken; None if nothing is."""
    pool = pool_that_is_read(runner)
    if is_hybrid(pool) and type(pool).__name__ != "SWAKVPool":
        return None
    stale = stale_state(backend, pool)
    if stale is None:
        return None
    role = "draft" if getattr(runner, "is_draft_worker", False) else "target"
    return Evidence(
        "I2",
        f"{stale}; no id is wrong yet, the first one that is will be told",
        f"{type(backend).__name__}.__init__ of the {role}",
        pool="swa",
        total=1,
        facts={
            "own_pool": not is_hybrid(pool),
            "role": role,
            "reads": type(pool).__name__,
            "swa_state": swa_state(backend),
        },
        kind=Found.STATE_OF_ANOTHER_POOL,
    )
