"""I29 where a draft's CUDA graph is captured and replayed: SGLang's runners fill their buffers.

At capture the metadata are built twice: in front of the graph for the view that the draft runs
under, and inside of it, where what is recorded runs again with each replay. Both must see one
view: a batch with a spec_info means one token more a step to trtllm_mha, so a graph recorded
outside of the frozen view reads a slot past the prefix for ever (sgl-project/sglang#26743).

Two hooks a runner: its entry, which has the forward's tensors before they are put away for
the padded ones, and the call that replays, in front of which every buffer is filled. The
entry is `replay` up to 0.5.13.post1 and `execute` from 0.5.14 on; the multi-layer runners
fill one set for all steps, from 0.5.15.post1 on in `prepare`.

Which buffer has an entry a row, a token or a slot is written down in LAYOUTS, read from the
wheels. Judged in mode `raise`, one host read a replay; nothing under a capture.

Not covered: the drafts of DFlash and ngram, which have no graph of a draft; padded request
rows of the multi-layer runners, which SGLang leaves as they were: they read one page of some
row and write nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from triage.invariants.draft_inputs import DraftInput, check_draft_inputs, check_recorded_view
from triage.sglang.launch.entry import Entries
from triage.sglang.launch.pools import is_hybrid
from triage.sglang.reporter import Reporter

_SPECULATIVE = "sglang.srt.speculative"
DRAFT_GRAPHS = f"{_SPECULATIVE}.eagle_draft_cuda_graph_runner.EAGLEDraftCudaGraphRunner"
EXTEND_GRAPHS = (
    f"{_SPECULATIVE}.eagle_draft_extend_cuda_graph_runner.EAGLEDraftExtendCudaGraphRunner"
)
FROZEN_GRAPHS = f"{_SPECULATIVE}.frozen_kv_mtp_cuda_graph_runner.FrozenKVMTPCudaGraphRunner"
_MULTI = f"{_SPECULATIVE}.multi_layer_eagle_draft_extend_cuda_graph_runner"
MULTI_LAYER_GRAPHS = f"{_MULTI}.MultiLayerEagleDraftExtendCudaGraphRunner"
MULTI_LAYER_PREPARE = f"{_MULTI}.MultiLayerEagleMultiStepDraftExtendCudaGraphRunner.prepare"

ENTRIES = ("execute", "replay")
REPLAYS = ("_replay_graph", "_replay")
PREPARED, RECORDED = "init_forward_metadata_out_graph", "init_forward_metadata_in_graph"
"""0.5.15.post1 and later have both: in front of a capture, and inside of it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a runner's buffers hold for one request of the bucket.

    copied: what every release copies as the forward brings it. The rest a graph may make.
    wide_rows: has `seq_lens` a row for each token too? A frozen draft of several branches has.
    steps: has `out_cache_loc` a slot for each step too?
    inert_requests: are the request rows of padding set to 0?
    """

    copied: tuple[str, ...] = ()
    wide_rows: bool = False
    steps: bool = False
    inert_requests: bool = True


_ROWS = ("seq_lens", "req_pool_indices", "positions")
_COUNTS = ("num_accept_tokens", "num_correct_drafts", "extend_seq_lens")
_OF_A_REQUEST = ("topk_p", "topk_index", "bonus_tokens")

LAYOUTS = {
    "EAGLEDraftCudaGraphRunner": Layout(
        (*_ROWS, "out_cache_loc", "topk_p", "topk_index", "hidden_states"), steps=True
    ),
    "EAGLEDraftExtendCudaGraphRunner": Layout(
        (*_ROWS, "out_cache_loc", "input_ids", "hidden_states", *_COUNTS)
    ),
    "FrozenKVMTPCudaGraphRunner": Layout((*_ROWS, "bonus_tokens", "hidden_states"), wide_rows=True),
    "MultiLayerEagleDraftExtendCudaGraphRunner": Layout(inert_requests=False),
    "MultiLayerEagleMultiStepDraftExtendCudaGraphRunner": Layout(inert_requests=False),
}


class DraftGraphs:
    """Stands around the drafts' graph runners."""

    def __init__(self, reporter: Reporter, entries: Entries) -> None:
        """entries: what each backend was built for, and their `req_to_token`."""
        self.reporter = reporter
        self.entries = entries
        self.real_rows: int | None = None  # of the batch that a runner pads now
        self._given: WeakKeyDictionary[Any, dict[str, Tensor]] = WeakKeyDictionary()
        self._prepared: WeakKeyDictionary[Any, dict[str, object]] = WeakKeyDictionary()

    def around_prepared(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        """In front of a capture: which view the metadata of the graph are built for."""
        batch = args[0] if args else kwargs.get("forward_batch")
        captures = kwargs.get("in_capture") or args[1:2] == (True,)
        if captures and self.entries.origin_of(backend).role == "draft":
            self._prepared[backend] = _view(backend, batch)
        else:  # of a replay, or eager
            self._prepared.pop(backend, None)
        return original(backend, *args, **kwargs)

    def around_recorded(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        """Inside of it: is it the same view? Host objects only, so legal under a capture."""
        batch = args[0] if args else kwargs.get("forward_batch")
        prepared = self._prepared.get(backend)
        if prepared is not None:
            step = getattr(backend, "speculative_step_id", None)
            found = check_recorded_view(
                prepared,
                _view(backend, batch),
                added=0 if step is None else int(step) + 1,
                where=f"{type(backend).__name__}.init_forward_metadata_in_graph",
            )
            if found is not None:
                self._prepared.pop(backend)  # a capture runs it several times
                self.reporter.fire_event(found)
        return original(backend, *args, **kwargs)

    def around_entry(
        self, original: Any, runner: Any, forward_batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Note what the forward brings, before the runner puts its padded tensors in place."""
        outer, self.real_rows = self.real_rows, getattr(forward_batch, "batch_size", None)
        if self.reporter.may_wait:
            self._given[runner] = given_by(forward_batch, LAYOUTS[_name(runner)].copied)
        try:
            return original(runner, forward_batch, *args, **kwargs)
        finally:
            self.real_rows = outer
            self._given.pop(runner, None)

    def around_replay(self, original: Any, runner: Any, *args: Any, **kwargs: Any) -> Any:
        self.judge(runner)
        return original(runner, *args, **kwargs)

    def around_prepare(self, original: Any, runner: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(runner, *args, **kwargs)
        self.judge(runner)
        return result

    def judge(self, runner: Any) -> None:
        """Report what of the runner's buffers is not that of the batch. One host read."""
        if not self.reporter.may_wait or not hasattr(runner, "raw_bs"):
            return
        inputs = draft_inputs(runner, self._given.get(runner, {}), self.entries.request_table())
        self.reporter.counts["draft replays"] += 1
        self.reporter.counts["host reads"] += 1
        self.reporter.fire_findings(
            check_draft_inputs(inputs),
            "I29",
            f"a buffer of a draft's graph for {runner.bs} requests, {runner.raw_bs} of them real, "
            "does not hold what this batch needs",
            "",
            _name(runner),
        )


def _view(backend: Any, batch: Any) -> dict[str, object]:
    """What a builder of metadata decides by, beside the tensors."""
    mode = getattr(batch, "forward_mode", None)
    return {
        "spec_info": getattr(batch, "spec_info", None) is not None,
        "forward_mode": str(getattr(mode, "name", mode)),
        "pool": type(getattr(backend, "token_to_kv_pool", None)).__name__,
    }


def given_by(forward_batch: Any, names: tuple[str, ...]) -> dict[str, Tensor]:
    """SGLang's name -> the tensor that the forward brings for it; host work only."""
    spec = getattr(forward_batch, "spec_info", None)
    found: dict[str, Tensor] = {}
    for name in names:
        for holder in (forward_batch, spec):
            tensor = getattr(holder, name, None)
            if isinstance(tensor, Tensor):
                found.setdefault(name, tensor)
    return found


def draft_inputs(runner: Any, given: dict[str, Tensor], table: Tensor | None) -> list[DraftInput]:
    """The runner's buffers for its newest replay, as `LAYOUTS` says how long they are."""
    layout, buffers = LAYOUTS[_name(runner)], runner.buffers
    width = int(getattr(runner, "captured_req_width", 0) or getattr(runner, "num_tokens_per_bs", 1))
    rows, padded = int(runner.raw_bs), int(runner.bs)
    if layout.wide_rows:
        rows, padded = rows * width, padded * width
    tokens, all_tokens = int(runner.raw_bs) * width, int(runner.bs) * width
    if "input_ids" in given and not layout.steps:  # of accepted tokens alone in older releases
        tokens = len(given["input_ids"])
    steps = int(runner.speculative_num_steps) if layout.steps else 1
    fill = int(runner.seq_len_fill_value)
    found: list[DraftInput] = []

    def add(name: str, real: int, entries: int, **more: int) -> None:
        buffer = getattr(buffers, name, None)
        if isinstance(buffer, Tensor) and buffer.dim() and len(buffer) >= entries:
            told = given.get(name)
            if told is not None and (len(told) < real or told.shape[1:] != buffer.shape[1:]):
                told = None
            told = None if told is None else told[:real]
            found.append(DraftInput(name, buffer[:entries], real, given=told, **more))

    requests = {} if table is None else {"low": 1, "high": len(table)}
    lengths = {} if table is None else {"low": 1, "high": int(table.shape[1]) + 1}
    inert = {"inert": 0} if layout.inert_requests else {}
    add("req_pool_indices", rows, padded, **inert, **requests)
    add("seq_lens", rows, padded, inert=fill, **lengths)
    add("positions", tokens, all_tokens, inert=0)
    add("out_cache_loc", tokens * steps, all_tokens * steps, inert=0, **_slots(runner))
    add("input_ids", tokens, all_tokens)
    vocabulary = getattr(getattr(runner.model_runner, "model_config", None), "vocab_size", None)
    per_request = int(runner.raw_bs), int(runner.bs)
    for name in _OF_A_REQUEST:
        if name in layout.copied:
            ids = name == "topk_index" and isinstance(vocabulary, int)
            add(name, *per_request, **({"low": 0, "high": vocabulary} if ids else {}))  # type: ignore[arg-type]
    for name in _COUNTS:
        add(name, *per_request, low=0, high=width + 1)
    if "hidden_states" in given:
        by_request = len(given["hidden_states"]) == int(runner.raw_bs)
        add("hidden_states", *(per_request if by_request else (tokens, all_tokens)))
    return found


def _slots(runner: Any) -> dict[str, int]:
    """The slots that the draft's pool has; nothing where it is out of reach."""
    pool = getattr(runner.model_runner, "token_to_kv_pool", None)
    if pool is None or is_hybrid(pool):
        return {}
    page = int(pool.page_size)
    return {"low": page, "high": int(pool.size) + page}


def _name(runner: Any) -> str:
    """Of the runner, or of what it is derived from, in LAYOUTS."""
    names = (each.__name__ for each in type(runner).__mro__)
    return next(name for name in names if name in LAYOUTS)
