"""What each family of checks costs on its own: microseconds, host reads, launches.

Sizes are those of a decode step of Gemma-4-E4B: 64 rows, 144 pages of 64 tokens,
8,657 SWA pages, window 512. Host reads and launches are counted, which holds on
any device; the microseconds are this machine's, never a share of a step.

    python -m triage.bench.family_cost > families.json
    python -m triage.bench.family_cost --markdown

Long because it is a table: a row a check, with a call of it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triage.bench.figure import Figure
from triage.device.page_audit import NUMBERS, PageAudit
from triage.device.syncs import count_syncs
from triage.dump.store import DumpStore
from triage.invariants import (
    allocator,
    geometry,
    graph,
    lengths,
    lifecycle,
    mapping,
    reads,
    rows,
    spec,
    writes,
)
from triage.invariants import tree as trees
from triage.invariants.findings import Findings
from triage.invariants.ledger import PageLedger, RequestLedger
from triage.invariants.reads import IndexSpace
from triage.sglang.allocator.allocation_checks import AllocationChecks
from triage.sglang.allocator.frontier import Frontier
from triage.sglang.traps import Traps

PAGE, ROWS, CONTEXT, WINDOW_LEFT = 64, 64, 9216, 511
SWA_PAGES, FULL_PAGES = 8658, 10822

_STAMP = graph.MetadataStamp(1, ROWS, ROWS)
_STATE: dict[str, object] = {"token_to_kv_pool": object(), "spec_info": None}

WHEN = {
    "reads: check_table, full": "forward (I1, I2)",
    "reads: check_table, swa": "forward (I1, I2)",
    "reads: check_lengths": "forward (I12)",
    "reads: check_query_offsets": "forward with query offsets (I12)",
    "reads: check_translation": "translation (I9)",
    "writes: check_writes": "forward (I3)",
    "writes: check_own_slots": "forward (I3, I20)",
    "graph: check_padded_tokens": "padded replay (I10)",
    "graph: check_freshness": "forward (I11)",
    "graph: check_padding": "no hook passes it (I10)",
    "allocator: check_allocated": "allocation and pool (I20)",
    "allocator: check_last_slots": "allocation (I20)",
    "allocator: check_mapping": "N steps (I4)",
    "allocator: check_budget": "admission (I25)",
    "lifecycle: check_mapped": "allocation (I8)",
    "lifecycle: check_cleared": "free (I6)",
    "lifecycle: check_left_alone": "free (I6)",
    "lifecycle: check_row_pages": "write into the request table (I20)",
    "lifecycle: check_request_rows": "allocation that is wrong (I14)",
    "lifecycle: a look at the free lists": "64 decode steps, by default (I5, I17)",
    "lifecycle: lengths against the row": "prompt, by default (I14)",
    "lifecycle: frontier of a request": "eviction of a request, by default (I15)",
    "lifecycle: row given back": "end of a request, by default (I17)",
    "lifecycle: check_transfer": "transfer, by default (I24)",
    "lifecycle: check_frontier": "eviction that is wrong (I15)",
    "lifecycle: check_window_mapped": "N forwards (I15)",
    "tree: check_nodes": "N operations (I16)",
    "tree: check_locks": "N operations (I16)",
    "spec: check_capacity": "prompt or verify, by default (I13)",
    "spec: check_restored": "view, by default (I23)",
    "geometry: check_granularity": "N forwards and table (I22)",
    "geometry: check_shared_index_range": "construction, by default (I19)",
    "geometry: check_workspace": "launch (I27)",
    "geometry: check_offset": "construction, by default (I21)",
}
"""How often a check runs: once per this. N is SGLANG_TRTLLM_MHA_DEBUG_EVERY."""


def _checks(device: str) -> dict[str, Callable[[], Findings | None]]:
    """One representative call per check, by `family: check`; each leaves its result unread."""
    width = CONTEXT // PAGE
    order = torch.randperm(FULL_PAGES - 1, generator=torch.Generator().manual_seed(0)) + 1
    table = order[: ROWS * width].view(ROWS, width)
    slots = table[:, :, None] * PAGE + torch.arange(PAGE)
    req_to_token = torch.zeros(ROWS + 1, CONTEXT, dtype=torch.int32)
    req_to_token[1:] = slots.view(ROWS, CONTEXT)
    to_swa = torch.zeros(FULL_PAGES * PAGE + 1, dtype=torch.int64)
    to_swa[-1] = -1
    full_held, swa_held = (torch.zeros(n, dtype=torch.bool) for n in (FULL_PAGES, SWA_PAGES))
    full_held[table] = True
    newest = table[:, -9:].reshape(-1)
    for position, page in enumerate(newest.tolist(), start=1):
        start = position * PAGE
        to_swa[page * PAGE : (page + 1) * PAGE] = torch.arange(start, start + PAGE)
    swa_held[1 : len(newest) + 1] = True
    swa_table = torch.where(to_swa[table * PAGE] > 0, to_swa[table * PAGE] // PAGE, 0)

    on = {
        "table": swa_table.to(torch.int32),
        "full": table.to(torch.int32),
        "lengths": torch.full((ROWS,), CONTEXT, dtype=torch.int32),
        "owners": torch.arange(1, ROWS + 1),
        "r": req_to_token,
        "m": to_swa,
        "full_held": full_held,
        "swa_held": swa_held,
        "free": (~full_held).nonzero().view(-1)[1:],
        "offsets": torch.arange(ROWS + 1, dtype=torch.int32),
        "loc": slots[:, -1, -1].clone(),
        "flat": slots.view(-1),
        "node": (torch.arange(CONTEXT) < CONTEXT - 9 * PAGE).long().repeat(ROWS),
        "gone": torch.tensor([False, True]),
        "workspace": torch.zeros(geometry.SPLIT_K_COUNTER_BYTES, dtype=torch.uint8),
    }
    t = {name: tensor.to(device) for name, tensor in on.items()}
    full, swa = IndexSpace("full", PAGE, FULL_PAGES), IndexSpace("swa", PAGE, SWA_PAGES)
    where = {"req_pool_indices": t["owners"], "req_to_token": t["r"]}
    parents = torch.arange(-1, ROWS - 1, device=device)
    ones = torch.ones(ROWS, dtype=torch.int64, device=device)
    return {
        "reads: check_table, full": lambda: reads.check_table(
            t["full"], t["lengths"], full, window_left=-1, **where
        ),
        "reads: check_table, swa": lambda: reads.check_table(
            t["table"],
            t["lengths"],
            swa,
            window_left=WINDOW_LEFT,
            full_to_swa=t["m"],
            **where,
        ),
        "writes: check_writes": lambda: writes.check_writes(
            t["loc"],
            full,
            swa_loc=t["m"][t["loc"]],
            swa_space=swa,
            full_to_swa=t["m"],
            req_pool_indices=t["owners"],
        ),
        "reads: check_lengths": lambda: lengths.check_lengths(
            t["lengths"], t["lengths"], (0,), req_pool_indices=t["owners"]
        ),
        "writes: check_own_slots": lambda: writes.check_own_slots(
            t["loc"], t["owners"], t["lengths"], t["r"], page_size=PAGE
        ),
        "reads: check_query_offsets": lambda: lengths.check_query_offsets(
            t["offsets"], query_rows=ROWS, padded=False, max_q_len=1
        ),
        "reads: check_translation": lambda: mapping.check_translation(
            t["loc"], t["m"][t["loc"]], t["m"]
        ),
        "graph: check_padded_tokens": lambda: graph.check_padded_tokens(
            num_real_tokens=ROWS, req_pool_indices=t["owners"]
        ),
        "graph: check_freshness": lambda: _none(graph.check_freshness(_STAMP, _STAMP)),
        "graph: check_padding": lambda: graph.check_padding(
            t["full"], t["lengths"], full, num_real_rows=ROWS, req_pool_indices=t["owners"]
        ),
        "allocator: check_allocated": lambda: allocator.check_allocated(
            t["loc"], size=(FULL_PAGES - 1) * PAGE, page_size=PAGE
        ),
        "allocator: check_last_slots": lambda: allocator.check_last_slots(
            t["lengths"] - 1, ones > 0, t["loc"] - 1, page_size=PAGE, req_to_token=t["r"]
        ),
        "allocator: check_mapping": lambda: mapping.check_mapping(
            t["m"], t["full_held"], t["swa_held"], page_size=PAGE
        ),
        "allocator: check_budget": lambda: _none(
            geometry.check_budget(tokens=CONTEXT - 1, page_size=PAGE, reserved=CONTEXT)
        ),
        "lifecycle: check_mapped": lambda: mapping.check_mapped(t["loc"], t["m"], t["m"][t["loc"]]),
        "lifecycle: check_cleared": lambda: mapping.check_cleared(
            t["loc"][:1], torch.zeros_like(t["m"]), page_size=PAGE
        ),
        "lifecycle: check_left_alone": lambda: mapping.check_left_alone(
            t["m"] != 0, t["m"], t["loc"][:1], page_size=PAGE
        ),
        "lifecycle: check_row_pages": lambda: rows.check_row_pages(
            t["r"], t["owners"], t["lengths"] - 1, page_size=PAGE, written=t["loc"]
        ),
        "lifecycle: check_request_rows": lambda: lifecycle.check_request_rows(
            t["owners"], t["lengths"], num_rows=ROWS + 1, row_width=CONTEXT
        ),
        "lifecycle: check_transfer": lambda: _none(geometry.check_transfer(9, 9)),
        "lifecycle: check_frontier": lambda: lifecycle.check_frontier(
            ones * 0, t["lengths"], t["lengths"], t["lengths"], window_left=511, page_size=PAGE
        ),
        "lifecycle: check_window_mapped": lambda: lifecycle.check_window_mapped(
            t["owners"], t["lengths"], t["r"], t["m"], window_left=WINDOW_LEFT
        ),
        "tree: check_nodes": lambda: trees.check_nodes(t["flat"], t["node"], t["gone"], t["m"]),
        "tree: check_locks": lambda: trees.check_locks(parents, ones, ones),
        **_by_default(t, parents.device),
        "spec: check_capacity": lambda: _none(
            geometry.check_capacity("row", needed=CONTEXT // PAGE, capacity=CONTEXT // PAGE)
        ),
        "spec: check_restored": lambda: _none(spec.check_restored(_STATE, dict(_STATE))),
        "geometry: check_granularity": lambda: spec.check_granularity(
            t["full"], t["lengths"], full, **where
        ),
        "geometry: check_workspace": lambda: geometry.check_workspace(t["workspace"]),
        "geometry: check_shared_index_range": lambda: _none(
            geometry.check_shared_index_range(
                "draft", pool_rows=FULL_PAGES * PAGE, allocator_size=CONTEXT, page_size=PAGE
            )
        ),
        "geometry: check_offset": lambda: _none(
            geometry.check_offset("row", max_index=FULL_PAGES * PAGE, stride=256)
        ),
    }


def _by_default(t: dict[str, torch.Tensor], device: Any) -> dict[str, Callable[[], None]]:
    """What is on beside the cheap families, as its hooks call it while nothing is wrong."""
    traps = Traps(DumpStore(Path(tempfile.gettempdir())))
    audit = PageAudit(FULL_PAGES, PAGE, device)
    slots = t["full"][: ROWS - 1] * PAGE
    ends, rows = torch.full((ROWS - 1,), CONTEXT), t["owners"][: ROWS - 1]
    width = AllocationChecks(traps.reporter, None)  # type: ignore[arg-type]
    table = _Table()
    table.req_to_token = t["r"]
    width.around_row_alloc(lambda _: None, table)
    lengths = [CONTEXT] * ROWS  # of the host; a tensor would be counted as if on the device
    frontier, req = Frontier(traps.reporter), _Evicted()
    books = RequestLedger()

    def row_given_back() -> None:
        books.acquire(3, where="alloc")
        books.release(3, where="free")

    return {
        "lifecycle: a look at the free lists": lambda: _none_of(
            audit.look(audit.read(slots, ends), rows, ends, [t["free"]])
        ),
        "lifecycle: lengths against the row": lambda: width._fits_its_row(
            _alloc_extend, (None, None, None, lengths), {}
        ),
        "lifecycle: frontier of a request": lambda: frontier._evict(
            req.evict, req, CONTEXT, WINDOW_LEFT + 1, PAGE
        ),
        "lifecycle: row given back": row_given_back,
    }


def _none_of(numbers: torch.Tensor) -> None:
    """The numbers stay on the device: the host reads them later, from pinned memory."""
    assert numbers.shape == (NUMBERS,)


def _alloc_extend(
    prefix_lens: Any, prefix_lens_cpu: Any, seq_lens: Any, seq_lens_cpu: Any, last_loc: Any
) -> None:
    """The signature of SGLang's."""


