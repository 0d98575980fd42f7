"""What the driver tells a guard of its steps, as hooks on SGLang's scheduler do in a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from triage.sglang.allocator.step_books import StepBooks
    from triage.sglang.scheduler.steps import Steps


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


class ShelledSteps:
    """`steps`, each call inside the shell that the hooks on SGLang's scheduler have.

    `books` are asked first, as their hook on `Scheduler.run_batch` does.
    """

    def __init__(self, steps: Steps, books: StepBooks) -> None:
        self.steps, self.books = steps, books
        self._around = steps.reporter.launch_shell.around

    def begin(self) -> int:
        self.books.hooked_step()
        return int(self._call(self.steps.begin))

    def forward_done(self) -> None:
        self._call(self.steps.forward_done)

    def end(self) -> None:
        self._call(self.steps.end)

    def release(self, step: int | None) -> None:
        self._call(self.steps.release, step)

    def _call(self, what: Callable[..., Any], *arguments: Any) -> Any:
        hook = self._around(lambda _, *given: what(*given))
        return hook(lambda *_: self.steps.current, *arguments)


class NoSteps:
    """No traps are armed."""

    def begin(self) -> int:
        return 0

    def forward_done(self) -> None: ...

    def end(self) -> None: ...

    def release(self, step: int | None) -> None: ...
