"""Dumps in which every field of every section says something: what a mutation starts from.

`filled` is what a trap beside a full provenance leaves, `recorded` what a flight recorder does,
`recomputed` what the output witness does. `unfilled` names the fields that none of some dumps
has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from tests import dumps_fixture as dumps
from triage import evidence
from triage.dump import sections
from triage.dump.history import CRASH
from triage.dump.observation import FACT, Failure, Form, Observation, as_fact
from triage.dump.request_ids import FACT as REQUEST_IDS
from triage.dump.sections import Dump, Ragged
from triage.evidence import PageEvent, PageHistory, Violation
from triage.invariants.found import Found

SMALL = replace(dumps.SMALL, rows=2)
IDS = ("#0123456789ab", "#ba9876543210")


def filled() -> Dump:
    """Stale state with request ids, page histories, ragged queries, addresses and KV."""
    dump = dumps.make_dump(SMALL)
    tables, launch, pools, backend = dump.tables, dump.launch, dump.pools, dump.backend
    assert tables is not None and launch is not None and pools is not None and backend is not None
    frames = ("mem_cache/common.py:321 alloc_for_decode", "managers/scheduler.py:99 run_batch")
    events = (
        PageEvent("allocated", 7, frames, IDS[0]),
        PageEvent("freed", 5, frames[:1], IDS[1]),
        PageEvent("inserted into the tree", 3),
    )
    offender = Violation(
        "I2", "block_tables", 0, 9, 40, 1, 81, 17, 1, True, Found.WRONG_PAGE, IDS[0]
    )
    facts: dict[str, Any] = {
        "counts": {"I1": 2, "I2": 9},
        "identity": "not asked: rows are not known to be the batch's requests",
        "rows_with_that_page": [1, 2],
        "step": 9,
        "order": ["row 3 was freed in step 8 on stream 0x7 while replay 4 ran"],
        "output": "the output of this step is invalid",
        "freed before as pages of": [1, -1],
        "freed now with pages of": [2],
        "looked at behind step": 9,
        "request": 1,
        "page": 40,
        "pages": [40, 17],
        "full pages": [12],
        "requests": [1, 2],
        "frontier": 64,
        "kv pages left out": "1 of 9",
        "kernel": "triton",
        "stream": "kv",
        "absent": "it was found at step 9",
        "misread": "page starts",
        "size_full": 96,
        REQUEST_IDS: {"1": IDS[0]},
    }
    return replace(
        dump,
        fault=replace(
            dump.fault,
            invariant="I2",
            violations=(offender, *dump.fault.violations),
            kind=Found.WRONG_PAGE,
            facts=facts,
            pages=(PageHistory("swa", 40, events), PageHistory("full", 17)),
        ),
        launch=replace(
            launch,
            cum_seq_lens_q=np.array([0, 1, 3], dtype=np.int64),
            cum_seq_lens_kv=np.array([0, 120, 250], dtype=np.int64),
        ),
        tables=replace(
            tables,
            expected=Ragged(tables.page_table.values.astype(np.int64), tables.page_table.offsets),
            stored_from=np.array([0, 3], dtype=np.int64),
            request_ids=IDS,
            source="the flight recorder: no addresses",
        ),
        pools=replace(
            pools,
            pools=tuple(
                replace(
                    each,
                    layers=(1, 22),
                    available=7,
                    object_id=0x7F00,
                    extents=((0x7F0010000000, 1 << 20), (0x7F0020000000, 1 << 20)),
                )
                for each in pools.pools
            ),
            segments=((0x7F0000000000, 1 << 30),),
        ),
        backend=replace(backend, in_graph=True),
        kv={"k": np.zeros((2, 8), np.float16), "v_pages": np.array([40, 17])},
        extra={"a section of a newer writer": b"\x93\x01\x02\x03"},
        provenance={
            "sglang": "0.5.23",
            "flashinfer": "0.6.17",
            "arch": "sm_90",
            "gpu": "NVIDIA H200",
            "versions": {"torch": "2.13.0"},
            "environment": {"CUDA_LAUNCH_BLOCKING": "1"},
        },
        format_version=1,
    )


def recorded() -> Dump:
    """A crash: launches of the ring, the last with its table, and what another tool said."""

    def entry(number: int) -> dict[str, Any]:
        wide = {} if number < 3 else {"table_values": np.array([5, 81, 7, 8], np.int32)}
        return {
            "sequence": 100 + number,
            "launch": number,
            "tag": number,
            "checker_launch": 50 + number,
            "step": 40 + number,
            "offenders": max(number - 1, 0),
            "space": "swa" if number % 2 else "full",
            "kind": "decode",
            "layer_id": 22,
            "role": "draft",
            "forward_mode": "DECODE",
            "graph": 8 * (number % 2),
            "rows": 2,
            "width": 9,
            "cache_seqlens": np.array([100, 120], np.int32),
            "req_pool_indices": np.array([1, 2], np.int32),
            "q_len": np.array([1, 1], np.int32),
            "first_column": np.array([5, 6], np.int32),
            "table_offsets": np.array([0, 2, 4], np.int32),
            "table_values": None,
            "num_pages": 81,
            "page_size": 16,
            "window_left": 39,
            "stale": "_swa_kv_pool is None" if number > 1 else "",
            "torn": number == 4,
            "lost": "" if number == 3 else "left out of the list",
            **wide,
        }

    seen = Observation(
        Form.CUDA_ERROR,
        Failure.ILLEGAL_ADDRESS,
        source="log",
        line=7,
        rank="TP0",
        time=12.5,
        kernel="fmhaSm100Kernel",
        kernel_at="paged.cu:31",
        space="global",
        address=0x7F0010000040,
        access_bytes=16,
        nearest={"address": 0x7F0010000000, "bytes": 64, "distance": 1, "side": "after"},
        values={"slot_idx": 5},
        text=("CUDA error: an illegal memory access was encountered",),
        count=2,
    )
    facts: dict[str, Any] = {
        "kind": CRASH,
        "launches": 5,
        "first wrong": {"sequence": 102, "check": 52, "step": 42},
        "faulted": {"sequence": 103, "step": 43, "why": "it is the newest that is recorded"},
        FACT: as_fact([seen]),
    }
    base = filled()
    fault = replace(base.fault, invariant="", violations=(), pages=(), kind="", facts=facts)
    return replace(base, fault=fault, history=tuple(map(entry, range(5))), kv=None, extra={})


def recomputed() -> Dump:
    """An output that the witness computed again and found wrong."""
    facts: dict[str, Any] = {
        "table_row": 1,
        "query_before_newest": 0,
        "head": 3,
        "dim": 7,
        "value": float("nan"),
        "reference": 0.25,
        "allowed": 0.01,
        "elements_compared": 256,
        "rows_wrong": [1],
        "table": "sound",
        "read": "after the replay",
        "types": ["float16", "float16", "float16"],
        "request": 2,
    }
    base = filled()
    fault = replace(
        base.fault, invariant="I28", violations=(), kind=Found.OUTPUT_WRONG, facts=facts, total=12
    )
    return replace(base, fault=fault, kv=None, extra={})


ALL = (filled, recorded, recomputed)
NEVER = {("Dump", "format_version")}
"""Has one value in every file that can be read."""


def unfilled(made: Iterable[Dump]) -> set[tuple[str, str]]:
    """Fields, as (class, name), that say no more than their default in all of `made`."""
    known = {
        (each.__name__, field.name)
        for module in (sections, evidence)
        for each in vars(module).values()
        if dataclasses.is_dataclass(each)
        for field in dataclasses.fields(each)
    }
    return known - {place for dump in made for place in _said(dump)} - NEVER


def _said(value: Any) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            inner = getattr(value, field.name)
            empty = field.default_factory() if callable(field.default_factory) else field.default
            if isinstance(inner, np.ndarray) or inner != empty:
                yield type(value).__name__, field.name
            yield from _said(inner)
    elif isinstance(value, (dict, tuple, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _said(inner)
