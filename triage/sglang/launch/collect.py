"""Turn a launch that broke an invariant into a dump, while its tensors are still alive.

Runs only after a trap fired, so it may synchronise as often as it likes. It
reads what any known kernel could have read and what says where the ids should
have come from; it never indexes with a value it has not clamped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.dump.provenance import provenance
from triage.dump.sections import (
    KERNEL_TILE_TOKENS,
    Backend,
    Dump,
    Launch,
    Pool,
    Pools,
    Ragged,
    Tables,
)
from triage.evidence import Evidence, TensorFacts
from triage.sglang.binding.shell import attempt
from triage.sglang.holders import rids_of_forward
from triage.sglang.launch import pools as sglang_pools
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.entry import Entry
from triage.sglang.launch.pools import PoolView
from triage.sglang.launch.touched import touched_kv


def collect(
    fault: Evidence,
    call: AttentionCall,
    entry: Entry | None,
    read: PoolView,
    launch_id: int,
    *,
    with_kv: bool = False,
) -> Dump:
    """The dump of one launch, `with_kv` the pages it reads. Synchronises: only after a trap."""
    tables = _tables(call, entry, read)
    return Dump(
        fault=fault,
        launch=launch_section(call, entry, launch_id),
        tables=tables,
        kv=touched_kv(call, tables, fault) if with_kv else None,
        pools=pools_section(call, entry, read),
        backend=backend_section(entry),
        provenance=attempt("provenance", provenance, {}),
    )


def tensor_facts(tensor: Tensor) -> TensorFacts:
    return TensorFacts(
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(tensor.shape),
        stride=tuple(tensor.stride()),
        storage_offset=int(tensor.storage_offset()),
        storage_bytes=int(tensor.untyped_storage().nbytes()),
        device=str(tensor.device),
        data_ptr=int(tensor.data_ptr()),
    )


def launch_section(
    call: AttentionCall, entry: Entry | None, launch_id: int, *, read: bool = True
) -> Launch:
    """The arguments as passed. read: with the values of the offsets, which waits for the device."""
    key, value = call.kv
    tensors = {"k_cache": key, "v_cache": value}
    scalars: dict[str, Any] = {}
    for name, argument in call.arguments.items():
        if isinstance(argument, Tensor) and name != "kv_cache":
            tensors[name] = argument
        elif name != "kv_cache":
            scalars[name] = _plain(argument)
    return Launch(
        api=call.api,
        launch_id=launch_id,
        layer_id=None if entry is None else entry.layer_id,
        page_size=call.page_size,
        num_q_heads=int(call.query.shape[-2]),
        num_kv_heads=call.num_kv_heads,
        head_dim=int(call.query.shape[-1]),
        num_pages=call.num_pages,
        window_left=call.window_left,
        max_seq_len=call.max_seq_len,
        q_len_per_req=call.q_len_per_req,
        kv_layout=call.layout,
        separate_kv=key.data_ptr() != value.data_ptr(),
        arguments=scalars,
        tensors={name: tensor_facts(tensor) for name, tensor in tensors.items()},
        cum_seq_lens_q=_host(call.cum_seq_lens_q) if read else None,
        cum_seq_lens_kv=_host(call.arguments.get("cum_seq_lens_kv")) if read else None,
    )


def _tables(call: AttentionCall, entry: Entry | None, read: PoolView) -> Tables:
    table = call.block_tables.detach().cpu()
    lengths = call.cache_seqlens.detach().cpu().to(torch.int64)
    page = call.page_size
    reach = (lengths.clamp(min=0) + KERNEL_TILE_TOKENS - 1) // KERNEL_TILE_TOKENS
    columns = ((reach * KERNEL_TILE_TOKENS + page - 1) // page).clamp(max=table.shape[1])
    kept = Ragged.of(table.numpy(), columns.numpy())
    indices = None if entry is None else entry.requests_of(call)
    if entry is None or entry.req_to_token is None or indices is None:
        return Tables(page_table=kept, cache_seqlens=lengths.numpy())
    requests = indices.detach().cpu().to(torch.int64)
    legal = indices.to(torch.int64).clamp(0, entry.req_to_token.shape[0] - 1)
    slots = entry.req_to_token[legal].detach().cpu().to(torch.int64).numpy()
    width = slots.shape[1]
    starts = Ragged.of(slots[:, ::page], columns.numpy())
    live = np.arange(width)[None, :] < lengths.numpy()[:, None]
    page_start = np.repeat(slots[:, ::page], page, axis=1)[:, :width]
    offset = np.arange(width) % page
    broken = live & (slots != page_start + offset)
    rows, positions = np.nonzero(broken)
    exceptions = np.stack([rows, positions, slots[broken]], axis=1)
    mapping, mapping_exceptions = mapping_of(_known_mapping(entry, read), starts, slots[live], page)
    return Tables(
        page_table=kept,
        cache_seqlens=lengths.numpy(),
        req_pool_indices=requests.numpy(),
        req_to_token=starts,
        req_to_token_exceptions=exceptions,
        mapping=mapping,
        mapping_exceptions=mapping_exceptions,
        request_ids=rids_of_forward(entry.forward_batch, len(lengths)),
    )


def _known_mapping(entry: Entry, read: PoolView) -> Tensor | None:
    """The mapping of the pool that is read; a foreign one the backend used if it has none."""
    for pool in (read.pool, getattr(entry.backend, "_swa_kv_pool", None)):
        mapping = getattr(pool, "full_to_swa_index_mapping", None)
        if mapping is not None:
            return mapping
    return None


def mapping_of(
    mapping: Tensor | None, starts: Ragged, live_slots: np.ndarray, page: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if mapping is None:
        return None, None
    swa = mapping.detach().cpu().to(torch.int64).numpy()

    def legal(slots: np.ndarray) -> np.ndarray:
        return np.unique(slots[(slots >= 0) & (slots < len(swa))])

    page_starts = legal(starts.values.astype(np.int64))
    every = legal(live_slots)
    start_of = every - every % page
    wanted = np.where(swa[start_of] > 0, swa[start_of] + every % page, 0)
    broken = every[swa[every] != wanted]
    return (
        np.stack([page_starts, swa[page_starts]], axis=1),
        np.stack([broken, swa[broken]], axis=1),
    )


def pools_section(call: AttentionCall, entry: Entry | None, read: PoolView) -> Pools:
    key, value = call.kv
    known: list[Pool] = []
    owner = sglang_pools.owner_of(entry, read)
    if read.pool is not None:
        allocator = None if entry is None else entry.allocator_of(read.pool)
        for name, pool, layers in sglang_pools.sub_pools(read.pool):
            free = getattr(allocator, f"{name}_available_size", None)
            known.append(
                Pool(
                    name=owner + name,
                    kind=type(pool).__name__,
                    size=int(pool.size),
                    page_size=call.page_size,
                    num_pages=sglang_pools.num_pages(pool, call.page_size),
                    layers=layers,
                    available=None if free is None else int(free()),
                    object_id=id(pool),
                    extents=_extents(key, value) if name == read.space.name else (),
                )
            )
    return Pools(
        pools=tuple(known),
        read=owner + read.space.name,
        table_space="" if entry is None else entry.table_space(call),
    )


def _extents(key: Tensor, value: Tensor) -> tuple[tuple[int, int], ...]:
    return tuple((t.data_ptr(), t.numel() * t.element_size()) for t in (key, value))


def backend_section(entry: Entry | None) -> Backend | None:
    """Who called, by attributes of the host alone."""
    if entry is None:
        return None
    pool = sglang_pools.active_pool(entry.backend, entry.forward_batch)
    return Backend(
        role=entry.origin.role,
        forward_mode=entry.forward_mode,
        in_graph=False,
        batch_size=int(entry.forward_batch.batch_size),
        padded_batch_size=int(entry.forward_batch.batch_size),
        speculative_step=getattr(entry.backend, "speculative_step_id", None),
        swa_state=sglang_pools.swa_state(entry.backend),
        pool_class=type(pool).__name__,
        init_pool_class=entry.origin.pool_class,
    )


def _host(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else tensor.detach().cpu().to(torch.int64).numpy()


def _plain(value: Any) -> Any:
    """A scalar as it is, a torch type or device by its name, of anything else its class."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    return f"<{type(value).__name__}>"
