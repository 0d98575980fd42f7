"""Which step of a real server is the first wrong one: decided by code that shares nothing.

The tables a launch is about to read are copied beside the request table and the mapping
they should have come from, on the stream of the launch and before it; numpy decides
afterwards. Nothing of `triage.invariants` or `triage.device` is imported, so that an
agreement between the two is worth something.

A launch inside a CUDA graph is known from its capture: which static tensors it will read.
They are copied before the graph is replayed; from SGLang 0.5.15.post1 on, whose graphs refill
their tables themselves, after it. Nothing is ever copied during a capture.

A table is what the request table said when its step was launched. Under overlap scheduling SGLang
goes on while the launch waits: a prompt's result that arrives then may move its row to pages that
the prefix cache had, and free the row's own. So what the host had queued at the launch is copied
too, on the scheduler's stream, and an entry is wrong only if neither copy explains it.

What a row may see: positions `length - queries - window_left` to `length - 1`; entries before
and after are nobody's business. A row of a request that had ended when the step's result
came is counted apart: SGLang throws its result away, and its slots may be free already.

Written, one JSON object a line: `bound`, `wrong` for every table of a step that is wrong
anywhere, `raised` for an exception that left a step (the alarm, by the same count of
steps), `count` now and then, `lost` when the device could not be read any more.

Long because it may share nothing: what it copies, decides and writes stands here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from triage.lab.server import plugin_folder
from triage.lab.server.late import (
    Lines,
    Moments,
    Observer,
    Step,
    capturing,
    observe,
    side_copy,
    wrap,
)

DECODE = ("flashinfer.decode", "trtllm_batch_decode_with_kv_cache")
CONTEXT = ("flashinfer.prefill", "trtllm_batch_context_with_kv_cache")
COUNT_EVERY = 50
WRITTEN_OUT = 300
"""Wrong tables that are written out; a server that is left to go on has thousands."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one launch reads: its tensors as passed, and host facts.

    table `(rows, pages)`, lengths `(rows,)` in tokens.
    k_address: of the first byte of the K cache that was passed; says whose pool it is.
    queries: tokens a row, or None where `query_starts` `(rows + 1,)` has them.
    """

    table: Tensor
    lengths: Tensor
    window_left: int
    queries: int | None
    query_starts: Tensor | None
    page_size: int
    k_address: int

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.table.data_ptr(), self.lengths.data_ptr(), self.window_left, self.queries)

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Read:
        cache = arguments["kv_cache"]
        k_cache = cache[0] if isinstance(cache, (tuple, list)) else cache
        starts = arguments.get("cum_seq_lens_q")
        return cls(
            arguments["block_tables"],
            arguments["seq_lens"],
            int(arguments.get("window_left", -1)),
            None if starts is not None else int(arguments.get("q_len_per_req") or 1),
            starts,
            int(k_cache.shape[-2]),
            int(k_cache.data_ptr()),
        )


@dataclass(frozen=True, slots=True)
class Taken:
    """Copies on the host of one launch's tables and of where they should have come from.

    table `(rows, pages)`, lengths `(rows,)`, slots `(rows, pages)`: the request table at
    page starts; mapping `(full slots + ...,)` or None for ids of the full pool.
    """

    table: np.ndarray
    lengths: np.ndarray
    queries: np.ndarray
    slots: np.ndarray
    mapping: np.ndarray | None
    window_left: int
    page_size: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """Entries `(row, column, id, expected id)` that a row sees and that are not its own."""

    entries: list[tuple[int, int, int, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.entries)


def judge(taken: Taken) -> Wrong:
    """Compare every visible entry with the request table and the mapping.

    The dummy page is nobody's: an entry that should be it is wrong, whatever it holds.
    """
    page, found = taken.page_size, Wrong()
    for row, (length, queries) in enumerate(zip(taken.lengths, taken.queries, strict=True)):
        length, queries = int(length), int(queries)
        if length <= 0:
            continue
        oldest = max(0, length - queries - taken.window_left) if taken.window_left >= 0 else 0
        columns = np.arange(oldest // page, (length - 1) // page + 1)
        columns = columns[columns < min(taken.table.shape[1], taken.slots.shape[1])]
        slots = taken.slots[row, columns].astype(np.int64)
        if taken.mapping is not None:
            inside = (slots >= 0) & (slots < len(taken.mapping))
            slots = np.where(inside, taken.mapping[np.where(inside, slots, 0)], -1)
        expected = slots // page
        got = taken.table[row, columns].astype(np.int64)
        for place in np.flatnonzero((got != expected) | (expected <= 0)):
            found.entries.append((row, int(columns[place]), int(got[place]), int(expected[place])))
    return found


@dataclass(slots=True)
class _Copy:
    """One look at one launch, on its way to the host."""

    role: str
    captured: bool
    space: str
    read: Read  # holds the tensors, so that no later launch of the step gets their addresses
    table: Tensor
    lengths: Tensor
    query_starts: Tensor | None
    slots: Tensor
    mapping: Tensor | None
    at_launch: tuple[Tensor, Tensor | None] | None  # slots and mapping as the host had queued them
    done: Any  # a CUDA event, None on a CPU

    @property
    def window_left(self) -> int:
        return self.read.window_left

    def judged(self) -> Wrong:
        now = judge(_taken(self, self.slots, self.mapping))
        if not now or self.at_launch is None:
            return now
        places = {entry[:2] for entry in judge(_taken(self, *self.at_launch)).entries}
        return Wrong([entry for entry in now.entries if entry[:2] in places])


@dataclass(frozen=True, slots=True)
class _Launch:
    """The device's books as the host had queued them when a step was launched.

    rows `(requests, tokens)`: of the request table. mappings: by the pool's id.
    """

    rows: Tensor
    mappings: dict[int, Tensor]

    def sides(self, rows: int, page: int, pool: Any, space: str) -> tuple[Tensor, Tensor | None]:
        """Slots at page starts and the mapping, on their way to the host."""
        mapping = side_copy(self.mappings[id(pool)]) if space == "swa" else None
        return side_copy(self.rows[:rows, ::page]), mapping


class Oracle(Observer):
    """One process's. `first`: the first step that was wrong, None until then."""

    copies: type[Any] = _Copy
    """What this oracle leaves in a step: `judged`, and what `_tell` writes of it."""

    def __init__(self, out: Path) -> None:
        self.lines = Lines(out)
        self.first: int | None = None
        self.tables = self.launches = self.skipped = self.wrong = 0
        self.recording: dict[tuple[Any, ...], Read] | None = None  # of the graph being captured
        self.lost = False
        self.moments: Moments
        self.after_replay = False

    # -- where it stands ---------------------------------------------------------------

    def bind(self, moments: Moments) -> None:
        self.moments = moments
        for module, name in (DECODE, CONTEXT):
            wrap(importlib.import_module(module), name, self._launch)
        bound = self._bind_graphs()
        self.lines.write("bound", graphs=bound)

    def _bind_graphs(self) -> bool:
        try:
            from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend
            from sglang.srt.model_executor.runner_backend.full_cuda_graph_backend import (
                FullCudaGraphBackend,
            )
        except ImportError:
            return False
        self.after_replay = "init_forward_metadata_in_graph" in vars(TRTLLMHAAttnBackend)
        wrap(FullCudaGraphBackend, "capture_one", self._capture_one)
        wrap(FullCudaGraphBackend, "replay", self._replay)
        return True

    # -- a launch ----------------------------------------------------------------------

    def begin(self, step: Step) -> None:
        """Copy the books on the scheduler's stream, which the launch waits for."""
        if self.lost or not step.rows or capturing():
            return
        mappings = {
            id(pool): pool.full_to_swa_index_mapping.clone()
            for pool in self.moments.pools
            if getattr(pool, "full_to_swa_index_mapping", None) is not None
        }
        step.at_launch = _Launch(self._rows(step, len(step.rows)), mappings)

    def _launch(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            self._seen(kwargs)
        except Exception as error:  # whatever it is, the server launches; the verdict has it
            self.lines.write("failed", where="launch", why=f"{type(error).__name__}: {error}")
        return original(*args, **kwargs)

    def _seen(self, arguments: Mapping[str, Any]) -> None:
        if self.recording is not None:
            if capturing():
                read = Read.of(arguments)
                self.recording.setdefault(read.key, read)
        elif self.moments.step is not None and not capturing():
            self.launches += 1
            self.look(Read.of(arguments), self.moments.step, captured=False)

    def _capture_one(self, original: Any, graphs: Any, shape: Any, *a: Any, **k: Any) -> Any:
        """Warm-up runs of a capture are nobody's; what the capture itself records is kept."""
        before, self.recording = self.recording, {}
        try:
            result = original(graphs, shape, *a, **k)
            launches = graphs.__dict__.setdefault("_lab_oracle_launches", {})
            launches[shape] = list(self.recording.values())
        finally:
            self.recording = before
        return result

    def _replay(self, original: Any, graphs: Any, shape: Any, *a: Any, **k: Any) -> Any:
        if self.after_replay:
            result = original(graphs, shape, *a, **k)
            self._look_at_graph(graphs, shape)
            return result
        self._look_at_graph(graphs, shape)
        return original(graphs, shape, *a, **k)

    def _look_at_graph(self, graphs: Any, shape: Any) -> None:
        step = self.moments.step
        if step is None or self.recording is not None or capturing():
            return
        for read in graphs.__dict__.get("_lab_oracle_launches", {}).get(shape, ()):
            try:
                self.launches += 1
                self.look(read, step, captured=True)
            except Exception as error:  # as above: a watched server is not ended by its watcher
                self.lines.write("failed", where="graph", why=f"{type(error).__name__}: {error}")

    def look(self, read: Read, step: Step, *, captured: bool) -> None:
        """Copy what `read` reads and where it should come from. Queued, not waited for."""
        if self.lost or not step.rows:
            return
        if any(copy.read.key == read.key for copy in step.copies if isinstance(copy, _Copy)):
            return  # the other layers of the same forward
        pool, space = self._whose(read.k_address)
        if pool is None:
            self.skipped += 1
            return
        rows = min(len(step.rows), int(read.table.shape[0]), int(read.lengths.shape[0]))
        mapping = pool.full_to_swa_index_mapping if space == "swa" else None
        launch, every = step.at_launch, read.page_size
        step.copies.append(
            _Copy(
                role=self.moments.role,
                captured=captured,
                space=space,
                read=read,
                table=side_copy(read.table[:rows]),
                lengths=side_copy(read.lengths[:rows]),
                query_starts=(
                    None if read.query_starts is None else side_copy(read.query_starts[: rows + 1])
                ),
                slots=side_copy(self._rows(step, rows)[:, ::every]),
                mapping=None if mapping is None else side_copy(mapping),
                at_launch=None if launch is None else launch.sides(rows, every, pool, space),
                done=event_behind(read.table),
            )
        )

    def _rows(self, step: Step, rows: int) -> Tensor:
        """The first rows of this step in the request table, as a new tensor."""
        import torch

        table = self._req_to_token()
        chosen = torch.tensor([row.slot for row in step.rows[:rows]], dtype=torch.int64)
        return table[chosen.to(table.device, non_blocking=True)]

    def _req_to_token(self) -> Tensor:
        return self.moments.scheduler.req_to_token_pool.req_to_token

    def _whose(self, k_address: int) -> tuple[Any, str]:
        """The hybrid pool that this K cache belongs to, and which half of it."""
        for pool in self.moments.pools:
            for space, half in (("swa", pool.swa_kv_pool), ("full", pool.full_kv_pool)):
                if any(int(buffer.data_ptr()) == k_address for buffer in half.k_buffer):
                    return pool, space
        return None, ""

    # -- the verdict -------------------------------------------------------------------

    def settle(self, step: Step) -> None:
        """Judge what was copied during `step`. Waits for those copies alone."""
        for copy in [each for each in step.copies if isinstance(each, self.copies)]:
            if self.lost:
                return
            try:
                if copy.done is not None:
                    copy.done.synchronize()
            except RuntimeError as error:
                self.lost = True
                self.lines.write("lost", step=step.number, why=str(error).splitlines()[0])
                return
            self.tables += 1
            self._tell(step, copy, copy.judged())
        if step.number % COUNT_EVERY == 1:
            self.count(step.number)

    def raised(self, step: Step, place: str, error: BaseException) -> None:
        why = str(error).partition("\n")[0][:300]
        self.lines.write("raised", step=step.number, at=place, error=type(error).__name__, why=why)
        self.count(step.number)

    def count(self, step: int) -> None:
        self.lines.write(
            "count",
            step=step,
            tables=self.tables,
            launches=self.launches,
            skipped=self.skipped,
            wrong=self.wrong,
            first=self.first,
        )

    def _tell(self, step: Step, copy: Any, wrong: Wrong) -> None:
        if not wrong:
            return
        over = {index for index, row in enumerate(step.rows) if row.ended}
        alive = [entry for entry in wrong.entries if entry[0] not in over]
        if alive and self.first is None:
            self.first = step.number
        self.wrong += 1
        if self.wrong > WRITTEN_OUT:
            return
        row, column, got, expected = (alive or wrong.entries)[0]
        self.lines.write(
            "wrong",
            step=step.number,
            role=copy.role,
            form="captured" if copy.captured else "eager",
            space=copy.space,
            window_left=copy.window_left,
            rows=len(step.rows),
            entries=len(alive),
            entries_of_ended=len(wrong.entries) - len(alive),
            example={
                "row": row,
                "rid": step.rows[row].rid,
                "column": column,
                "id": got,
                "expected": expected,
                "ended": row in over,
            },
        )


def _taken(copy: _Copy, slots: Tensor, mapping: Tensor | None) -> Taken:
    rows = int(copy.lengths.shape[0])
    if copy.query_starts is not None:
        queries = np.diff(copy.query_starts.numpy().astype(np.int64))
    else:
        queries = np.full(rows, copy.read.queries or 1, dtype=np.int64)
    return Taken(
        table=copy.table.numpy(),
        lengths=copy.lengths.numpy().reshape(-1),
        queries=queries,
        slots=slots.numpy(),
        mapping=None if mapping is None else mapping.numpy(),
        window_left=copy.read.window_left,
        page_size=copy.read.page_size,
    )


def event_behind(tensor: Tensor) -> Any:
    """Behind what is queued on the current stream; None for a tensor on the host."""
    if not tensor.is_cuda:
        return None
    import torch

    event = torch.cuda.Event()
    event.record()
    return event


# -- as a plugin, and read afterwards --------------------------------------------------


def plugin(directory: Path, out: Path) -> Path:
    """A plugin folder with which a server writes its oracle's lines to `out`."""
    call = f"{__name__}:insert"
    return plugin_folder.write(directory, "oracle", call, out=str(out))


def insert(out: str) -> None:
    observe(Oracle(Path(out)))


@dataclass(frozen=True, slots=True)
class Account:
    """What an oracle's file says.

    first_wrong: the first step with a wrong entry of a living request; None for none.
    raised: the step that an exception left, and its class; None and "" for none.
    wrong_tables: tables with one. of_ended: wrong entries of requests that had ended.
    steps: the last step of which it is known that it was judged.
    """

    bound: bool
    first_wrong: int | None
    role: str
    form: str
    space: str
    raised: int | None
    error: str
    wrong_tables: int
    of_ended: int
    steps: int
    tables: int
    lost: str
    failures: tuple[str, ...]


def read_account(path: Path) -> Account:
    """What the oracle that wrote `path` found; a file that is not there was never bound."""
    lines = Lines.read(path)
    wrong = [line for line in lines if line["kind"] == "wrong"]
    alive = [line for line in wrong if line["entries"]]
    first: dict[str, Any] = alive[0] if alive else {}
    raised = next((line for line in lines if line["kind"] == "raised"), {})
    counts = [line for line in lines if line["kind"] == "count"]
    return Account(
        bound=any(line["kind"] == "bound" for line in lines),
        first_wrong=first.get("step"),
        role=first.get("role", ""),
        form=first.get("form", ""),
        space=first.get("space", ""),
        raised=raised.get("step"),
        error=raised.get("error", ""),
        wrong_tables=len(alive),
        of_ended=sum(line["entries_of_ended"] for line in wrong),
        steps=max([line["step"] for line in [*counts, *wrong]], default=0),
        tables=max([line["tables"] for line in counts], default=0),
        lost=next((line["why"] for line in lines if line["kind"] == "lost"), ""),
        failures=tuple(sorted({line["why"] for line in lines if line["kind"] == "failed"}))[:5],
    )