class _Table:
    """Stands for a request table."""

    req_to_token: torch.Tensor


class _Evicted:
    """A request whose window moves on by a page at each call."""

    swa_evicted_seqlen = cache_protected_len = 0
    seqlen = CONTEXT + 1

    def evict(self) -> None:
        behind = CONTEXT - 2 * (WINDOW_LEFT + 1)
        self.swa_evicted_seqlen = (self.swa_evicted_seqlen + PAGE) % behind // PAGE * PAGE


def _silent(name: str, check: Callable[[], Findings | None]) -> None:
    found = check()
    if found is not None and found.total:
        raise AssertionError(f"{name}: {found.violations()[0].sentence()}")


def _none(result: object) -> None:
    assert result is None


def _ledger_costs() -> dict[str, dict[str, float]]:
    books = PageLedger("full", FULL_PAGES, PAGE)
    chunk = np.arange(PAGE, PAGE + CONTEXT)
    decode = np.arange(1, ROWS + 1) * PAGE * 3

    def cycle(slots: np.ndarray) -> Callable[[], None]:
        def body() -> None:
            books.alloc(slots, where="alloc")
            books.free(slots, where="free")

        return body

    free = np.arange(1, FULL_PAGES)
    costs = {
        f"ledger: alloc and free of {CONTEXT} tokens": _median_us(cycle(chunk)) / 2,
        f"ledger: alloc and free of {ROWS} tokens": _median_us(cycle(decode)) / 2,
        "ledger: audit": _median_us(lambda: books.audit(free)),
    }
    return {
        name: {"us": round(us, 1), "host_reads": 0, "launches": 0} for name, us in costs.items()
    }


