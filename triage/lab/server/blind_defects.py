"""Defects of a blind round in a real server, each with an oracle of its own.

    row-zero    sgl-project/sglang#24243: row 0 of the request table, which the padded rows of a
                graph read, is given to a request
    write-tail  sgl-project/sglang#24743: the Triton backend does not zero its graph's SWA write
                slots behind the live tokens, so a padded token writes where an earlier replay did

Two more of that round's defects need no plugin of their own: sgl-project/sglang#29352 is in 0.5.14
as it stands, and sgl-project/sglang#26966 is `stale-swa-state`.

What is wrong shows in no table of a request, so the general oracle sees nothing: each writes the
`wrong` line of its first wrong step into that oracle's file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from triage.errors import LabError
from triage.lab.patching import replaced
from triage.lab.server.late import (
    Lines,
    Moments,
    Observer,
    Step,
    capturing,
    complain,
    moments,
    side_copy,
)

On = Callable[[], bool]
"""Has the defect begun?"""


class SelfTold(Observer):
    """A defect that says itself when the state is first wrong, once, in the oracle's words."""

    def __init__(self, on: On, told: Path | None) -> None:
        self.on = on
        self.lines = None if told is None else Lines(told)
        self.harmed = False
        self._held: list[Any] = []  # contexts that last as long as the process

    def harm(self, step: int, form: str, space: str, what: str) -> None:
        if self.harmed:
            return
        self.harmed = True
        complain(f"{type(self).__name__} in step {step}: {what}")
        if self.lines is not None:
            self.lines.write(
                "wrong",
                step=step,
                role="target",
                form=form,
                space=space,
                entries=1,
                entries_of_ended=0,
                example={"what": what},
            )

    def keep(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace below whatever hooks stand on it, for the life of the process."""
        context = replaced(owner, name, make)
        context.__enter__()
        self._held.append(context)


class RowZero(SelfTold):
    """Row 0 joins the free rows once the defect begins; wrong is the first request that has it."""

    begun = False

    def bind(self, moments: Moments) -> None:
        from sglang.srt.mem_cache.memory_pool import ReqToTokenPool

        self.moments = moments
        self.keep(ReqToTokenPool, "alloc", self._alloc)

    def begin(self, step: Step) -> None:
        if self.begun or not self.on():
            return
        table = self.moments.scheduler.req_to_token_pool
        if not isinstance(table.free_slots, list):
            raise LabError(f"free rows are a {type(table.free_slots).__name__}, not a list")
        self.begun = True
        table.free_slots.insert(0, 0)

    def _alloc(self, original: Any) -> Any:
        def alloc(table: Any, *args: Any, **kwargs: Any) -> Any:
            rows = original(table, *args, **kwargs)
            if self.begun and rows and 0 in [int(row) for row in rows]:
                self.harm(self.moments.now, "plan", "full", "a request was given row 0")
            return rows

        return alloc


@dataclass(frozen=True, slots=True)
class _Tail:
    """SWA write slots of a graph's padded tokens, on their way to the host."""

    slots: Tensor
    done: Any  # a CUDA event, None on a CPU


class WriteTail(SelfTold):
    """The tail is put back behind SGLang's refill, as if that had not zeroed it.

    Wrong is the first replay with a padded token whose write slot is not in the dummy page.
    """

    page = 1

    def bind(self, moments: Moments) -> None:
        from sglang.srt.layers.attention.triton_backend import TritonAttnBackend

        name = "_fill_cuda_graph_swa_out_cache_loc"
        if not hasattr(TritonAttnBackend, name):
            raise LabError(f"write-tail needs TritonAttnBackend.{name}: SGLang 0.5.14 or newer")
        self.page = int(moments.pools[0].page_size)
        self.keep(TritonAttnBackend, name, self._fill)

    def _fill(self, original: Any) -> Any:
        def _fill_cuda_graph_swa_out_cache_loc(backend: Any, forward_batch: Any) -> Any:
            step = moments().step
            if step is None or capturing() or not self.on():
                return original(backend, forward_batch)
            buffer = backend.cuda_graph_swa_out_cache_loc
            before = buffer.clone()
            out = original(backend, forward_batch)
            if out is not None:
                # A replay's batch is padded with tokens of slot 0, and its own padding may follow.
                loc, live = forward_batch.out_cache_loc, int(out.shape[0])
                end = max(live, int(forward_batch.batch_size))
                padding = loc < self.page
                buffer[:live].copy_(before[:live].where(padding, buffer[:live]))
                buffer[live:].copy_(before[live:])
                stale = buffer[:end].clone()
                stale[:live].mul_(padding)
                step.copies.append(_tail(stale))
            return out

        return _fill_cuda_graph_swa_out_cache_loc

    def settle(self, step: Step) -> None:
        for copy in [each for each in step.copies if isinstance(each, _Tail)]:
            if copy.done is not None:
                copy.done.synchronize()
            stale = copy.slots[copy.slots >= self.page].tolist()
            if stale:
                what = f"padded tokens of a graph write to the SWA slots {stale[:8]}"
                self.harm(step.number, "captured", "swa", what)


def _tail(slots: Tensor) -> _Tail:
    copied = side_copy(slots)
    if not slots.is_cuda:
        return _Tail(copied, None)
    import torch

    event = torch.cuda.Event()
    event.record()
    return _Tail(copied, event)
