"""Turn a launch over packed slots that broke an invariant into a dump.

A dump knows page tables. A stream of slots is one whose pages hold one token: column p of
a row is the slot of position p, and for a window 0 stands below the first position. So
every reader, `triage explain` and `triage replay` included, takes it as it is; the page size of the
pool stands beside it in `arguments`. An extend reads its own tokens from elsewhere, so a row
ends with what is cached, and is recorded as if its last token asked.

`collect_stream` runs only after a trap fired in mode `raise`, so it may synchronise; it never
indexes with a value that it has not clamped. Where the finding came a step later, `kept.py` makes
the same sections of what the check copied; `LaunchKind` is what both need of SGLang's objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from triage.dump.provenance import provenance
from triage.dump.sections import Backend, Dump, Launch, Pool, Pools, Ragged, Tables
from triage.evidence import Evidence
from triage.sglang.binding.shell import attempt
from triage.sglang.holders import rids_of_forward
from triage.sglang.launch import pools as sglang_pools
from triage.sglang.launch.collect import mapping_of, tensor_facts
from triage.sglang.launch.entry import Entries
from triage.sglang.packed_slots.reading import PackedSlots


@dataclass(frozen=True, slots=True)
class LaunchKind:
    """What the host knows of a launch that its slots do not say. Plain values: no tensor is held.

    launch: without number, length and tensors. backend: without the sizes of the batch.
    cached_only, mapped: see `PackedSlots`; mapped: was it judged through the pool's mapping?
    """

    launch: Launch
    pools: Pools
    backend: Backend
    cached_only: bool
    mapped: bool

    @classmethod
    def of(
        cls, stream: PackedSlots, backend: Any, layer: Any, batch: Any, entries: Entries, graph: int
    ) -> LaunchKind:
        """Host work on attributes; once for launches that are known by the same facts."""
        draft = _own_draft(stream, entries.origin_of(backend).role)
        read = "draft " if draft else ""
        space = read + stream.space.name
        return cls(
            _launch(stream, layer),
            Pools(tuple(_pools(stream, read)), space, space),
            _backend(stream, backend, batch, entries, graph > 0),
            stream.cached_only,
            stream.full_to_swa is not None,
        )


def collect_stream(
    fault: Evidence,
    stream: PackedSlots,
    backend: Any,
    layer: Any,
    batch: Any,
    entries: Entries,
    launch_id: int,
) -> Dump:
    """The dump of one launch. Synchronises: only after a trap."""
    table, lengths, firsts = _table(stream)
    kind = LaunchKind.of(stream, backend, layer, batch, entries, 0)
    rows = int(batch.batch_size)
    pair = (
        (f"{stream.name}_indptr", stream.kv_indptr),
        (f"{stream.name}_indices", stream.kv_indices),
    )
    return Dump(
        fault=as_of_a_table(fault, _cached(stream) if stream.cached_only else None),
        launch=replace(
            kind.launch,
            launch_id=launch_id,
            max_seq_len=table.shape[1],
            tensors={name: tensor_facts(tensor) for name, tensor in pair},
        ),
        tables=_tables(stream, table, lengths, firsts, batch),
        pools=kind.pools,
        backend=replace(kind.backend, batch_size=rows, padded_batch_size=rows),
        provenance=attempt("provenance", provenance, {}),
    )


def as_of_a_table(fault: Evidence, cached: list[int] | None) -> Evidence:
    """`fault` of slots, said of the table that a dump has of them.

    cached: tokens of each row that are written before the launch, where those alone are read.
    """
    violations = tuple(
        replace(each, tensor="block_tables") if each.tensor.endswith("_indices") else each
        for each in fault.violations
    )
    facts = {**fault.facts, **({} if cached is None else {"cached": cached})}
    return replace(fault, violations=violations, facts=facts)


def _cached(stream: PackedSlots) -> list[int]:
    """Tokens of each row that are written before this launch; the forward's own come after it."""
    return [] if stream.ends is None else [int(each) for each in stream.ends.tolist()]


