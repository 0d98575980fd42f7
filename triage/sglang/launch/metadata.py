"""I13, I15, I21, I22: attention metadata when it is built; I11 is told whom it serves.

The failure: tables are built for more pages than they have columns, from slots not
divided or divided twice, or over a window with a hole. Capacity is looked at before
SGLang fills the table, the rest behind it. What is built is noted for `freshness.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triage.device import capture
from triage.evidence import Evidence
from triage.invariants.found import Found
from triage.invariants.geometry import check_capacity, check_offset
from triage.invariants.lifecycle import check_window_mapped
from triage.invariants.reads import IndexSpace
from triage.invariants.spec import check_granularity
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.pools import active_pool, is_hybrid, num_pages, sub_pools, translated


class Metadata:
    """Stands around the builders of metadata. `every`: forwards per check that reads tables."""

    def __init__(self, launches: LaunchGuard, every: int = 1) -> None:
        self.launches = launches
        self.reporter = launches.reporter
        self.freshness = launches.freshness
        self.every = every

    # -- building --------------------------------------------------------------------------

    def around_eager(self, original: Any, backend: Any, forward_batch: Any, *args: Any) -> Any:
        if "I13" in self.reporter.enabled and not capture.capturing():
            self._fits(backend, forward_batch)
        before = getattr(backend, "forward_metadata", None)
        result = original(backend, forward_batch, *args)
        if backend.forward_metadata is before and before is not None:
            return result  # nothing was built: what is there still serves whom it served
        self.freshness.built_for(backend, forward_batch)
        reads = self.reporter.whole("I22") or self.reporter.whole("I15")
        turn = reads and self.freshness.builds % self.every == 0
        if turn and self.reporter.may_wait and forward_batch.batch_size:
            self._look(backend, forward_batch)
        return result

    def around_graph(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(backend, *args, **kwargs)
        self.freshness.built_for_graph(backend)
        if "I13" in self.reporter.enabled:
            self._graph_fits(backend, args[0] if args else kwargs.get("forward_batch"))
        return result

    def around_init(
        self, original: Any, backend: Any, runner: Any, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(backend, runner, *args, **kwargs)
        for found in offsets(backend, runner):
            self.reporter.fire_event(found)
        return result

    # -- I13 ---------------------------------------------------------------------------------

    def _fits(self, backend: Any, forward_batch: Any) -> None:
        """A table of fixed width is filled by the lengths alone: it must be wide enough."""
        if not hasattr(backend, "_fill_page_table_device"):
            return  # gathered on the host, as wide as the longest row
        mode, whole = forward_batch.forward_mode, self.reporter.whole("I13")
        if not whole and mode.is_decode():
            return  # judged at the launch: a table narrower than its longest row is I26
        columns = getattr(backend, "max_num_pages", None)
        longest = _longest(forward_batch, self.reporter.may_wait and whole)
        if columns is None or longest is None:
            return
        if mode.is_target_verify():
            longest += int(backend.speculative_num_draft_tokens or 0)
        self._report(
            check_capacity(
                "a row of the page table",
                needed=-(-longest // int(backend.page_size)),
                capacity=int(columns),
                kind=Found.TABLE_TOO_NARROW,
                where=f"metadata of {getattr(mode, 'name', mode)}",
            )
        )

    def _graph_fits(self, backend: Any, forward_batch: Any) -> None:
        mode = getattr(forward_batch, "forward_mode", None)
        drafting = getattr(forward_batch, "spec_info", None) is not None
        drafting = drafting or self.launches.entries.origin_of(backend).role == "draft"
        if mode is None or (drafting and not mode.is_target_verify()):
            return  # a draft's batch brings the slots of all its steps, and not always a spec_info
        metadata = backend.forward_metadata
        written = getattr(metadata, "swa_out_cache_loc", None)
        loc = getattr(forward_batch, "out_cache_loc", None)
        if written is not None and loc is not None:
            self._report(
                check_capacity(
                    "swa_out_cache_loc of the graph", needed=len(loc), capacity=len(written)
                )
            )

    # -- I15, I22 ----------------------------------------------------------------------------

    def _look(self, backend: Any, forward_batch: Any) -> None:
        enabled = self.reporter.enabled
        pool = active_pool(backend, forward_batch)
        metadata = backend.forward_metadata
        requests, lengths = forward_batch.req_pool_indices, metadata.cache_seqlens_int32
        if lengths is None or len(requests) != len(lengths) or translated(backend):
            return
        if "I22" in enabled and int(backend.page_size) > 1:
            for name, table, mapping in _tables(metadata, pool):
                if table is not None and len(table) == len(lengths):
                    self._granular(backend, pool, name, table, mapping, requests, lengths)
        if self.reporter.whole("I15") and is_hybrid(pool):
            self._window(backend, forward_batch, pool, requests, lengths)

    def _granular(
        self,
        backend: Any,
        pool: Any,
        name: str,
        table: Tensor,
        mapping: Tensor | None,
        requests: Tensor,
        lengths: Tensor,
    ) -> None:
        page = int(backend.page_size)
        sub = next(each for each_name, each, _ in sub_pools(pool) if each_name == name)
        self.reporter.fire_findings(
            check_granularity(
                table,
                lengths,
                IndexSpace(name, page, num_pages(sub, page)),
                req_pool_indices=requests,
                req_to_token=backend.req_to_token,
                full_to_swa=mapping,
            ),
            "I22",
            "a page table holds slots, or ids divided by the page size twice",
            name,
            "metadata",
        )

    def _window(
        self, backend: Any, forward_batch: Any, pool: Any, requests: Tensor, lengths: Tensor
    ) -> None:
        window = self.launches.entries.origin_of(backend).sliding_window
        mode = forward_batch.forward_mode
        queries = 1
        if mode.is_target_verify():
            queries = int(backend.speculative_num_draft_tokens or 1)
        elif not mode.is_decode():
            return  # rows of an extend differ in their queries; I2 and I1 judge their tables
        if window is None or window < 0:
            return
        self.reporter.fire_findings(
            check_window_mapped(
                requests,
                lengths,
                backend.req_to_token,
                pool.full_to_swa_index_mapping,
                window_left=int(window),
                q_len=queries,
            ),
            "I15",
            "a token that a query can see has no SWA slot any more",
            "swa",
            f"metadata of {getattr(mode, 'name', mode)}",
        )

    def _report(self, found: Evidence | None) -> None:
        if found is not None:
            self.reporter.fire_event(found)


def offsets(backend: Any, runner: Any) -> list[Evidence]:
    """I21 at construction: slots fit the tensors that name them, offsets the kernels' integers."""
    pool, table = runner.token_to_kv_pool, backend.req_to_token
    found = []
    for name, sub, _ in sub_pools(pool):
        rows = int(sub.size) + int(backend.page_size)
        holders: list[tuple[str, Tensor]] = [("req_to_token", table)] if name == "full" else []
        mapping = pool.full_to_swa_index_mapping if name == "swa" else None
        if mapping is not None:  # a unified pool has none
            holders = [("full_to_swa_index_mapping", mapping)]
        for holder, tensor in holders:
            bits = torch.iinfo(tensor.dtype).bits
            found.append(
                check_offset(
                    f"slots of the {name} pool in {holder} ({tensor.dtype})",
                    max_index=rows - 1,
                    stride=1,
                    bits=bits,
                    where="TRTLLMHAAttnBackend.__init__",
                )
            )
    columns = getattr(backend, "max_num_pages", None)
    if columns is not None:  # program id times a compile-time stride: 32 bits
        found.append(
            check_offset(
                "rows of a page table",
                max_index=len(table) - 1,
                stride=int(columns),
                where="TRTLLMHAAttnBackend.__init__",
            )
        )
    return [each for each in found if each is not None]


def _tables(metadata: Any, pool: Any) -> list[tuple[str, Tensor | None, Tensor | None]]:
    tables: list[tuple[str, Tensor | None, Tensor | None]] = [("full", metadata.page_table, None)]
    if is_hybrid(pool):
        swa = getattr(metadata, "swa_page_table", None)
        tables.append(("swa", swa, pool.full_to_swa_index_mapping))
    return tables


def _longest(forward_batch: Any, may_wait: bool) -> int | None:
    """Tokens of the longest row, from the host's copy; from the device where that is allowed."""
    lengths = getattr(forward_batch, "seq_lens_cpu", None)
    if lengths is None and may_wait:
        lengths = forward_batch.seq_lens
    return None if lengths is None or not len(lengths) else int(lengths.max())
