"""What the driver tells a guard of its steps, as hooks on SGLang's scheduler do in a server."""

from __future__ import annotations

from typing import Protocol


class StepGuard(Protocol):
    """`triage/sglang/scheduler/steps.py: Steps` is one."""

    def begin(self) -> int:
        """Scheduler.run_batch is entered."""

    def forward_done(self) -> None:
        """The target's ModelRunner.forward has returned."""

    def end(self) -> None:
        """Scheduler.run_batch returns: the step is queued, drafts behind the target included."""

    def release(self, step: int | None) -> None:
        """Scheduler.process_batch_result is entered."""


class NoSteps:
    """No traps are armed."""

    def begin(self) -> int:
        return 0

    def forward_done(self) -> None: ...

    def end(self) -> None: ...

    def release(self, step: int | None) -> None: ...
