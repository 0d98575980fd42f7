"""What a launch of Triton's or FlashInfer's own attention reads, told by SGLang's objects.

Neither kernel takes a page table: SGLang packs the slots of all rows into one buffer,
`kv_indices`, and the offsets of the rows into another, `kv_indptr`; sliding layers have a
pair of their own. Which pair a layer reads, and where a row ends, follows from the layer,
the forward mode and how the backend built its metadata. Host work on attributes; no
device value is read.

What cannot be said is not guessed: a `NotCovered` says which launch and why.

Sources: SGLang's `TritonAttnBackend` and `FlashInferAttnBackend`, 0.5.12.post1 to 0.5.23.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from triage.invariants.reads import IndexSpace
from triage.sglang.launch.pools import active_pool, is_hybrid, translated


class NotCovered(Exception):
    """A launch whose slots cannot be judged at all; the text says why."""


@dataclass(frozen=True, slots=True)
class PackedSlots:
    """One launch's slots.

    kernel: "triton" or "fa2". name: "kv" or "window_kv", SGLang's prefix of the pair.
    ends, ahead: position behind the last one of each row is `ends[row] + ahead`; None where
        nothing of the batch says it.
    window: positions that a row holds at most, -1 for all.
    counted: do the two say how many slots a row has?
    one_fewer: may a row that the window cuts lack its oldest slot? See `decode_window.py`.
    layer_window: tokens before itself that a query sees, -1 for all.
    cached_only: are the tokens of this very forward written behind the launch, so that `ends` is
        where what is written ends?
    pool: what SGLang takes the buffers from; space: name, page and pages of the part read.
    identity: may a slot be compared with the request's row? Else `why_not` says why not.
    full_to_swa: of the pool, for a layer that slides.
    """

    kernel: str
    name: str
    kv_indptr: Tensor
    kv_indices: Tensor
    ends: Tensor | None
    ahead: int
    window: int
    counted: bool
    layer_window: int
    pool: Any
    space: IndexSpace
    requests: Tensor | None
    req_to_token: Tensor | None
    full_to_swa: Tensor | None
    why_not: str = ""
    cached_only: bool = False
    one_fewer: bool = False

    @property
    def identity(self) -> bool:
        return not self.why_not


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where the rows of a launch end; see `PackedSlots`."""

    ends: Tensor | None = None
    ahead: int = 0
    counted: bool = True
    why_not: str = ""
    cached_only: bool = False


def triton_slots(backend: Any, layer: Any, batch: Any, step: int | None) -> PackedSlots | None:
    """What `TritonAttnBackend` passes for this layer.

    step: of a draft of several steps, the number of the one that this backend serves.
    Raises NotCovered.
    """
    _refuse("triton", backend, layer)
    metadata = backend.forward_metadata
    slides = _window_of(layer) >= 0
    name = "window_kv" if slides else "kv"
    indptr, indices = getattr(metadata, f"{name}_indptr"), getattr(metadata, f"{name}_indices")
    if indices is None or indptr is None:
        raise NotCovered(f"triton: the metadata of this mode has no {name}_indices")
    own: Any = getattr(backend, f"cuda_graph_{name}_indices", None)
    if _same_memory(indices, own) and own.dim() == 1 and len(own) > len(indices):
        indices = own  # a draft's graph is captured over as much of it as the capture's batch used
    ends = _triton_ends(backend, batch, slides, step)
    window, decodes = -1, batch.forward_mode.is_decode_or_idle()
    if slides:  # an extend has its own tokens elsewhere, so of the cache it is one slot fewer
        window = int(backend.sliding_window_size) + decodes
    found = _stream("triton", name, backend, layer, batch, indptr, indices, ends, window)
    return replace(found, one_fewer=slides and decodes and found.window >= 0)


