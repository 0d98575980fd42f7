"""Realistic dumps for tests, built with numpy alone.

`stale_state_dump` is the Gemma-4-E4B defect (sgl-project/sglang#26957): a draft
layer that reads the target's SWA pool receives full-pool page ids. The other
causes are told by what the table holds, see `TABLE_KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from triage.dump.sections import Backend, Dump, Launch, Pool, Pools, Ragged, Tables
from triage.evidence import Evidence, TensorFacts, Violation

TILE_TOKENS = 256


@dataclass(frozen=True)
class Sizes:
    """The pool and batch of one launch; the defaults are those of Gemma-4-E4B at 8k/1k."""

    rows: int = 64
    page_size: int = 64
    swa_pages: int = 8657  # without the dummy page
    window: int = 512
    shortest: int = 8192
    longest: int = 9216
    num_q_heads: int = 8
    num_kv_heads: int = 1
    head_dim: int = 16
    q_len: int = 1
    seed: int = 26957

    @property
    def full_pages(self) -> int:
        return int(self.swa_pages / 0.8)


E4B = Sizes()
SMALL = Sizes(rows=4, page_size=16, swa_pages=80, window=40, shortest=100, longest=180)


@dataclass(frozen=True)
class State:
    """What SGLang's pools hold before the table is built."""

    sizes: Sizes
    lengths: np.ndarray
    full_pages: np.ndarray  # (rows, columns) of every column that is stored
    swa_page_of: np.ndarray  # full page -> SWA page, 0 once evicted


