"""Put a defect into a real server, from its start or from a moment on.

Each is a plugin of its own that is called before `sglang-triage`, in every process, and lies
below its hooks (see `plugin_folder`). Where a control file is legal the defect begins when that
file appears, so that one server can show both: sound, then wrong.

    stale-swa-state   sgl-project/sglang#26957: a frozen-KV draft keeps the SWA state of its own
                      pool (`triage.lab.reinject`). From the start only, as it was: graphs bake in
                      what the backend held at their capture. Nothing is wrong yet while both
                      pools hand out the same ids.
    clamp             the same, and ids beyond the SWA pool cut to its last page: what people do
                      against the crash. For comparison; from the start only.
    page-exchange     the newest page of the first two rows of a target's table change places: each
                      reads a page of another request, in range. For servers without a draft.
                      With `rank`, on that tensor-parallel rank alone. Through FlashInfer's own
                      backend (fa2) and Triton's, which take slots: the newest slot, of decode.
    draft-exchange    the same in the table of a frozen-KV draft, while it drafts.
    double-free, aborted-in-flight
                      a page given back twice, and one that a request decodes in
                      (`ledger_defects.py`): with CHECKS=all the evidence names their functions.
    row-zero, write-tail
                      a request is given the row that padding reads; padded tokens of a graph write
                      where another request's keys are (`blind_defects.py`). Each tells the
                      oracle's file itself when the state is first wrong.
    far-first         no defect: the full pool hands out first the ids that leave all mapped memory
                      from every SWA buffer (`address_map`), the others in descending order.
                      SGLang promises no order.

Not covered: the exchanges in releases before 0.5.14 (LabError says so in the server's log), and in
the graphs of trtllm_mha from 0.5.15.post1 on, whose tables are filled by a kernel inside them.

Long because it is a table of defects, each with the few lines that plant it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from triage.errors import LabError, did_you_mean
from triage.lab.patching import replaced
from triage.lab.server import address_map, blind_defects, ledger_defects, plugin_folder
from triage.lab.server.late import (
    Moments,
    Observer,
    Step,
    capturing,
    complain,
    moments,
    observe,
)

_held: list[Any] = []  # contexts that last as long as the process


def plugin(
    name: str,
    directory: Path,
    *,
    control: Path | None = None,
    told: Path | None = None,
    rank: int | None = None,
) -> Path:
    """A plugin folder with which a server has the defect `name`.

    control: the defect begins when this file appears; None has it from the start.
    told: the oracle's file, to which a defect that is its own oracle writes.
    rank: the tensor-parallel rank that has it; None for all.
    Raises LabError for an unknown name, and for one that only a start can bring.
    """
    if name not in DEFECTS:
        meant = did_you_mean(name, DEFECTS)
        raise LabError(f"no defect {name!r} for a server{meant}; known: {', '.join(DEFECTS)}")
    if name in BUILT_IN and control is not None:
        raise LabError(f"{name} is there from the start of a server; leave the control out")
    if name in BUILT_IN and rank is not None:
        raise LabError(f"{name} is built into every rank; leave the rank out")
    call = f"{__name__}:insert"
    return plugin_folder.write(
        directory,
        name,
        call,
        defect=name,
        control=None if control is None else str(control),
        told=None if told is None else str(told),
        rank=None if rank is None else str(rank),
    )


def insert(
    defect: str, control: str | None = None, told: str | None = None, rank: str | None = None
) -> None:
    """Called by the plugin in every process of the server."""
    DEFECTS[defect](
        Switch(
            None if control is None else Path(control),
            None if told is None else Path(told),
            None if rank is None else int(rank),
        )
    )


class Switch:
    """On from the start without a path, else from the moment the path exists. Then it stays on.

    told: where a defect that is its own oracle tells what is first wrong; None for nowhere.
    rank: never on in a process of another tensor-parallel rank; asked once that is known.
    """

    def __init__(
        self, path: Path | None, told: Path | None = None, rank: int | None = None
    ) -> None:
        self.path, self.told, self.rank = path, told, rank
        self._on = path is None and rank is None

    @property
    def on(self) -> bool:
        """Cost while off: one `stat`."""
        if not self._on:
            there = self.path is None or os.path.exists(self.path)  # noqa: PTH110
            self._on = there and self.rank in (None, _rank())
        return self._on


def _rank() -> int | None:
    from triage.sglang.ranks import ranks

    return ranks(moments().scheduler).get("tp")


# -- stale-swa-state -------------------------------------------------------------------


def _stale_swa_state(switch: Switch) -> None:
    from triage.lab.reinject import reinject

    context = reinject("stale-swa-state")
    context.__enter__()
    _held.append(context)


# -- clamp -----------------------------------------------------------------------------


def _clamp(switch: Switch) -> None:
    _stale_swa_state(switch)
    observe(_Clamp())


class _Clamp(Observer):
    def bind(self, moments: Moments) -> None:
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

        def make(original: Any) -> Any:
            def _get_layer_page_table(backend: Any, layer: Any, forward_batch: Any) -> Tensor:
                table = original(backend, layer, forward_batch)
                if backend._swa_kv_pool is not None:
                    return table
                for pool in moments.pools:
                    if pool is backend.token_to_kv_pool and pool.layers_mapping[layer.layer_id][1]:
                        return table.clamp(max=pool.size_swa // pool.page_size)
                return table

            return _get_layer_page_table

        _keep(TRTLLMHAAttnBackend, "_get_layer_page_table", make)


# -- page-exchange ---------------------------------------------------------------------


class _Exchange(Observer):
    """The exchange is a device operation behind the fill, gated by a device flag.

    So it needs no sync, may be captured, and begins in captured graphs too when the flag is set.
    """

    def __init__(self, switch: Switch, role: str) -> None:
        """role: "target" or "draft", whose tables are spoiled."""
        self.switch, self.role = switch, role
        self.flag: Tensor | None = None
        self._set = False

    def bind(self, moments: Moments) -> None:
        from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

        if not hasattr(TRTLLMHAAttnBackend, "_fill_page_table_device"):
            raise LabError("an exchange of pages needs SGLang 0.5.14 or newer")
        _keep(TRTLLMHAAttnBackend, "_fill_page_table_device", self._fill)
        for module, owner, name, make in (
            (
                "flashinfer_backend",
                "FlashInferIndicesUpdaterDecode",
                "call_begin_forward",
                self._plan,
            ),
            ("triton_backend", "TritonAttnBackend", "init_forward_metadata", self._packed),
            ("triton_backend", "TritonAttnBackend", "_update_decode_kv_buffers", self._refilled),
        ):
            try:
                found = importlib.import_module(f"sglang.srt.layers.attention.{module}")
            except ImportError:  # a machine without that backend's kernels
                continue
            _keep(getattr(found, owner), name, make)

    def begin(self, step: Step) -> None:
        if self.flag is not None and not self._set and self.switch.on:
            self._set = True
            self.flag.fill_(True)
            complain(f"the exchange of pages begins with step {step.number}")

    def _fill(self, original: Any) -> Any:
        def _fill_page_table_device(
            backend: Any, metadata: Any, req_pool_indices: Tensor, cache_seqlens: Tensor
        ) -> Any:
            result = original(backend, metadata, req_pool_indices, cache_seqlens)
            table = metadata.swa_page_table
            if table is not None and moments().role == self.role:
                exchange(table, cache_seqlens, backend.page_size, self._flag_on(table))
            return result

        return _fill_page_table_device

    def _plan(self, original: Any) -> Any:
        def call_begin_forward(updater: Any, wrapper: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(updater, wrapper, *args, **kwargs)
            if kwargs.get("use_sliding_window_kv_pool") and moments().role == self.role:
                slots, offsets = wrapper._paged_kv_indices_buf, wrapper._paged_kv_indptr_buf
                exchange_slots(slots, offsets, self._flag_on(slots))
            return result

        return call_begin_forward

    def _packed(self, original: Any) -> Any:
        """Triton's metadata of an eager forward."""

        def init_forward_metadata(backend: Any, forward_batch: Any) -> Any:
            result = original(backend, forward_batch)
            metadata = backend.forward_metadata
            if forward_batch.forward_mode.is_decode():
                self._exchange_window(metadata.window_kv_indices, metadata.window_kv_indptr)
            return result

        return init_forward_metadata

    def _refilled(self, original: Any) -> Any:
        """The buffers of Triton's decode graphs, which SGLang fills before each replay."""

        def _update_decode_kv_buffers(backend: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(backend, *args, **kwargs)
            slots = getattr(backend, "cuda_graph_window_kv_indices", None)
            self._exchange_window(slots, backend.window_kv_indptr)
            return result

        return _update_decode_kv_buffers

    def _exchange_window(self, slots: Tensor | None, offsets: Tensor | None) -> None:
        """Not with the row of a graph's padding, which would be a defect of another kind."""
        if slots is None or offsets is None or moments().role != self.role:
            return
        on, step = self._flag_on(slots), moments().step
        if step is not None and len(step.rows) > 1:
            exchange_slots(slots, offsets, on)

    def _flag_on(self, table: Tensor) -> Tensor:
        if self.flag is None:
            if capturing():
                raise LabError("the exchange met its first table inside a capture")
            self.flag = torch.zeros((), dtype=torch.bool, device=table.device)
        return self.flag


def exchange(table: Tensor, lengths: Tensor, page_size: int, on: Tensor) -> None:
    """Rows 0 and 1 of `table` `(rows, pages)` give each other their newest page, where `on`.

    on: a bool scalar on the table's device. No sync; legal in a capture. Needs two rows.
    """
    if table.shape[0] < 2:
        return
    columns = (lengths[:2].to(torch.int64) - 1).clamp(min=0) // page_size
    rows = torch.arange(2, device=table.device)
    newest = table[rows, columns]
    table[rows, columns] = torch.where(on, newest.flip(0), newest)


def exchange_slots(slots: Tensor, offsets: Tensor, on: Tensor) -> None:
    """The same of packed slots: rows end before `offsets[1]` and `offsets[2]`. Needs two rows."""
    if offsets.shape[0] < 3:
        return
    last = (offsets[1:3].to(torch.int64) - 1).clamp(min=0)
    newest = slots[last]
    slots[last] = torch.where(on, newest.flip(0), newest)


# -- far-first -------------------------------------------------------------------------


class _FarFirst(Observer):
    """Reorders the free list before the first step that is launched with the switch on."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.done = False

    def begin(self, step: Step) -> None:
        if self.done or not self.switch.on:
            return
        self.done = True
        mine = moments()
        allocator = mine.scheduler.token_to_kv_pool_allocator
        spans = address_map.outside_all(mine.pools[0])
        hand_out_far_first(allocator, spans)
        complain(
            f"from step {step.number} on the full pool hands out its far pages first, ids "
            f"{spans or 'none'}, next {allocator.full_attn_allocator.free_pages[:4].tolist()}"
        )


def hand_out_far_first(allocator: Any, spans: Sequence[tuple[int, int]]) -> None:
    """Reorder the free list of `allocator`'s full pool; the same pages.

    spans: half-open ranges of ids that come first. Both parts descend. Waits for the device.
    """
    full = allocator.full_attn_allocator
    pages = full.free_pages.sort(descending=True).values
    far = torch.zeros_like(pages, dtype=torch.bool)
    for low, high in spans:
        far |= (pages >= low) & (pages < high)
    full.free_pages = torch.cat([pages[far], pages[~far]])


DEFECTS: dict[str, Callable[[Switch], None]] = {
    "stale-swa-state": _stale_swa_state,
    "clamp": _clamp,
    "page-exchange": lambda switch: observe(_Exchange(switch, "target")),
    "draft-exchange": lambda switch: observe(_Exchange(switch, "draft")),
    "far-first": lambda switch: observe(_FarFirst(switch)),
    "double-free": lambda switch: observe(ledger_defects.DoubleFree(lambda: switch.on)),
    "aborted-in-flight": lambda switch: observe(ledger_defects.AbortedInFlight(lambda: switch.on)),
    "row-zero": lambda switch: observe(blind_defects.RowZero(lambda: switch.on, switch.told)),
    "write-tail": lambda switch: observe(blind_defects.WriteTail(lambda: switch.on, switch.told)),
}
BUILT_IN = ("stale-swa-state", "clamp")
"""Those that a server has from its start or not at all."""


def _keep(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace below whatever hooks stand on it, for the life of the process."""
    context = replaced(owner, name, make)
    context.__enter__()
    _held.append(context)