def _table(stream: PackedSlots) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slots by position, `(rows, longest)`; how far each row goes, and where it begins."""
    offsets = stream.kv_indptr.detach().cpu().to(torch.int64).numpy()
    slots = stream.kv_indices.detach().cpu().numpy()
    count = np.clip(np.diff(offsets), 0, len(slots))
    firsts = np.zeros_like(count)
    if stream.ends is not None and stream.window >= 0:
        ends = stream.ends.detach().cpu().to(torch.int64).numpy() + stream.ahead
        kept = np.minimum(ends, stream.window) if stream.counted else count
        if stream.one_fewer:
            kept = np.where((ends >= stream.window) & (count == stream.window - 1), count, kept)
        firsts = np.maximum(ends - kept, 0)
    lengths = firsts + count
    if len(lengths) and int(lengths.max()) > 1 << 20:  # offsets that are not any
        lengths = np.minimum(lengths, 1 << 20)
    table = np.zeros((len(count), int(lengths.max(initial=0))), dtype=np.int32)
    for row, (first, stop) in enumerate(zip(firsts, lengths, strict=True)):
        begin = int(np.clip(offsets[row], 0, len(slots)))
        values = slots[begin : begin + int(stop - first)]
        table[row, first : first + len(values)] = np.clip(values, -(2**31), 2**31 - 1)
    return table, lengths, firsts


def _tables(
    stream: PackedSlots, table: np.ndarray, lengths: np.ndarray, firsts: np.ndarray, batch: Any
) -> Tables:
    kept = Ragged.of(table, lengths)
    facts: dict[str, Any] = {
        "page_table": kept,
        "cache_seqlens": lengths.astype(np.int64),
        "stored_from": firsts if firsts.any() else None,
        "source": "packed slots of the launch, one column a token",
    }
    if stream.requests is None or stream.req_to_token is None:
        return Tables(**facts)
    requests = stream.requests.detach().to(torch.int64)
    legal = requests.clamp(0, stream.req_to_token.shape[0] - 1)
    slots = stream.req_to_token[legal].detach().cpu().to(torch.int64).numpy()
    own = Ragged.of(slots, lengths)
    live = own.values.astype(np.int64)
    mapping, exceptions = mapping_of(stream.full_to_swa, own, live, 1)
    if not stream.identity:
        return Tables(**facts, req_pool_indices=requests.cpu().numpy())
    return Tables(
        **facts,
        req_pool_indices=requests.cpu().numpy(),
        req_to_token=own,
        req_to_token_exceptions=np.zeros((0, 3), dtype=np.int64),
        mapping=mapping,
        mapping_exceptions=exceptions,
        request_ids=rids_of_forward(batch, len(lengths)),
    )


def _launch(stream: PackedSlots, layer: Any) -> Launch:
    return Launch(
        api=KERNELS[stream.kernel],
        launch_id=0,
        layer_id=int(layer.layer_id),
        page_size=1,
        num_q_heads=int(getattr(layer, "tp_q_head_num", 1)),
        num_kv_heads=int(getattr(layer, "tp_k_head_num", 1)),
        head_dim=int(getattr(layer, "head_dim", getattr(layer, "qk_head_dim", 1))),
        num_pages=stream.space.num_pages * stream.space.page_size,
        window_left=stream.window - 1 if stream.window >= 0 else -1,
        max_seq_len=0,
        q_len_per_req=1,
        kv_layout="NHD",
        separate_kv=True,
        arguments={
            "page_size of the pool": stream.space.page_size,
            "stream": stream.name,
            "window of the stream": stream.window,
        },
    )


KERNELS = {"triton": "triton decode_attention_fwd or extend_attention_fwd", "fa2": "fa2 paged run"}
"""What a dump calls the launch: SGLang's own names of the calls, in words that a dump may hold
(`triage/dump/redact.py`)."""


def _pools(stream: PackedSlots, owner: str) -> list[Pool]:
    """In slots, as the table is."""
    found = []
    for name, pool, layers in sglang_pools.sub_pools(stream.pool):
        page = max(int(getattr(pool, "page_size", 1) or 1), 1)
        rows = (int(pool.size) + page) // page * page
        found.append(
            Pool(
                owner + name,
                type(pool).__name__,
                int(pool.size),
                1,
                rows,
                layers=layers,
                object_id=id(pool),
            )
        )
    return found


def _own_draft(stream: PackedSlots, role: str) -> bool:
    return role == "draft" and not sglang_pools.is_hybrid(stream.pool)


def _backend(
    stream: PackedSlots, backend: Any, batch: Any, entries: Entries, in_graph: bool
) -> Backend:
    origin, mode = entries.origin_of(backend), batch.forward_mode
    return Backend(
        role=origin.role,
        forward_mode=str(getattr(mode, "name", mode)),
        in_graph=in_graph,
        batch_size=0,
        padded_batch_size=0,
        swa_state=sglang_pools.swa_state(backend),
        pool_class=type(stream.pool).__name__,
        init_pool_class=origin.pool_class,
    )
