"""The launches of SGLang's FlashAttention backend (FA3, FA4): page tables again, entered elsewhere.

The call below it takes what trtllm_mha's takes, a table of page ids, lengths and a window, so
the same guard answers for it (`guard.py`): read on the host in mode `raise`, watched on the
device otherwise and under a capture, recorded, contained, dumped. It is asked once a forward
and index space; `contain` puts the checked copies in the place of SGLang's metadata for the
duration of the layer's forward.

Where rows are no requests (local attention, several branches of a draft) identity cannot be
asked; what is not looked at at all, and why, is counted: cross attention, context
parallelism, MLA, tables for a prefill that knows its window.

Source: SGLang's `FlashAttentionBackend`, 0.5.12.post1 to 0.5.23.
"""

from __future__ import annotations

import functools
import pkgutil
from collections import Counter
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from torch import Tensor

from triage.device import capture
from triage.dump.flashinfer_api import FLASH_ATTENTION
from triage.errors import InstallError, TrapError
from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.patches import Patch
from triage.sglang.launch.attention import GRAPH_ENTRIES, entry_of
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.hot_state import Replacement
from triage.sglang.launch.newest import NewestForward
from triage.sglang.launch.pools import active_pool
from triage.sglang.launch.request_rows import RequestRows
from triage.sglang.launch.watching import FORM

BACKEND = "sglang.srt.layers.attention.flashattention_backend.FlashAttentionBackend"


@dataclass(frozen=True, slots=True)
class Passed:
    """Where the metadata keeps what a layer passes on.

    holder: the object; table, lengths, offsets: its attributes.
    why_not: why its rows are not the batch's requests; "" if they are.
    """

    holder: Any
    table: str = "page_table"
    lengths: str = "cache_seqlens_int32"
    offsets: str = "cu_seqlens_q"
    why_not: str = ""


class NotCovered(Exception):
    """A launch that is not looked at; the text says why."""


