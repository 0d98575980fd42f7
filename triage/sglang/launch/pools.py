"""Read SGLang's KV pools: which sub-pool a launch reads, how far it reaches, what maps into it.

All of it is host work on attributes; no device value is read. From 0.5.13.post1
the pool sits on the backend, before on the forward batch; the frozen-KV views
swap it in the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from triage.invariants.reads import IndexSpace
from triage.sglang.launch.call import AttentionCall


@dataclass(frozen=True, slots=True)
class PoolView:
    """The pool one launch reads.

    pool: the object SGLang took the buffers from, None if that is not known.
    space: name, page size and pages, the extent taken from the K cache that was passed.
    full_to_swa: the mapping that belongs to that very pool; None for full layers
        and for pools without one.
    """

    pool: Any
    space: IndexSpace
    full_to_swa: Tensor | None


def active_pool(backend: Any, forward_batch: Any) -> Any:
    """The KV pool that `forward_decode` / `forward_extend` of this release reads now."""
    pool = getattr(backend, "token_to_kv_pool", None)
    if pool is None:
        pool = getattr(forward_batch, "token_to_kv_pool", None)
    return pool


def is_hybrid(pool: Any) -> bool:
    """Is it SGLang's SWAKVPool, or a class that keeps the same promises?"""
    return hasattr(pool, "layers_mapping") and hasattr(pool, "swa_kv_pool")


def translated(backend: Any) -> bool:
    """Are the ids that kernels read others than those of `req_to_token`, beyond full to SWA?"""
    translator = getattr(backend, "kv_index_translator", None)
    if translator is not None:
        return bool(getattr(translator, "reads_are_translated", False))
    return getattr(backend, "_translate_kv_loc", None) is not None


def pool_view(call: AttentionCall, pool: Any, layer_id: int | None) -> PoolView:
    """Which space the launch reads, and through which mapping its ids should have come."""
    swa = (
        layer_id is not None
        and is_hybrid(pool)
        and layer_id in pool.layers_mapping
        and pool.layers_mapping[layer_id][1]
    )
    space = IndexSpace("swa" if swa else "full", call.page_size, call.num_pages)
    return PoolView(pool, space, pool.full_to_swa_index_mapping if swa else None)


def sub_pools(pool: Any) -> tuple[tuple[str, Any, tuple[int, ...]], ...]:
    """(name, pool, layer ids) of the pools inside, the pool itself if it is not hybrid."""
    if not is_hybrid(pool):
        return (("full", pool, ()),)
    layers = pool.layers_mapping
    full = tuple(sorted(i for i, (_, swa) in layers.items() if not swa))
    sliding = tuple(sorted(i for i, (_, swa) in layers.items() if swa))
    return (("full", pool.full_kv_pool, full), ("swa", pool.swa_kv_pool, sliding))


def owner_of(entry: Any, read: PoolView) -> str:
    """ "draft " where the launch reads a pool that is the draft's own, "" for the target's.

    entry: the `Entry` that the launch comes from, or None.
    """
    drafting = entry is not None and entry.origin.role == "draft"
    return "draft " if drafting and not is_hybrid(read.pool) else ""


def num_pages(pool: Any, page_size: int) -> int:
    """Pages a kernel may address, the dummy page included: buffers have size + page_size rows."""
    return (int(pool.size) + page_size) // page_size


def swa_state(backend: Any) -> dict[str, str]:
    """The SWA attributes a backend caches, as text. Absent ones are left out."""
    names = ("use_sliding_window_kv_pool", "_swa_kv_pool", "_swa_full_to_swa_mapping")
    return {name: describe(getattr(backend, name)) for name in names if hasattr(backend, name)}


def stale_state(backend: Any, pool: Any) -> str | None:
    """Why the backend's SWA state is not that of `pool`, in one sentence; None if it is.

    A backend must translate through the pool it reads, or not at all. Releases
    that resolve the pool per call keep no such state and are never stale.
    """
    if pool is None or not hasattr(backend, "_swa_kv_pool"):
        return None
    cached, reads = backend._swa_kv_pool, type(pool).__name__
    if is_hybrid(pool):
        if cached is not pool:
            other = "None" if cached is None else f"another {type(cached).__name__}"
            return (
                f"the backend reads {reads} but its SWA state was taken from another pool: "
                f"_swa_kv_pool is {other}"
            )
        mapping = getattr(backend, "_swa_full_to_swa_mapping", pool.full_to_swa_index_mapping)
        if mapping is not pool.full_to_swa_index_mapping:
            return "the backend caches a full-to-SWA mapping that is not the one of its pool"
    elif cached is not None and cached is not pool:  # a pool of SWA layers of another class is both
        return (
            f"the backend reads {reads}, a pool of its own, but translates through the "
            f"{type(cached).__name__} of another"
        )
    return None


def identity_key(backend: Any, forward_batch: Any) -> tuple[Any, ...]:
    """The objects that a launch of this backend is judged by, to compare by identity.

    Its pool, and what `stale_state` and the identity check go by. What this release does
    not keep stands as None.
    """
    pool = active_pool(backend, forward_batch)
    return (
        backend,
        pool,
        getattr(backend, "req_to_token", None),
        getattr(backend, "_swa_kv_pool", None),
        getattr(backend, "_swa_full_to_swa_mapping", None),
        getattr(pool, "full_to_swa_index_mapping", None),
    )


def describe(value: Any) -> str:
    """Short text for an attribute: plain values as they are, objects as class and identity."""
    if value is None or isinstance(value, (bool, int, str)):
        return str(value)
    return f"{type(value).__name__}@{id(value):x}"