def _median_us(call: Callable[[], Any], rounds: int = 15) -> float:
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e6)
    return statistics.median(times)


def family_costs(device: str = "cpu") -> dict[str, dict[str, float]]:
    """Per check: microseconds with its host read, host reads, launches. Asserts silence."""
    costs: dict[str, dict[str, float]] = {}
    for name, check in _checks(device).items():
        read = partial(_silent, name, check)
        with count_syncs() as counts:
            read()
        costs[name] = {
            "us": round(_median_us(read), 1),
            "host_reads": counts.total_host_reads,
            "launches": counts.total_launches,
        }
    return costs | _ledger_costs()


def figures() -> list[Figure]:
    return [
        Figure(
            name,
            cost["us"],
            "us",
            beside=f"{cost['host_reads']:.0f} host reads, {cost['launches']:.0f} launches",
        )
        for name, cost in family_costs().items()
    ]


def markdown(costs: dict[str, dict[str, float]]) -> str:
    lines = ["| Family: check | once per | us | host reads | launches |", "|---|---|---|---|---|"]
    for name, cost in costs.items():
        numbers = f"{cost['us']:.0f} | {cost['host_reads']:.0f} | {cost['launches']:.0f}"
        lines.append(f"| {name} | {WHEN.get(name, 'event')} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    measured = family_costs("cuda" if torch.cuda.is_available() else "cpu")
    text = markdown(measured) if "--markdown" in sys.argv else json.dumps(measured, indent=2)
    sys.stdout.write(text + "\n")