def _triton_ends(backend: Any, batch: Any, slides: bool, step: int | None) -> _Ends:
    """The tokens of an extend come as they are, so only what is cached stands in the slots."""
    mode = batch.forward_mode
    if mode.is_decode_or_idle():
        return _of_a_draft_step("triton", batch, slides, step) or _Ends(batch.seq_lens)
    if mode.is_target_verify():
        return _Ends(batch.seq_lens)
    if _is_draft_extend(mode):
        own = getattr(backend, "cuda_graph_kv_indices", None)
        in_graph = _same_memory(backend.forward_metadata.kv_indices, own)
        if not slides:
            return _Ends()
        if in_graph:
            return _Ends(why_not="triton: the window of a draft's extend in a CUDA graph")
    return _Ends(batch.extend_prefix_lens, cached_only=True)


def fa2_stream(backend: Any, layer: Any, batch: Any, step: int | None) -> PackedSlots | None:
    """What FlashInfer's wrapper for this layer was planned with by `FlashInferAttnBackend`.

    None for a prefill without a cached prefix, which reads no cache. Raises NotCovered.
    """
    _refuse("fa2", backend, layer)
    metadata = backend.forward_metadata
    if getattr(metadata, "use_ragged", False) and getattr(metadata, "extend_no_prefix", False):
        return None
    decodes = getattr(metadata, "decode_wrappers", None) is not None
    if getattr(backend, f"{'decode' if decodes else 'prefill'}_uses_dequant_workspace", False):
        raise NotCovered("fa2: slots of a workspace into which fp4 keys are unpacked")
    wrapper = _fa2_wrapper(backend, metadata, layer)
    indptr = getattr(wrapper, "_paged_kv_indptr_buf", None)
    indices = getattr(wrapper, "_paged_kv_indices_buf", None)
    if indptr is None or indices is None:
        raise NotCovered(f"fa2: {type(wrapper).__name__} does not show what it was planned with")
    slides = _window_of(layer) >= 0 and _slides_apart(backend)
    window = int(backend.indices_updater_decode.sliding_window_size) + 1 if slides else -1
    ends = _fa2_ends(backend, batch, metadata, slides, step)
    name = "window_kv" if slides else "kv"
    return _stream("fa2", name, backend, layer, batch, indptr, indices, ends, window)


def _fa2_wrapper(backend: Any, metadata: Any, layer: Any) -> Any:
    wrappers = getattr(metadata, "decode_wrappers", None)
    if wrappers is None:
        wrappers = getattr(metadata, "prefill_wrappers", None)
    if wrappers is None:
        raise NotCovered(f"fa2: the metadata is {type(metadata).__name__}")
    return wrappers[backend._get_wrapper_idx(layer)]


def _fa2_ends(backend: Any, batch: Any, metadata: Any, slides: bool, step: int | None) -> _Ends:
    """A window of an extend has as many slots as its rows' queries reach, before the end."""
    mode, ragged = batch.forward_mode, bool(getattr(metadata, "use_ragged", False))
    if mode.is_decode_or_idle():
        return _of_a_draft_step("fa2", batch, slides, step) or _Ends(batch.seq_lens)
    if mode.is_target_verify() or _is_draft_extend(mode):
        if slides:
            return _Ends(why_not="fa2: the window of a verification begins at a place of its own")
        return _Ends()
    cached_only = ragged and (slides or not _slides_apart(backend))
    ends = batch.extend_prefix_lens if cached_only else batch.seq_lens
    return _Ends(ends, counted=not slides, cached_only=cached_only)


def _slides_apart(backend: Any) -> bool:
    """Have sliding layers a wrapper of their own?"""
    reason = getattr(backend, "dispatch_reason", None)
    return getattr(reason, "name", "") == "SLIDING_WINDOW"


def _of_a_draft_step(kernel: str, batch: Any, slides: bool, step: int | None) -> _Ends | None:
    """Of one step of a draft of several, whose slots come with the batch; None for another."""
    offsets = getattr(batch.spec_info, "kv_indptr", None)
    if offsets is None:
        return None
    if len(offsets) - 1 > int(batch.batch_size):
        return _Ends(why_not=f"{kernel}: a draft of several branches a request")
    if step is None:
        why_not = f"{kernel}: a draft step of an unknown number" if slides else ""
        return _Ends(why_not=why_not)
    return _Ends(batch.seq_lens, step + 1)


