"""Several jobs' servers side by side on one GPU, within a budget of seconds."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

from triage.lab.server.smoke.results import Clock
from triage.lab.server.smoke.rig import Rig

APART_S = 4.0
"""Between two starts: each looks for free memory and a free port first."""

CLOSING_S = 25.0
"""Before the end of the budget: servers are stopped and everything is packed in it."""


def play(
    rigs: Sequence[Rig],
    clock: Clock,
    *,
    servers: int = 3,
    tell: Callable[[str], None] = lambda sentence: None,
    after: Callable[[Rig], object] = lambda rig: None,
) -> None:
    """Play `rigs` in order, `servers` at a time, until all are done or the budget is spent.

    after: called with every job's rig behind it, one call at a time.
    Returns with every server stopped.
    """
    waiting: queue.Queue[Rig] = queue.Queue()
    for rig in rigs:
        waiting.put(rig)
    started, after_lock = threading.Lock(), threading.Lock()
    running: set[Rig] = set()

    def work() -> None:
        while not clock.over:
            try:
                rig = waiting.get_nowait()
            except queue.Empty:
                return
            if rig.done:
                tell(f"{rig.job.name}: done before")
                continue
            if clock.left < rig.job.least_s:
                tell(f"{rig.job.name}: {clock.left:.0f} s left, it needs {rig.job.least_s:.0f}")
                rig.not_played("start", "the budget was spent")
                continue
            with started:
                running.add(rig)
                tell(f"{rig.job.name}: starts, {clock.left:.0f} s left; {rig.job.why}")
                time.sleep(min(APART_S, clock.left) if len(running) > 1 else 0)
            began = time.monotonic()
            rig.play()
            running.discard(rig)
            tell(f"{rig.job.name}: over after {time.monotonic() - began:.0f} s; {verdicts(rig)}")
            with after_lock:
                after(rig)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(max(1, servers))]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        if clock.over:
            stop_all(list(running))
            for worker in workers:
                worker.join(2.0)
            break
        time.sleep(0.5)


def stop_all(rigs: Sequence[Rig]) -> None:
    """Stop every server at the same time; each takes seconds."""
    stopping = [threading.Thread(target=rig.stop, daemon=True) for rig in rigs]
    for each in stopping:
        each.start()
    for each in stopping:
        each.join(CLOSING_S / 2)


def verdicts(rig: Rig) -> str:
    """The job's cells in one line."""
    words = {True: "held", False: "DID NOT HOLD", None: "not played"}
    said = []
    for name in rig.names:
        cell = rig.results.cells.get(f"{rig.job.name}/{name}")
        held = None if cell is None else cell.held
        why = f" ({cell.why[:160]})" if cell is not None and held is not True else ""
        said.append(f"{name} {words[held]}{why}")
    return ", ".join(said)
