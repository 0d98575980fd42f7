"""One decode forward of plain objects with SGLang's attribute names, under our own wrappers.

Metadata, then for each layer an entry of the backend, a write where the layer has its
own KV, and the FlashInfer call; mark and release behind it. Needs no SGLang.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from triage.dump.flashinfer_api import DECODE
from triage.dump.store import DumpStore
from triage.invariants.catalogue import DEFAULT
from triage.lab.decode_step import WINDOW, Step
from triage.sglang.launch.attention import AttentionHooks
from triage.sglang.launch.writes import WriteTrap
from triage.sglang.traps import Traps

OWN_KV_LAYERS = 24


def armed(
    step: Step,
    directory: Any,
    mode: str = "contain",
    checks: tuple[str, ...] = (DEFAULT,),
) -> Traps:
    """Traps in `mode`, for `checks`, that know the backend of `step`."""
    traps = Traps(DumpStore(directory), checks, mode)
    traps.launches.note_backend(step.backend, SimpleNamespace(sliding_window_size=WINDOW - 1))
    traps.launches.watching.prepare(step.backend)
    return traps


def renewed(step: Step) -> None:
    """The tensors of a next forward: new objects of the same form."""
    step.full, step.swa = step.full.clone(), step.swa.clone()
    lengths = step.calls[0][1].cache_seqlens.clone()
    for layer, call in step.calls:
        table = step.swa if step.sliding(layer.layer_id) else step.full
        call.arguments.update(block_tables=table, seq_lens=lengths)


class Forward:
    """The calls of one forward over the tables of `step`.

    attention: stands for FlashInfer's function; by default it does nothing.
    """

    def __init__(
        self, step: Step, traps: Traps, attention: Callable[..., Any] | None = None
    ) -> None:
        self.step, self.traps = step, traps
        self.loc = step.backend.req_to_token[1:, step.length - 1].to(torch.int64)
        self.batch = SimpleNamespace(
            forward_mode=SimpleNamespace(
                name="DECODE", is_decode=lambda: True, is_target_verify=lambda: False
            ),
            batch_size=step.rows,
            req_pool_indices=torch.arange(1, step.rows + 1, device=step.device),
            out_cache_loc=self.loc,
        )
        hooks = AttentionHooks(traps.launches)
        self.launch = hooks.launch(DECODE)(attention or _attention)
        self.write = WriteTrap(traps.launches).around(_set_kv_buffer)
        self.metadata = functools.partial(hooks.metadata_built, lambda backend, batch: None)
        self.enter = hooks.entered(_forward_decode)
        self.new_metadata()

    def layers(self, of: int | None = None) -> None:
        """The layers without metadata, mark and release; the first `of` of them."""
        for layer, call in self.step.calls[:of]:
            self.enter(self.step.backend, layer, self.batch, self, call.arguments)

    def new_metadata(self) -> None:
        """What SGLang binds at each forward: new objects for the tables."""
        self.step.backend.forward_metadata = SimpleNamespace(
            page_table=self.step.full, swa_page_table=self.step.swa
        )

    def run(self) -> None:
        """One step of the scheduler, from its begin to its release."""
        begun = self.traps.steps.begin()
        self.metadata(self.step.backend, self.batch)
        self.new_metadata()
        self.layers()
        self.traps.steps.forward_done()
        self.traps.steps.end()
        self.traps.steps.release(begun)


def _forward_decode(
    backend: Any, layer: Any, forward_batch: Any, forward: Forward, arguments: dict[str, Any]
) -> None:
    """Stands for TRTLLMHAAttnBackend.forward_decode: the write, then the launch."""
    if layer.layer_id < OWN_KV_LAYERS:
        where = SimpleNamespace(loc=forward.loc, swa_loc=None)
        forward.write(backend.token_to_kv_pool, layer, where, None, None)
    forward.launch(**arguments)


def _attention(
    query: Any,
    kv_cache: Any,
    block_tables: Any,
    seq_lens: Any,
    max_seq_len: int,
    window_left: int = -1,
    q_len_per_req: int | None = 1,
    cum_seq_lens_q: Any = None,
) -> None:
    """Stands for FlashInfer's function, with the parameters that matter here."""


def _set_kv_buffer(pool: Any, layer: Any, loc_info: Any, cache_k: Any, cache_v: Any) -> None:
    """Stands for SWAKVPool.set_kv_buffer."""
