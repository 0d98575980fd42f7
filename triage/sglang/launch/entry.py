"""Where in SGLang a FlashInfer call comes from: backend, layer and forward batch.

The FlashInfer call itself carries no provenance. `forward_decode` and
`forward_extend` of the backend do, so a hook there notes the entry for the
calls made inside it, and a hook on `__init__` notes what the backend was built
for. Host work only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor

from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.hot_state import Checked, Forward, HotState, Replacement
from triage.sglang.launch.pools import PoolView, is_hybrid, translated


@dataclass(frozen=True, slots=True)
class Origin:
    """What a backend was constructed for."""

    role: str = "unknown"
    pool_class: str = ""
    sliding_window: int | None = None

    @classmethod
    def of(cls, model_runner: Any) -> Origin:
        return cls(
            role="draft" if getattr(model_runner, "is_draft_worker", False) else "target",
            pool_class=type(getattr(model_runner, "token_to_kv_pool", None)).__name__,
            sliding_window=getattr(model_runner, "sliding_window_size", None),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of `forward_decode` or `forward_extend`."""

    backend: Any
    layer: Any
    forward_batch: Any
    origin: Origin
    allocator_of: Callable[[Any], Any]

    @property
    def layer_id(self) -> int:
        return int(self.layer.layer_id)

    @property
    def forward_mode(self) -> str:
        mode = self.forward_batch.forward_mode
        return str(getattr(mode, "name", mode))

    @property
    def uniform(self) -> bool:
        """Does every row of the batch have the same number of tokens?"""
        mode = self.forward_batch.forward_mode
        return bool(mode.is_decode() or mode.is_target_verify())

    @property
    def added_tokens(self) -> tuple[int, ...]:
        """What this mode adds to `seq_lens`; empty where the mode does not say.

        Draft decode counts its own steps; a frozen-KV draft reads the committed prefix.
        """
        mode, batch = self.forward_batch.forward_mode, self.forward_batch
        if mode.is_decode():
            step = getattr(self.backend, "speculative_step_id", None)
            if batch.spec_info is None or step is None:
                return (0,)
            return (int(step) + 1, 0)
        if mode.is_target_verify() and not getattr(self.metadata, "is_ragged_verify", False):
            return (len(batch.input_ids) // max(int(batch.batch_size), 1),)
        return ()

    @property
    def metadata(self) -> Any:
        return getattr(self.backend, "forward_metadata", None)

    @property
    def req_to_token(self) -> Tensor | None:
        return getattr(self.backend, "req_to_token", None)

    @property
    def req_pool_indices(self) -> Tensor | None:
        return getattr(self.forward_batch, "req_pool_indices", None)

    def table_space(self, call: AttentionCall) -> str:
        """Which space the backend takes the table it passed to be in: "full", "swa" or ""."""
        for name, attribute in (("swa", "swa_page_table"), ("full", "page_table")):
            table = getattr(self.metadata, attribute, None)
            if table is not None and table.data_ptr() == call.block_tables.data_ptr():
                return name
        return ""

    def rows_match(self, call: AttentionCall) -> bool:
        """Is the forward batch's request list that of the table's rows?

        Not for a synthetic batch (context parallelism doubles the rows,
        encoder-only verify gives every token a row).
        Nor where the table holds other ids than the request table: see `translated`.
        """
        known = call.rows_are_requests and not translated(self.backend)
        indices = self.req_pool_indices if known else None
        return indices is not None and indices.shape[0] == call.block_tables.shape[0]

    def requests_of(self, call: AttentionCall) -> Tensor | None:
        """The request of each of the table's rows; None where they are not known.

        A launch over some of the metadata's rows (an extend that is cut, 0.5.23) has those
        requests. Host work: addresses and shapes.
        """
        if self.rows_match(call):
            return self.req_pool_indices
        first, indices = self._first_row(call.block_tables), self.req_pool_indices
        rows = call.block_tables.shape[0]
        if first is None or indices is None or not call.rows_are_requests:
            return None
        if translated(self.backend):
            return None
        return indices[first : first + rows] if first + rows <= len(indices) else None

    def attributed(self, call: AttentionCall) -> Tensor | None:
        """Whose each row is, of a table whose ids are not to be compared with the request table.

        A row that the scheduler takes back while its step is queued is known by this alone.
        """
        known = call.rows_are_requests and translated(self.backend)
        indices = self.req_pool_indices if known else None
        if indices is None or indices.shape[0] != call.block_tables.shape[0]:
            return None
        return indices

    def _first_row(self, table: Tensor) -> int | None:
        """Where a slice of the metadata's rows begins; None for any other table."""
        for whole in (
            getattr(self.metadata, name, None) for name in ("page_table", "swa_page_table")
        ):
            if (
                not isinstance(whole, Tensor)
                or whole.dim() != 2
                or table.dim() != 2
                or whole.dtype != table.dtype
                or whole.stride() != table.stride()
                or whole.shape[1] != table.shape[1]
            ):
                continue
            row = whole.stride(0) * whole.element_size()
            first, rest = divmod(table.data_ptr() - whole.data_ptr(), max(row, 1))
            if not rest and first >= 0 and first + table.shape[0] <= whole.shape[0]:
                return int(first)
        return None


class Entries:
    """Which backend's call this process is in, and what each backend was built for."""

    def __init__(self) -> None:
        self.hot = HotState()
        self._origins: WeakKeyDictionary[Any, Origin] = WeakKeyDictionary()
        self._allocators: WeakSet[Any] = WeakSet()

    def forget(self) -> None:
        self._origins.clear()
        self._allocators.clear()

    def note_backend(self, backend: Any, model_runner: Any) -> None:
        self._origins[backend] = Origin.of(model_runner)

    def note_allocator(self, allocator: Any) -> None:
        self._allocators.add(allocator)

    def page_size(self) -> int:
        """Tokens per page of the allocators seen so far; 0 before there is one."""
        return max((int(a.page_size) for a in self._allocators), default=0)

    def request_table(self) -> Tensor | None:
        """The `req_to_token` that the backends share; None where there are several, or none."""
        tables = [getattr(backend, "req_to_token", None) for backend in list(self._origins)]
        found = {id(table): table for table in tables if isinstance(table, Tensor)}
        return next(iter(found.values())) if len(found) == 1 else None

    def origin_of(self, backend: Any) -> Origin:
        return self._origins.get(backend, Origin())

    def allocator_of(self, pool: Any) -> Any:
        """The SWA allocator that hands out the slots of `pool`, if it was seen."""
        return next((a for a in self._allocators if getattr(a, "_kvcache", None) is pool), None)

    @property
    def current(self) -> Entry | None:
        """The call this process is in."""
        call = self.hot.current_call
        if call is None:
            return None
        return Entry(*call, self.origin_of(call[0]), self.allocator_of)

    def forward(self, entry: Entry, pool: Any) -> Forward:
        """The memory of the forward that `entry` belongs to, which reads `pool`."""
        return self.hot.decide(entry.backend, entry.forward_batch, pool)


class _EveryLayerFull(dict[int, tuple[int, bool]]):
    """The layers of a pool that is not hybrid."""

    def __missing__(self, layer_id: int) -> tuple[int, bool]:
        return layer_id, False


_FULL = _EveryLayerFull()


def checked_of(
    call: AttentionCall, read: PoolView, replacement: Replacement | None = None
) -> Checked:
    """What the launches of further layers are compared with, once this one was checked."""
    return Checked(
        table=call.block_tables,
        lengths=call.cache_seqlens,
        cumulative=call.cum_seq_lens_q,
        q_len=call.arguments.get("q_len_per_req"),
        window=call.window_left,
        pages=call.num_pages,
        kinds=read.pool.layers_mapping if is_hybrid(read.pool) else _FULL,
        slides=read.space.name == "swa",
        replacement=replacement,
    )