def _refuse(kernel: str, backend: Any, layer: Any) -> None:
    if translated(backend):
        raise NotCovered(f"{kernel}: the pool renames its slots (unified pool)")
    if int(getattr(backend, "dcp_size", 1) or 1) > 1:
        raise NotCovered(f"{kernel}: slots are shared out over ranks of decode context parallelism")
    if getattr(layer, "is_cross_attention", False):
        raise NotCovered(f"{kernel}: cross attention")


def _stream(
    kernel: str,
    name: str,
    backend: Any,
    layer: Any,
    batch: Any,
    kv_indptr: Tensor,
    kv_indices: Tensor,
    ends: _Ends,
    window: int,
) -> PackedSlots:
    pool = active_pool(backend, batch)
    if pool is None:
        raise NotCovered(f"{kernel}: the pool is not known")
    space, mapping = _space_of(pool, layer)
    rows, why_not = int(batch.batch_size), ends.why_not
    spec = getattr(batch.spec_info, "kv_indptr", None)
    if spec is not None and batch.forward_mode.is_decode_or_idle():
        rows = max(rows, len(spec) - 1)
    if len(kv_indptr) - 1 < rows:
        raise NotCovered(f"{kernel}: {len(kv_indptr)} offsets for {rows} rows")
    requests = getattr(batch, "req_pool_indices", None)
    if requests is not None and len(requests) != rows:
        requests = requests[:rows] if len(requests) > rows else None
        why_not = why_not or ("" if requests is not None else f"{kernel}: rows are not requests")
    table = _request_table(backend)
    if not why_not and (requests is None or table is None):
        why_not = f"{kernel}: the requests of the rows are not known"
    known = ends.ends
    if not why_not and known is None and window >= 0:
        why_not = f"{kernel}: nothing says where the rows of a window end"
    return PackedSlots(
        kernel=kernel,
        name=name,
        kv_indptr=kv_indptr[: rows + 1],
        kv_indices=kv_indices,
        ends=None if known is None else known[:rows],
        ahead=ends.ahead,
        window=window if known is not None else -1,
        counted=ends.counted,
        layer_window=_window_of(layer),
        pool=pool,
        space=space,
        requests=requests,
        req_to_token=table,
        full_to_swa=mapping,
        why_not=why_not,
        cached_only=ends.cached_only and known is not None,
    )


def _request_table(backend: Any) -> Tensor | None:
    """Of Triton's backend itself; of FlashInfer's its updaters (until 0.5.18) or its pool."""
    for owner in ("", "indices_updater_decode", "req_to_token_pool"):
        table = getattr(getattr(backend, owner, None) if owner else backend, "req_to_token", None)
        if table is not None:
            return table
    return None


def _space_of(pool: Any, layer: Any) -> tuple[IndexSpace, Tensor | None]:
    swa = False
    if is_hybrid(pool):
        known = pool.layers_mapping.get(layer.layer_id)
        if known is None:
            raise NotCovered(f"layer {layer.layer_id} is not one of the pool's")
        swa = bool(known[1])
        part = pool.swa_kv_pool if swa else pool.full_kv_pool
    else:
        part = pool
    page = max(int(getattr(part, "page_size", 1) or 1), 1)
    space = IndexSpace("swa" if swa else "full", page, (int(part.size) + page) // page)
    return space, pool.full_to_swa_index_mapping if swa else None


def _window_of(layer: Any) -> int:
    window = getattr(layer, "sliding_window_size", None)
    return -1 if window is None else int(window)


def _is_draft_extend(mode: Any) -> bool:
    return "DRAFT_EXTEND" in str(getattr(mode, "name", mode))


def _same_memory(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one.data_ptr() == other.data_ptr()
