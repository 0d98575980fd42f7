"""A launch that was copied, and what is told of it once its output is found wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from triage.dump.provenance import provenance
from triage.dump.sections import Backend, Dump, Launch, Pools, Ragged, Tables
from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.sglang.binding.shell import attempt
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.collect import backend_section, launch_section, pools_section
from triage.sglang.launch.entry import Entry
from triage.sglang.launch.pools import active_pool, pool_view
from triage.sglang.witness.judge import Judgement, Wrong
from triage.sglang.witness.sample import Sample

WITH_LAUNCH, AFTER_REPLAY = "with the launch", "after the replay"
"""When the cache was copied."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the host knows of a launch, for the words of a finding and its dump."""

    launch: Launch
    pools: Pools
    backend: Backend | None
    layer_id: int | None
    forward_mode: str
    pool: str
    checked: bool
    """Were the page ids compared with the request's?"""

    @classmethod
    def of(cls, call: AttentionCall, entry: Entry, launch: int, *, checked: bool) -> Seen:
        """Host work only. launch: its number."""
        read = pool_view(call, active_pool(entry.backend, entry.forward_batch), entry.layer_id)
        return cls(
            launch=launch_section(call, entry, launch, read=False),
            pools=pools_section(call, entry, read),
            backend=backend_section(entry),
            layer_id=entry.layer_id,
            forward_mode=entry.forward_mode,
            pool=read.space.name,
            checked=checked and entry.rows_match(call),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A launch of `step` that is to be compared.

    read: when its cache was copied. ready: behind the copies, None without a GPU.
    """

    step: int
    seen: Seen
    sample: Sample
    read: str
    ready: torch.cuda.Event | None

    @property
    def in_graph(self) -> bool:
        return self.read == AFTER_REPLAY


def evidence_of(pending: Pending, judged: Judgement, wrong: Wrong, *, invalid: bool) -> Evidence:
    """The words and values of a finding. Waits for the device.

    invalid: the output of the step is kept back.
    """
    seen = pending.seen
    newest = "" if not wrong.query else f", newest query but {wrong.query}"
    facts: dict[str, object] = {
        "table_row": wrong.row,
        "query_before_newest": wrong.query,
        "head": wrong.head,
        "dim": wrong.dim,
        "value": wrong.value,
        "reference": wrong.reference,
        "allowed": wrong.allowed,
        "elements_compared": judged.elements,
        "rows_wrong": list(wrong.rows),
        "table": "sound" if seen.checked else "sound as far as its form goes",
        "read": pending.read,
        "types": [str(each).removeprefix("torch.") for each in pending.sample.numbers],
    }
    requests = pending.sample.requests
    if requests is not None and len(requests) == len(pending.sample.table):
        facts["request"] = int(requests[wrong.row])
    if invalid:
        facts["output"] = "the output of this step is invalid"
    return Evidence(
        invariant="I28",
        summary=(
            f"wrong output: out[row {wrong.row}{newest}, head {wrong.head}, {wrong.dim}] = "
            f"{wrong.value:.6g}, the pages give {wrong.reference:.6g} (allowed difference "
            f"{wrong.allowed:.2g}); {wrong.elements} of {judged.elements} elements"
        ),
        where=_where(pending),
        pool=seen.pool,
        layer_id=seen.layer_id,
        forward_mode=seen.forward_mode,
        total=wrong.elements,
        rows_affected=len(wrong.rows),
        facts=facts,
        kind=Found.OUTPUT_WRONG,
    )


def _where(pending: Pending) -> str:
    launch, step = pending.seen.launch.launch_id, pending.step
    if pending.in_graph:
        return f"launch {launch}, captured in a graph that step {step} replayed"
    return f"launch {launch} of step {step}"


def dump_of(fault: Evidence, pending: Pending) -> Dump:
    """The launch, and its table and lengths as they were; who held the rows is not repeated."""
    sample, seen = pending.sample, pending.seen
    lengths = sample.all_lengths.cpu().long()
    table = sample.table.cpu()
    columns = (-(-lengths.clamp(min=0) // sample.page_size)).clamp(max=table.shape[1])
    offsets = None if sample.offsets is None else sample.offsets.cpu().long().numpy()
    requests = None if sample.requests is None else sample.requests.cpu().long().numpy()
    if requests is not None and len(requests) != len(lengths):
        requests = None
    return Dump(
        fault=fault,
        launch=replace(seen.launch, cum_seq_lens_q=offsets),
        tables=Tables(
            page_table=Ragged.of(table.numpy(), columns.numpy().astype(np.int64)),
            cache_seqlens=lengths.numpy(),
            req_pool_indices=requests,
        ),
        pools=seen.pools,
        backend=None if seen.backend is None else replace(seen.backend, in_graph=pending.in_graph),
        provenance=attempt("provenance", provenance, {}),
    )
