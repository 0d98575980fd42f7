"""The forwards of one step: batches as SGLang shapes them, handed to the real backends.

By hand, because SGLang's workers need a model: which forwards make a step, in
which order, and what each batch holds. Everything below `init_forward_metadata`,
`forward_decode` and `forward_extend` is SGLang's, down to the FlashInfer call.

Long because a forward of each mode is built here, from the same few fields.
"""

from __future__ import annotations

import inspect
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch

from triage.lab.backends import bind_index_plan
from triage.lab.graph import PaddedGraph
from triage.lab.ngram import verify_input
from triage.lab.request import LabRequest
from triage.lab.runtime import Runtime


class Row(NamedTuple):
    """A row of a batch for which only its request row matters here."""

    req_pool_idx: int
    length: int = 0
    rid: int | str = ""


class Forwards:
    """Runs forwards over `runtime`; `watch` is told which forward and layer a launch belongs to.

    `forward_done` is called behind each forward of the target. `widest` bounds the
    tokens of one forward. `seconds` says where the time went. `graphs`: the target's decode
    and verify get the padded inputs of a captured graph, as many rows as requests may run.
    `landing` is called before metadata is built, behind it, and before every layer: what the
    scheduler does to pools meanwhile may land there (`drivers/landing.py`).
    """

    def __init__(
        self,
        runtime: Runtime,
        watch: Any,
        widest: int,
        forward_done: Callable[[], None] = lambda: None,
        graphs: bool = False,
    ) -> None:
        from sglang.srt.model_executor.forward_batch_info import ForwardBatch, ForwardMode
        from sglang.srt.speculative import frozen_kv_mtp_utils
        from sglang.srt.speculative.eagle_info import EagleDraftInput

        self.runtime, self.watch = runtime, watch
        self.forward_done = forward_done
        self.landing: Callable[[], None] = lambda: None
        self.graphs = graphs
        self._padded: dict[bool, PaddedGraph] = {}
        self.forward_batch_class, self.mode = ForwardBatch, ForwardMode
        self.views, self.draft_input = frozen_kv_mtp_utils, EagleDraftInput
        self.seconds: defaultdict[str, float] = defaultdict(float)
        g = runtime.geometry
        self._rows = torch.zeros(widest, g.num_heads, g.head_dim, dtype=torch.float16)
        self._drawn: torch.Generator | None = None

    def draw(self, seed: int) -> None:
        """Queries, keys and values are drawn from here on; they are zeros otherwise."""
        self._drawn = torch.Generator().manual_seed(seed)

    def _values(self, tokens: int) -> torch.Tensor:
        """What a layer is given as queries, keys and values of `tokens`."""
        if self._drawn is None:
            return self._rows[:tokens]
        shape = (tokens, *self._rows.shape[1:])
        return torch.randn(shape, generator=self._drawn).to(self._rows.dtype)

    # -- the target --------------------------------------------------------------------

    def extend(self, request: LabRequest, start: int, loc: torch.Tensor) -> None:
        """Prefill of one chunk, [start, request.length)."""
        fb = self._batch(self.mode.EXTEND, [request], loc, **_extended([request], [start]))
        self._launch("target", fb, [request], self.runtime.layers, self._target)
        if self.runtime.draft == "eagle":
            fb = self._batch(self.mode.EXTEND, [request], loc, **_extended([request], [start]))
            self._draft_extend(fb, [request])

    def decode(self, batch: Sequence[LabRequest | Row], loc: torch.Tensor) -> None:
        """One token a row without speculation; `length` counts it already."""
        fb = self._batch(self.mode.DECODE, batch, loc, num_tokens=len(batch))
        self._launch("target", fb, batch, self.runtime.layers, self._target)

    def verify(self, batch: Sequence[LabRequest | Row], loc: torch.Tensor) -> None:
        width = self.runtime.draft_tokens
        fb = self._batch(self.mode.TARGET_VERIFY, batch, loc, num_tokens=width * len(batch))
        if self.runtime.draft == "ngram":
            fb.spec_info = verify_input(fb.seq_lens, width)
        elif self.runtime.backend == "triton":
            # Of EagleVerifyInput the builder reads these; a chain needs no tree mask.
            fb.spec_info = SimpleNamespace(
                custom_mask=None, num_tokens_per_req=width, draft_token_num=width
            )
        self._launch("target", fb, batch, self.runtime.layers, self._target)

    def _target(self, fb: Any, layer: Any, index: int) -> None:
        rows = self._values(fb.input_ids.shape[0])
        kv = rows if index < self.runtime.geometry.own_kv_layers else None
        backend = self.runtime.target_backend
        forward = backend.forward_decode if fb.forward_mode.is_decode() else backend.forward_extend
        forward(rows, kv, kv, layer, fb, save_kv_cache=kv is not None)

    def from_schedule_batch(
        self, batch: Any, starts: list[int] | None, counts: list[int] | None
    ) -> Callable[[], None]:
        """The target's forward of SGLang's own ScheduleBatch: extend with `starts`, else decode.

        Its metadata is built; call what is returned for its layers.
        """
        held = zip(batch.req_pool_indices.tolist(), batch.reqs, strict=True)
        rows = [Row(int(row), rid=req.rid) for row, req in held]
        lengths = batch.seq_lens.tolist()
        if starts is None or counts is None:
            fb = self._batch(
                self.mode.DECODE, rows, batch.out_cache_loc, num_tokens=len(rows), lengths=lengths
            )
        else:
            extended = _extended(rows, starts, counts)
            fb = self._batch(
                self.mode.EXTEND, rows, batch.out_cache_loc, lengths=lengths, **extended
            )
        return self._queue("target", fb, rows, self.runtime.layers, self._target)

    # -- the drafts --------------------------------------------------------------------

    def draft(self, batch: Sequence[LabRequest | Row], slots: torch.Tensor) -> None:
        """The draft steps before a verify; `slots` are the `(rows, draft_tokens)` to come."""
        if self.runtime.draft == "frozen":
            self._frozen(batch)
        elif self.runtime.draft == "eagle":
            self._eagle(batch, slots)

    def after_verify(self, batch: Sequence[LabRequest | Row], loc: torch.Tensor) -> None:
        """EAGLE writes the draft's own KV of the verified tokens; a frozen-KV draft has none."""
        if self.runtime.draft != "eagle":
            return
        width = self.runtime.draft_tokens
        starts = [r.length for r in batch]
        fb = self._batch(
            self.mode.DRAFT_EXTEND_V2,
            batch,
            loc,
            lengths=[start + width for start in starts],
            spec_info=self.draft_input(),
            **_extended(batch, starts, [width] * len(batch)),
        )
        self._draft_extend(fb, batch)

    def _frozen(self, batch: Sequence[LabRequest | Row]) -> None:
        backend, context = self.runtime.draft_backend, self.runtime.kv_context
        fb = self._batch(self.mode.DECODE, batch, None, num_tokens=len(batch))
        fb.token_to_kv_pool = self.runtime.draft_pool
        fb.attn_backend = backend
        bind_index_plan(backend, fb)
        self.landing()
        with self.timed("metadata"), self._view("frozen_kv_target_view", fb, context, backend):
            backend.init_forward_metadata(fb)
        self.watch.forward("draft", fb, batch)
        for _ in range(self.runtime.draft_steps):
            view = self._view("target_kv_pool_view", fb, context, backend)
            with self.timed("launches"), view:
                for layer in self.runtime.draft_attention:
                    self.landing()
                    self.watch.layer = layer
                    rows = self._values(len(batch))
                    backend.forward_decode(rows, None, None, layer, fb, save_kv_cache=False)

    def _eagle(self, batch: Sequence[LabRequest | Row], slots: torch.Tensor) -> None:
        multi = self.runtime.draft_backend
        fb = self._batch(
            self.mode.DECODE,
            batch,
            slots[:, 0],
            num_tokens=len(batch),
            spec_info=self.draft_input(),
        )
        fb.token_to_kv_pool = self.runtime.draft_pool
        fb.positions = fb.seq_lens.clone()
        for backend in multi.attn_backends:
            bind_index_plan(backend, fb)
        with self.timed("metadata"):
            multi.init_forward_metadata(fb)
        for step, backend in enumerate(multi.attn_backends):
            fb.attn_backend = backend
            fb.out_cache_loc = slots[:, step]
            self.watch.forward("draft", fb, batch, own_pool=True, ahead=step + 1)
            rows = self._values(len(batch))
            with self.timed("launches"):
                for layer in self.runtime.draft_attention:
                    self.landing()
                    self.watch.layer = layer
                    backend.forward_decode(rows, rows, rows, layer, fb)

    def _draft_extend(self, fb: Any, batch: Sequence[LabRequest | Row]) -> None:
        def forward(fb: Any, layer: Any, index: int) -> None:
            rows = self._values(fb.input_ids.shape[0])
            self.runtime.draft_extend_backend.forward_extend(rows, rows, rows, layer, fb)

        self._launch("draft", fb, batch, self.runtime.draft_attention, forward)

    # -- common ------------------------------------------------------------------------

    def _launch(
        self,
        role: str,
        fb: Any,
        batch: Sequence[LabRequest | Row],
        layers: list[Any],
        forward: Any,
    ) -> None:
        self._queue(role, fb, batch, layers, forward)()

    def _queue(
        self,
        role: str,
        fb: Any,
        batch: Sequence[LabRequest | Row],
        layers: list[Any],
        forward: Any,
    ) -> Callable[[], None]:
        """Build the metadata; what is returned runs the layers."""
        self.landing()
        own = role == "draft"
        backend = self.runtime.draft_extend_backend if own else self.runtime.target_backend
        fb.token_to_kv_pool = self.runtime.draft_pool if own else self.runtime.token_to_kv_pool
        fb.attn_backend = backend
        bind_index_plan(backend, fb)
        with self.timed("metadata"):
            used = self._metadata(backend, fb, own)

        def run() -> None:
            self.watch.forward(role, used, batch, own_pool=own)
            with self.timed("launches"):
                for index, layer in enumerate(layers):
                    self.landing()
                    self.watch.layer = layer
                    forward(used, layer, index)
            if not own:
                self.forward_done()

        return run

    def _metadata(self, backend: Any, fb: Any, own: bool) -> Any:
        """Have it built, eagerly or through a padded graph; the batch that the layers get."""
        verify = fb.forward_mode.is_target_verify()
        if own or not self.graphs or not (verify or fb.forward_mode.is_decode()):
            backend.init_forward_metadata(fb)
            return fb
        if verify not in self._padded:
            rows = self.runtime.geometry.max_requests
            self._padded[verify] = PaddedGraph(self.runtime, rows, verify=verify)
        return self._padded[verify].replay(fb).batch

    def _batch(
        self,
        mode: Any,
        batch: Sequence[LabRequest | Row],
        out_cache_loc: torch.Tensor | None,
        *,
        num_tokens: int,
        lengths: list[int] | None = None,
        **extra: Any,
    ) -> Any:
        seq_lens = torch.tensor(lengths or [r.length for r in batch], dtype=torch.int64)
        fb = self.forward_batch_class(
            forward_mode=mode,
            batch_size=len(batch),
            input_ids=torch.zeros(num_tokens, dtype=torch.int64),
            req_pool_indices=torch.tensor([r.req_pool_idx for r in batch], dtype=torch.int64),
            seq_lens=seq_lens,
            out_cache_loc=out_cache_loc,
            seq_lens_sum=int(seq_lens.sum()),
            seq_lens_cpu=seq_lens,
            rids=[str(r.rid) for r in batch],
            **extra,
        )
        fb.req_to_token_pool = self.runtime.req_to_token_pool
        return fb

    def _view(self, name: str, fb: Any, context: Any, backend: Any) -> Any:
        """The views take the draft backend from 0.5.13.post1 on."""
        view = getattr(self.views, name)
        takes_backend = len(inspect.signature(view).parameters) == 3
        return view(fb, context, backend) if takes_backend else view(fb, context)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - started


def _extended(
    batch: Sequence[LabRequest | Row], starts: list[int], counts: list[int] | None = None
) -> dict[str, Any]:
    """The extend fields of a batch whose rows go on from `starts`."""
    if counts is None:
        counts = [r.length - start for r, start in zip(batch, starts, strict=True)]
    return {
        "num_tokens": sum(counts),
        "extend_seq_lens": torch.tensor(counts, dtype=torch.int32),
        "extend_prefix_lens": torch.tensor(starts, dtype=torch.int32),
        "extend_seq_lens_cpu": counts,
        "extend_prefix_lens_cpu": starts,
        "extend_num_tokens": sum(counts),
    }
