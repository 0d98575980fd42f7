"""I28: every Nth step, the outputs of a few launches are computed again from what they read.

The failure: the table is right and the output is wrong, and every check of tables says clean
(flashinfer-ai/flashinfer#4382, #3864). A table's check and this one split the blame: a wrong
table whose output is right for it is the table's, an output that is wrong for the very pages
that were read is the kernel's.

    begin      a step begins: is it one that is looked at?
    observe    behind a launch of such a step: copies are queued (`sample.py`)
    release    before the step's tokens leave: compared (`judge.py`), if its tables were sound

Under a capture nothing is read: the graph itself copies queries, outputs, lengths and ids of rows
0 to 3, of the first launch of each kind, into buffers that nobody else writes to. In a step that
is looked at the pages are copied behind the replay, on its stream: that nobody writes to those
keys between the launch and the end of its graph is taken for granted, and said in a finding.

An error of ours switches the witness off and changes nothing else. The comparison runs on a
stream of its own and waits for that one alone.

Long because steps, launches, graphs and the verdict share the state of one step.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from triage.device import capture
from triage.dump.sections import Dump
from triage.errors import WrongOutput
from triage.sglang.binding.shell import attempt
from triage.sglang.binding.verdicts import printed, trap_error
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.entry import Entries, Entry
from triage.sglang.launch.graph_replays import GraphRecord
from triage.sglang.reporter import Reporter
from triage.sglang.witness.finding import (
    AFTER_REPLAY,
    WITH_LAUNCH,
    Pending,
    Seen,
    dump_of,
    evidence_of,
)
from triage.sglang.witness.judge import Judgement, Wrong, judge
from triage.sglang.witness.recorded import Recorded, record_in_graph
from triage.sglang.witness.sample import (
    SLACK_TOKENS,
    Chosen,
    Queries,
    choose,
    queries_of,
    take,
    why_not,
)

logger = logging.getLogger("triage")

GROUP = "output witness (I28)"
MAX_LAUNCHES, MAX_KINDS = 2, 8
"""Of one step, and of one graph."""
NOT_RECORDED = "replays of graphs that were captured without the witness"
NO_MEMORY = "launches for whose copies there was no memory"
UNSOUND = "launches of steps whose tables were wrong"

Kind = tuple[Any, ...]


class Witness:
    """The sampled launches of one process; a `Listener` of its graphs.

    Attributes:
        every: steps from one that is looked at to the next.
        looking: is a launch now to be observed? In such a step, and under a capture.
        left_out: why launches or rows were not compared -> how many.
        rows, launches: how many were. nearest: the largest difference of a right element, as
            a share of what is allowed.
    """

    def __init__(self, reporter: Reporter, entries: Entries, every: int) -> None:
        self.reporter = reporter
        self.entries = entries
        self.every = every
        self.shell = reporter.shells.of(GROUP, self._switched_off)
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.looking = False
        self.step = self.turn = 0
        self.rows = self.launches = 0
        self.nearest = 0.0
        self.left_out: Counter[str] = Counter()
        self.longest = 0
        self._due = False
        self._graph: GraphRecord | None = None
        self._pending: list[Pending] = []
        self._taken = 0  # launches of this step
        self._known: dict[Kind, int] = {}  # kinds in the order in which they were met
        self._kinds: Counter[Kind] = Counter()  # launches of each kind in this step
        self._before: Counter[Kind] = Counter()  # and in the last one that was looked at
        self._side: torch.cuda.Stream | None = None

    def _switched_off(self) -> None:
        self.looking = False
        self._pending.clear()

    # -- the steps ---------------------------------------------------------------------------

    def begin(self, step: int) -> None:
        """A step is about to be launched."""
        if not self.shell.on:
            return
        self.step = step
        self._due = self.looking = step % self.every == 0
        if self._due:
            self.turn += 1
            self._before, self._kinds, self._taken = self._kinds, Counter(), 0
            self._pending = [each for each in self._pending if each.step >= step - 2]

    def end(self) -> None:
        """Everything of the step is queued."""
        self._due = self.looking = False

    def batch(self, forward_batch: Any) -> None:
        """The target's forward is about to run: how long its rows are, where the host knows."""
        if self._due:
            self.longest = _longest(forward_batch)

    def release(self, step: int | None, unsound: Collection[int] = ()) -> None:
        """Compare what was copied in the steps up to `step`, all of them for None.

        unsound: steps whose tables were found wrong. Raises WrongOutput, or logs it.
        """
        if not self._pending or not self.shell.on or capture.capturing():
            return
        mine = [each for each in self._pending if step is None or each.step <= step]
        self._pending = [each for each in self._pending if each not in mine]
        for pending in mine:
            if pending.step in unsound:
                self.left_out[UNSOUND] += 1
                continue
            judged = self.shell.part(partial(self._judge, pending), None)
            if judged is not None and judged.wrong is not None:
                self._tell(pending, judged, judged.wrong)

    # -- launches ----------------------------------------------------------------------------

    def observe(self, api: str, arguments: Mapping[str, Any], result: Any) -> None:
        """A launch was queued, with these arguments, and answered `result`. Never raises."""
        if self.shell.on:
            self.shell.part(lambda: self._observe(AttentionCall(api, arguments), result), None)

    def _observe(self, call: AttentionCall, result: Any) -> None:
        entry = self.entries.current
        if entry is None:
            self.left_out["launches from outside a backend"] += 1
            return
        output = result[0] if isinstance(result, (tuple, list)) and result else result
        kind = id(entry.backend), call.api, call.window_left >= 0, call.q_len_per_req
        if capture.capturing():
            self._record(call, output, entry, kind)
            return
        turn = self._kinds[kind]
        self._kinds[kind] += 1
        if turn != self.turn % max(self._before[kind], 1) or not self._has_its_turn(kind):
            return
        refused = why_not(call, output)
        longest = _longest(entry.forward_batch) if entry.rows_match(call) else 0
        held = int(call.block_tables.shape[1]) * call.page_size if not refused else 0
        chosen = refused or choose(call, self.turn, min(longest or held, held))
        if isinstance(chosen, str):
            self.left_out[f"launches: {chosen}"] += 1
            return
        seen = self._seen(call, entry)
        self._keep(call, chosen, None, output, entry.req_pool_indices, seen, WITH_LAUNCH)

    def _has_its_turn(self, kind: Kind) -> bool:
        """Is this kind looked at in this step? All have their turn, MAX_LAUNCHES in each step."""
        index = self._known.setdefault(kind, len(self._known))
        groups = -(-len(self._known) // MAX_LAUNCHES)
        return self._taken < MAX_LAUNCHES and (index + self.turn) % groups == 0

    def _keep(
        self,
        call: AttentionCall,
        chosen: Chosen,
        queries: Queries | None,
        output: Any,
        requests: Tensor | None,
        seen: Seen,
        read: str,
    ) -> None:
        """Queue the copies of a launch."""
        try:
            if queries is None:
                queries = queries_of(call, output, chosen)
            sample = take(call, chosen, queries, requests)
        except torch.OutOfMemoryError:
            self.left_out[NO_MEMORY] += 1
            return
        ready = None
        if sample.keys.is_cuda:
            ready = torch.cuda.Event()
            ready.record()
        self._taken += 1
        self._pending.append(Pending(self.step, seen, sample, read, ready))

    def _seen(self, call: AttentionCall, entry: Entry) -> Seen:
        counts = self.reporter.counts
        checked = "I2" in self.reporter.enabled and not counts["launches not covered"]
        return Seen.of(call, entry, counts["launches"], checked=checked)

    # -- graphs ------------------------------------------------------------------------------

    def capturing(self, record: GraphRecord | None) -> None:
        """A capture has begun, or with None ended."""
        self._graph = record
        self.looking = self.shell.on and (record is not None or self._due)

    def _record(self, call: AttentionCall, output: Any, entry: Entry, kind: Kind) -> None:
        """Let the graph copy what it will not hold behind its replay. Launches only."""
        graph = self._graph
        if graph is None:
            return
        kept: dict[Kind, Recorded] = graph.kept.setdefault(GROUP, {})
        if kind in kept or len(kept) >= MAX_KINDS:
            return
        made = record_in_graph(
            call,
            output,
            self._seen(call, entry),
            entry.req_pool_indices if entry.rows_match(call) else None,
            head=graph.number,
        )
        if isinstance(made, str):
            self.left_out[f"launches: {made}"] += 1
        else:
            kept[kind] = made

    def replayed(self, record: GraphRecord) -> None:
        """A graph was queued: what its launches read is copied behind it, in such a step."""
        if self._due and self.shell.on and not capture.capturing():
            self.shell.part(lambda: self._replayed(record), None)

    def _replayed(self, record: GraphRecord) -> None:
        kept: dict[Kind, Recorded] = record.kept.get(GROUP, {})
        if not kept:
            self.left_out[NOT_RECORDED] += 1
        for kind, each in kept.items():
            if not self._has_its_turn(kind):
                continue
            fits = each.fitted(self.longest)
            if isinstance(fits, str):
                self.left_out[f"launches: {fits}"] += 1
                continue
            chosen, queries = fits
            self._keep(each.call, chosen, queries, None, each.requests, each.seen, AFTER_REPLAY)

    # -- the verdict -------------------------------------------------------------------------

    def _judge(self, pending: Pending) -> Judgement:
        with torch.inference_mode(), self._aside(pending):  # as the forward that was copied
            found = judge(pending.sample)
        self.left_out += found.left_out
        self.rows += found.rows
        self.launches += 1
        self.nearest = max(self.nearest, found.nearest)
        self.reporter.counts["outputs computed again"] += found.rows
        if self.launches & (self.launches - 1) == 0:
            logger.info("sglang-triage: output witness: %s", self.sentence())
        return found

    def sentence(self) -> str:
        """What was compared so far, and what was not."""
        left = "; ".join(f"{why}: {n}" for why, n in self.left_out.items()) or "nothing"
        return (
            f"{self.rows} rows of {self.launches} launches computed again, nearest difference "
            f"{self.nearest:.2f} of what is allowed; left out: {left}"
        )

    def _aside(self, pending: Pending) -> Any:
        """A stream of our own, behind the copies."""
        if pending.ready is None:
            return nullcontext()
        if self._side is None:
            self._side = torch.cuda.Stream(pending.sample.keys.device)
        self._side.wait_event(pending.ready)
        return torch.cuda.stream(self._side)

    def _tell(self, pending: Pending, judged: Judgement, wrong: Wrong) -> None:
        """Raise what was found, or log it; the launch goes into the dump."""

        def build() -> WrongOutput:
            self.reporter.note_violation("I28")
            fault = evidence_of(pending, judged, wrong, invalid=self.reporter.mode != "log")
            dump = attempt(
                "collecting the launch", lambda: dump_of(fault, pending), Dump(fault=fault)
            )
            error = self.reporter.failure(WrongOutput, dump)
            assert isinstance(error, WrongOutput)
            return error

        error = trap_error(build, "I28")
        if self.reporter.mode != "log":
            raise error
        logger.error("sglang-triage: %s", printed(error))


def _longest(forward_batch: Any) -> int:
    """Tokens of its longest row with all that a mode may add; 0 where the host does not know."""
    lengths = getattr(forward_batch, "seq_lens_cpu", None)
    if not isinstance(lengths, Tensor) or lengths.is_cuda or not lengths.numel():
        return 0
    return int(lengths.max()) + SLACK_TOKENS