def make_state(sizes: Sizes) -> State:
    rng = np.random.default_rng(sizes.seed)
    lengths = rng.integers(sizes.shortest, sizes.longest, sizes.rows).astype(np.int32)
    columns = -(-sizes.longest // sizes.page_size)
    shuffled = rng.permutation(np.arange(1, sizes.full_pages + 1))
    live = -(-lengths.astype(np.int64) // sizes.page_size)
    full_pages = np.zeros((sizes.rows, columns), dtype=np.int64)
    full_pages[np.arange(columns) < live[:, None]] = shuffled[: live.sum()]
    first = np.maximum(lengths - sizes.q_len - sizes.window + 1, 0) // sizes.page_size
    column = np.arange(columns)
    in_window = (column >= first[:, None]) & (column < live[:, None])
    swa_page_of = np.zeros(sizes.full_pages + 1, dtype=np.int64)
    swa_ids = rng.permutation(np.arange(1, sizes.swa_pages + 1))[: in_window.sum()]
    swa_page_of[full_pages[in_window]] = swa_ids
    return State(sizes, lengths, full_pages, swa_page_of)


TABLE_KINDS: dict[str, Callable[[State], np.ndarray]] = {
    "full ids": lambda state: state.full_pages,
    "right": lambda state: state.swa_page_of[state.full_pages],
    "page starts": lambda state: state.full_pages * state.sizes.page_size,
    "divided twice": lambda state: state.swa_page_of[state.full_pages] // state.sizes.page_size,
}


def make_dump(
    sizes: Sizes = E4B,
    table: str = "full ids",
    *,
    swa_state: dict[str, str] | None = None,
    role: str = "draft",
    state: State | None = None,
) -> Dump:
    """One decode launch of an SWA layer whose page table is `TABLE_KINDS[table]`."""
    state = state or make_state(sizes)
    ids = TABLE_KINDS[table](state)
    if swa_state is None:
        swa_state = {"use_sliding_window_kv_pool": "False", "_swa_kv_pool": "None"}
    stale = swa_state.get("_swa_kv_pool") == "None"
    page_size = sizes.page_size
    stored = np.minimum(
        -(-state.lengths.astype(np.int64) // TILE_TOKENS) * TILE_TOKENS // page_size, ids.shape[1]
    )
    starts = np.unique(state.full_pages * page_size)
    mapping = np.stack([starts, state.swa_page_of[starts // page_size] * page_size], axis=1)
    launch = make_launch(sizes, ids.shape[1])
    dump = Dump(
        fault=Evidence("I1", "page ids outside the pool that is read", "decode launch 4711"),
        launch=launch,
        tables=Tables(
            page_table=Ragged.of(ids.astype(np.int32), stored),
            cache_seqlens=state.lengths,
            req_pool_indices=np.arange(1, sizes.rows + 1, dtype=np.int64),
            req_to_token=Ragged.of((state.full_pages * page_size).astype(np.int32), stored),
            req_to_token_exceptions=np.zeros((0, 3), dtype=np.int64),
            mapping=mapping,
            mapping_exceptions=np.zeros((0, 2), dtype=np.int64),
        ),
        pools=Pools(
            pools=(
                _pool("full", "MHATokenToKVPool", sizes.full_pages, page_size),
                _pool("swa", "SWAKVPool", sizes.swa_pages, page_size),
            ),
            read="swa",
            table_space="full" if stale else "swa",
        ),
        backend=Backend(
            role=role,
            forward_mode="DECODE",
            in_graph=False,
            batch_size=sizes.rows,
            padded_batch_size=sizes.rows,
            speculative_step=1 if role == "draft" else None,
            swa_state=swa_state,
            pool_class="SWAKVPool",
            init_pool_class="MHATokenToKVPool" if stale else "SWAKVPool",
        ),
        history=({"launch_id": 4710, "rows": sizes.rows},),
        provenance={"sglang": "0.5.12.post1", "flashinfer": "0.6.11.post1", "gpu": None},
    )
    return replace(dump, fault=_fault(dump))


def make_launch(sizes: Sizes, columns: int) -> Launch:
    cache_shape = (sizes.swa_pages + 1, sizes.num_kv_heads, sizes.page_size, sizes.head_dim)
    return Launch(
        api="trtllm_batch_decode_with_kv_cache",
        launch_id=4711,
        layer_id=22,
        page_size=sizes.page_size,
        num_q_heads=sizes.num_q_heads,
        num_kv_heads=sizes.num_kv_heads,
        head_dim=sizes.head_dim,
        num_pages=sizes.swa_pages + 1,
        window_left=sizes.window - 1,
        max_seq_len=sizes.longest,
        q_len_per_req=sizes.q_len,
        kv_layout="HND",
        separate_kv=True,
        arguments={"bmm1_scale": sizes.head_dim**-0.5, "bmm2_scale": 1.0},
        tensors={
            "query": _facts(
                "bfloat16", (sizes.rows * sizes.q_len, sizes.num_q_heads, sizes.head_dim)
            ),
            "k_cache": _facts("bfloat16", cache_shape),
            "v_cache": _facts("bfloat16", cache_shape),
            "block_tables": _facts("int32", (sizes.rows, columns)),
            "seq_lens": _facts("int32", (sizes.rows,)),
        },
    )


def _facts(dtype: str, shape: tuple[int, ...]) -> TensorFacts:
    stride = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    width = {"bfloat16": 2, "int32": 4, "int64": 8}[dtype]
    return TensorFacts(
        dtype, shape, stride, 0, int(np.prod(shape)) * width, "cuda:0", 0x7F0000000000
    )


def _pool(name: str, kind: str, pages: int, page_size: int) -> Pool:
    return Pool(
        name, kind, pages * page_size, page_size, pages + 1, available=pages * page_size // 2
    )


def _fault(dump: Dump) -> Evidence:
    """What the I1 trap would report for this table."""
    assert dump.launch is not None and dump.tables is not None
    launch, tables = dump.launch, dump.tables
    table = tables.page_table.padded()
    live = np.arange(table.shape[1]) < -(-tables.cache_seqlens[:, None] // launch.page_size)
    bad = live & ((table < 0) | (table >= launch.num_pages))
    rows, columns = np.nonzero(bad)
    first = tuple(
        Violation(
            "I1", "page_table", int(row), int(column), int(table[row, column]), 0, launch.num_pages
        )
        for row, column in list(zip(rows, columns, strict=True))[:4]
    )
    return Evidence(
        invariant="I1" if len(rows) else "I2",
        summary="page ids outside the pool that is read",
        where="decode launch 4711",
        pool="swa",
        layer_id=launch.layer_id,
        forward_mode="DECODE",
        total=len(rows),
        rows_affected=len(np.unique(rows)),
        violations=first,
    )