class FlashTables:
    """The hooks of one process, and what of its launches was not judged.

    Attributes:
        absent: why there is no such backend here. not_covered: reasons and launches.
    """

    def __init__(self, launches: LaunchGuard) -> None:
        self.launches = launches
        self.reporter = launches.reporter
        self.absent: dict[str, str] = {}
        self._here: Any = None
        self.restart()

    def restart(self) -> None:
        """As in a new process."""
        self.not_covered: Counter[str] = Counter()
        self._newest = NewestForward()
        self._covered: WeakSet[Any] = WeakSet()
        self.rows = RequestRows(FLASH_ATTENTION)

    # -- where it stands -------------------------------------------------------------------

    def hooks(self) -> list[Hook]:
        try:
            self._here = pkgutil.resolve_name(BACKEND)
        except Exception as error:  # its kernels are a package of their own
            why = f"its launches: {type(error).__name__}: {error}"
            self.absent[f"{BACKEND}.__init__"] = why
            return []
        return [
            Hook(f"{BACKEND}.__init__", self.constructed, "what a backend was built for"),
            Hook(f"{BACKEND}.init_forward_metadata", self.built, "tables are new"),
            *(
                Hook(f"{BACKEND}.{entry}", self.built_for_graph, "a graph's tables are new")
                for entry in GRAPH_ENTRIES
                if entry in vars(self._here)
            ),
        ]

    def patches(self) -> list[Patch]:
        if self._here is None:
            return []
        names = ("forward_decode", "forward_extend")
        return [Patch(f"{BACKEND}.{name}", self.entered, "the table of a launch") for name in names]

    def constructed(
        self, original: Any, backend: Any, model_runner: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        result = original(backend, model_runner, *args, **kwargs)
        if self.launches.hot.armed:
            self.launches.note_backend(backend, model_runner)
            try:
                self.launches.watching.prepare(backend)
            except InstallError as error:  # trtllm_mha's own backend ends a start for that
                self.absent[type(backend).__name__] = str(error)
        return result

    def built(
        self, original: Any, backend: Any, forward_batch: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if self.launches.hot.armed:
            self._new_tables(backend, graph=False, launches=forward_batch.batch_size > 0)
        return original(backend, forward_batch, *args, **kwargs)

    def built_for_graph(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        if self.launches.hot.armed:
            self._new_tables(backend, graph=True, launches=True)
        return original(backend, *args, **kwargs)

    def _new_tables(self, backend: Any, *, graph: bool, launches: bool) -> None:
        """The heartbeat waits for a check of a backend only once there was one."""
        self._newest.forget()
        self.launches.forget_tables(
            backend, graph=graph, launches=launches and backend in self._covered
        )

    def entered(self, original: Any) -> Any:
        """Makes the wrapper of a backend's forward."""
        hot, shell = self.launches.hot, self.reporter.launch_shell

        def launch(args: Any, kwargs: Any) -> Any:
            given = None
            try:
                query = kwargs["q"] if "q" in kwargs else args[1]
                given = self.before_layer(query, *entry_of(args, kwargs))
            except TrapError:
                raise
            except Exception as error:  # ours: told, counted, and SGLang's own launch follows
                shell.failed(error)
            if given is None:
                return original(*args, **kwargs)
            passed, (table, lengths) = given
            before = getattr(passed.holder, passed.table), getattr(passed.holder, passed.lengths)
            setattr(passed.holder, passed.table, table)
            setattr(passed.holder, passed.lengths, lengths)
            try:
                return original(*args, **kwargs)
            finally:
                setattr(passed.holder, passed.table, before[0])
                setattr(passed.holder, passed.lengths, before[1])

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not hot.armed:
                return original(*args, **kwargs)
            try:
                return launch(args, kwargs)
            finally:
                hot.other_forward = None

        return wrapper

    # -- the launch --------------------------------------------------------------------------

    def before_layer(
        self, query: Tensor, backend: Any, layer: Any, batch: Any
    ) -> tuple[Passed, Replacement] | None:
        """What the layer's launch is to be given instead of its own; None for its own.

        Raises a TrapError in mode `raise`, outside a capture.
        """
        graph = self.launches.watching.graph_now() if capture.capturing() else 0
        checked = self._newest.checked(backend, batch, graph)
        self.launches.hot.other_forward = checked
        key = _window(layer) > -1, getattr(layer, "use_irope", False)
        if key not in checked:
            checked[key] = self._check(query, backend, layer, batch)
        else:
            self.reporter.counted_here["launches"] += 1
        given: tuple[Passed, Replacement] | None = checked[key]
        return given

    def _check(
        self, query: Tensor, backend: Any, layer: Any, batch: Any
    ) -> tuple[Passed, Replacement] | None:
        try:
            passed = passed_by(backend, layer, batch)
            call = call_of(passed, query, backend, layer, batch)
        except NotCovered as reason:
            self.reporter.counts["launches"] += 1
            self.reporter.counts["launches not covered"] += 1
            self.not_covered[f"fa3: {reason}"] += 1
            return None
        watching = self.launches.watching
        if passed.why_not:
            watching.not_identified(f"fa3: {passed.why_not}")
        refused = sum(watching.refused.values())
        with self.launches.hot.entered(backend, layer, batch):
            arguments = [call.arguments.get(name) for name in FORM]
            known = watching.repeated(call.api, *arguments)
            if known is not None:
                given = known.replacement
            else:
                given = self.launches.replacements(call.api, call.arguments)
        if sum(watching.refused.values()) == refused:
            self._covered.add(backend)
            role = self.launches.entries.origin_of(backend).role
            self.rows.note(role, backend.req_to_token, active_pool(backend, batch))
        return None if given is None else (passed, given)


def passed_by(backend: Any, layer: Any, batch: Any) -> Passed:
    """Which of the metadata's tables `forward_decode` and `forward_extend` pass for this layer."""
    metadata = backend.forward_metadata
    slides = _window(layer) > -1
    if getattr(backend, "use_mla", False):
        raise NotCovered("latent attention (MLA)")
    if getattr(layer, "is_cross_attention", False):
        raise NotCovered("cross attention")
    if getattr(batch, "attn_cp_metadata", None) is not None:
        raise NotCovered("context parallelism cuts the rows")
    if getattr(backend, "fa_skip_kv_cache", False):
        raise NotCovered("an embedding model's prefill reads no cache")
    if getattr(backend, "is_prefill_aware_swa", False) and (
        getattr(metadata, "pa_swa_page_table", None) is not None
    ):
        raise NotCovered("a table of a prefill that knows its window")
    local = getattr(metadata, "local_attn_metadata", None)
    if local is not None and getattr(layer, "use_irope", False):
        return Passed(
            local, "local_block_table", "local_seqused_k", "local_query_start_loc",
            "local attention cuts requests into rows of its own",
        )  # fmt: skip
    several = "a draft of several branches a request" if _branches(backend, batch) else ""
    apart = getattr(metadata, "swa_spec_metadata", None)
    if slides and apart is not None:
        return Passed(apart, why_not=several or "a window of a verification has rows of its own")
    if slides and getattr(backend, "use_sliding_window_kv_pool", False):
        if getattr(metadata, "swa_page_table", None) is None:
            raise NotCovered("a table that each layer translates for itself")
        return Passed(metadata, "swa_page_table", why_not=several)
    return Passed(metadata, why_not=several)


def _branches(backend: Any, batch: Any) -> bool:
    mode = batch.forward_mode
    drafts = mode.is_target_verify() or (mode.is_decode() and batch.spec_info is not None)
    return drafts and int(getattr(backend, "topk", 0) or 0) > 1


def call_of(passed: Passed, query: Tensor, backend: Any, layer: Any, batch: Any) -> AttentionCall:
    """The call to come, under the names of FlashInfer's. No device value is read."""
    pool = active_pool(backend, batch)
    key, value = pool.get_kv_buffer(layer.layer_id)
    page = int(backend.page_size)
    heads, dim = layer.tp_q_head_num, layer.head_dim
    holder = passed.holder
    return AttentionCall(
        FLASH_ATTENTION,
        {
            "query": query if query.dim() == 3 else query.unflatten(-1, (heads, dim)),
            "kv_cache": (
                key.view(-1, page, layer.tp_k_head_num, dim),
                value.view(-1, page, layer.tp_v_head_num, value.shape[-1]),
            ),
            "block_tables": getattr(holder, passed.table),
            "seq_lens": getattr(holder, passed.lengths),
            "cum_seq_lens_q": getattr(holder, passed.offsets),
            "max_kv_len": int(getattr(holder, "max_seq_len_k", 0) or 0),
            "window_left": _window(layer),
            "kv_layout": "NHD",
            "rows_are_requests": not passed.why_not,
        },
    )


def _window(layer: Any) -> int:
    window = getattr(layer, "sliding_window_size", None)
    return -1 if window is None else int(window)
