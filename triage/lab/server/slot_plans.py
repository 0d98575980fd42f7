"""What SGLang's FlashInfer (fa2) and Triton backends planned a forward with: slots and offsets.

Neither takes a page table: SGLang packs the slots of all rows into one buffer and the offsets of
the rows into another, sliding layers having a pair of their own. Told by SGLang's objects alone,
without a device value and with nothing of the checks, for `slot_oracle.py`.

FlashInfer: what its wrappers were planned with, which is on the host for a graph too. Judged are
forwards that read the cache alone: decode, and prompts with SGLANG_FLASHINFER_USE_PAGED=1.
Triton: the backend's metadata, or the buffers that its graphs read, which are filled before each
replay. A prompt's own tokens are not among the slots of an extend. Left out: a draft of several
steps and its extend, a unified pool, whose slots are renamed, and decode context parallelism.

Sources: `FlashInferAttnBackend` and `TritonAttnBackend`, 0.5.13.post1 to 0.5.23.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """One pair of buffers, as SGLang holds it.

    indptr `(rows + 1, ...)`, indices: slots of all rows. ends `(rows, ...)`: the position behind
    the last one of each row. window: positions that a row holds at most, -1 for all.
    spare: how many of a full window's oldest may lack. counted: do ends and window say how many
    slots a row has?
    """

    space: str
    window: int
    indptr: Tensor
    indices: Tensor
    ends: Tensor
    counted: bool
    spare: int = 0


Plans = Callable[[Any, Any, bool], list[Plan]]
"""Of a backend, its batch, and whether a graph is to be replayed; empty for what is not judged."""


def flashinfer_plans(backend: Any, batch: Any, captured: bool) -> list[Plan]:
    """One plan a wrapper; with two the first is the window's."""
    decodes = bool(batch.forward_mode.is_decode())
    if captured:
        wrappers = backend.decode_cuda_graph_metadata.get(batch.batch_size)
    else:
        kind = "decode_wrappers" if decodes else "prefill_wrappers"
        wrappers = getattr(backend.forward_metadata, kind, None)
    ragged = not decodes and getattr(backend.forward_metadata, "use_ragged", False)
    if wrappers is None or ragged:
        return []
    window = int(backend.indices_updater_decode.sliding_window_size) + 1
    found = []
    for number, wrapper in enumerate(wrappers):
        slides = len(wrappers) == 2 and number == 0
        found.append(
            Plan(
                "swa" if slides else "full",
                window if slides else -1,
                wrapper._paged_kv_indptr_buf,
                wrapper._paged_kv_indices_buf,
                batch.seq_lens,
                counted=decodes,
            )
        )
    return found


def triton_plans(backend: Any, batch: Any, captured: bool) -> list[Plan]:
    """The pair of all positions and the window's. A decode's window lacks its oldest position in
    every release to 0.5.23 (sgl-project/sglang#32087); with or without it is sound."""
    mode = batch.forward_mode
    if _left_out(backend, batch):
        return []
    decodes = bool(mode.is_decode())
    cached = decodes or bool(mode.is_target_verify())
    ends = batch.seq_lens if cached else batch.extend_prefix_lens
    found = []
    for name, window in (("kv", -1), ("window_kv", int(backend.sliding_window_size or 0))):
        if captured:
            indptr = getattr(backend, f"{name}_indptr", None)
            indices = getattr(backend, f"cuda_graph_{name}_indices", None)
        else:
            indptr = getattr(backend.forward_metadata, f"{name}_indptr", None)
            indices = getattr(backend.forward_metadata, f"{name}_indices", None)
        if window == 0 or indptr is None or indices is None or ends is None:
            continue
        slides = window > 0
        found.append(
            Plan(
                "swa" if slides else "full",
                window + decodes if slides else -1,
                indptr,
                indices,
                ends,
                counted=True,
                spare=int(slides and decodes),
            )
        )
    return found


def _left_out(backend: Any, batch: Any) -> bool:
    drafts = getattr(batch.spec_info, "kv_indptr", None) is not None
    extends = "DRAFT_EXTEND" in getattr(batch.forward_mode, "name", "")
    renamed = getattr(backend, "_translate_kv_loc", None) is not None
    return drafts or extends or renamed or int(getattr(backend, "dcp_size", 1) or 1) > 1
