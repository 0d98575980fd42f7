"""Where the scheduler's steps are: launch, forward, result, and the loop an exception leaves.

The same four names stand in every release read (0.5.12.post1 to 0.5.23). A target
that cannot be found, as in a process without SGLang's server dependencies, is
listed in `absent` with the reason: the exception of mode `contain` then has nobody
to come before.
"""

from __future__ import annotations

import logging
import pkgutil
from collections.abc import Callable
from typing import Any

import torch

from triage.invariants.catalogue import READS_DEVICE
from triage.sglang.binding.bypassed import Hooked, of_scheduler
from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.names import request_rows
from triage.sglang.binding.patches import Patch
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.wrapping import Function, Parameters, written_out
from triage.sglang.holders import row_of
from triage.sglang.launch.coverage import served_by, uncovered
from triage.sglang.launch.hot_state import HotState
from triage.sglang.scheduler.history import History
from triage.sglang.scheduler.metrics import Metrics
from triage.sglang.scheduler.steps import Steps

SCHEDULER = "sglang.srt.managers.scheduler.Scheduler"
RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"

logger = logging.getLogger("triage")

_STEP = "_sglang_triage_step"
_MOVED = "rows moved while a step is queued"


class Scheduling:
    """The hooks of `steps` and `history`; `hot` says whether they are armed.

    `absent`: target -> why there is none. `hooked`: where hooks of this process stand.
    """

    def __init__(self, steps: Steps, history: History, hot: HotState) -> None:
        self.reporter = steps.reporter
        self.hot = hot
        self.steps = steps
        self.history = history
        self.metrics = Metrics(steps.reporter, hot)
        self.absent: dict[str, str] = {}
        self.hooked: Hooked = frozenset()

    def hooks(self) -> list[Hook]:
        return [
            *self._present(f"{RUNNER}.forward", self.forward, "stream of the forward"),
            *self._present(
                f"{SCHEDULER}.run_batch", self.run_batch, "number of a step, and its mark"
            ),
            *self._present(
                f"{SCHEDULER}.process_batch_result",
                self.process_batch_result,
                "verdict before a step's tokens leave",
            ),
            *(
                hook
                for rows in request_rows()
                for hook in self._present(f"{rows}.free", self.row_released, _MOVED)
            ),
        ]

    def loop_hooks(self) -> list[Hook]:
        """What stands around the whole loop."""
        return self._present(
            f"{SCHEDULER}.run_event_loop", self.run_event_loop, "ring dump on an exception"
        )

    def patches(self) -> list[Patch]:
        """What every step calls; see `patches.py`."""
        return [Patch(f"{rows}.write", self.row_written, _MOVED) for rows in request_rows()]

    def _present(self, target: str, around: Callable[..., Any], why: str) -> list[Hook]:
        try:
            pkgutil.resolve_name(target)
        except (ImportError, AttributeError) as error:
            self.absent[target] = f"{why}: {error}"
            return []
        return [Hook(target, around, why)]

    # -- rows that move while a step is queued: `in_flight.py` -------------------------------

    def row_released(
        self, original: Any, rows: Any, request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if self.hot.armed:
            row = row_of(request)
            if row is not None:
                self.steps.in_flight.released(row, self.steps.current)
                if self.steps.order is not None:
                    self.steps.order.moved("given back", row)
        return original(rows, request, *args, **kwargs)

    def row_written(self, original: Function) -> Function:
        """Makes the wrapper of `write(self, indices, values)`.

        One row of the host's choosing is a prefix cache's doing, or an extend's before it is
        queued; the rows of a decode step are a tensor and only grow.
        """
        parameters = Parameters.of(original)
        where = "indices"
        if where not in parameters.names:  # hooked beside the ledger, by SGLang's registry
            where = "(args[1] if len(args) > 1 else kwargs['indices'])"
        body = f"""
try:
    _where = {where}
    if hot.armed and _where.__class__ is tuple and _where[0].__class__ is int:
        note(_where[0], _where[1])
except Exception as _problem:
    failed(_problem)
return original(PASSED)
"""
        return written_out(
            original,
            parameters,
            body,
            hot=self.hot,
            note=self._row_rewritten,
            failed=self.reporter.launch_shell.failed,
        )

    def _row_rewritten(self, row: int, tokens: Any) -> None:
        if isinstance(tokens, slice) and tokens.stop is not None:
            steps = self.steps
            start, stop = int(tokens.start or 0), int(tokens.stop)
            steps.in_flight.rewritten(row, start, stop, steps.current)
            if steps.order is not None:
                steps.order.moved("rewritten", row)

    # -- the steps -----------------------------------------------------------------------------

    def forward(self, original: Any, runner: Any, *args: Any, **kwargs: Any) -> Any:
        witness = self.steps.witness
        if witness is not None and witness.looking and self.hot.armed:
            witness.batch(args[0] if args else kwargs.get("forward_batch"))
        output = original(runner, *args, **kwargs)
        if self.hot.armed and not runner.is_draft_worker:
            self.steps.forward_done()
        return output

    def run_batch(self, original: Any, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.hot.armed:
            return original(scheduler, *args, **kwargs)
        self.reporter.serving = True  # a scheduler may have a loop of its own
        self.reporter.holders.note(scheduler)
        step = self.steps.begin()
        result = original(scheduler, *args, **kwargs)
        self.steps.end()
        if result is not None:
            setattr(result, _STEP, step)
        return result

    def process_batch_result(
        self, original: Any, scheduler: Any, batch: Any, result: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Under pipeline parallelism the result is another object: every mark is waited for."""
        if self.hot.armed:
            self.steps.release(getattr(result, _STEP, None), batch)
        return original(scheduler, batch, result, *args, **kwargs)

    def say_what_is_uncovered(self, scheduler: Any) -> None:
        """One line of the log each, now that the server's flags are resolved.

        What the mode leaves out everywhere was said when the traps were armed.
        """

        enabled = self.reporter.enabled
        if not self.reporter.reads_device:
            enabled = enabled - READS_DEVICE
        server = served_by(getattr(scheduler, "server_args", None), gpu_arch())
        for sentence in uncovered(server, self.reporter.mode, enabled, READS_DEVICE):
            logger.warning("sglang-triage does not cover %s", sentence)
        found = attempt("looking at the pools", lambda: of_scheduler(scheduler, self.hooked), {})
        for what, why in found.items():
            logger.warning("sglang-triage does not cover %s: %s", what, why)
        self.reporter.not_seen = found

    def run_event_loop(self, original: Any, scheduler: Any, *args: Any, **kwargs: Any) -> Any:
        if not self.reporter.armed:
            return original(scheduler, *args, **kwargs)
        self.reporter.serving = True
        self.reporter.holders.note(scheduler)
        self.say_what_is_uncovered(scheduler)
        with self.metrics.published(scheduler):
            try:
                with self.history.listening():
                    return original(scheduler, *args, **kwargs)
            # Whatever ends the server, SystemExit and a sticky CUDA error included: the ring is
            # written from host memory and the very same exception goes on.
            except BaseException as error:
                self.history.leaving(error, "Scheduler.run_event_loop")
                raise


def gpu_arch() -> str:
    """ "sm_90" and so on of the current GPU; "" without one."""
    if not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability()
    return f"sm_{major}{minor}"
