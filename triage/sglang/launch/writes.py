"""The write trap (I3): the slots a forward is about to write, at `SWAKVPool.set_kv_buffer`.

All layers write the same slots, so the first write of a forward is checked, both
index spaces in one go, and the others cost a few comparisons of object identity. How
the location is passed changed: a tensor that the pool translates (0.5.12.post1), two
tensors (0.5.13.post1), a `KVWriteLoc` that carries both (0.5.14 on). The fused fp8
store takes it from the batch and goes past the pool's method.

Mode `raise` reads the answer before the write; otherwise, and under capture, the
device checker has it for the step's mark. A write is never redirected.

Not covered: a unified pool's virtual slots (0.5.23). Pools of one kind: `plain_writes.py`.

Long because each release passes the location in its own way, to the same check.
"""

from __future__ import annotations

import functools
import textwrap
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

from torch import Tensor

from triage.device.checker import CheckRefused
from triage.errors import InstallError, TrapError
from triage.invariants.catalogue import sentence
from triage.invariants.reads import IndexSpace
from triage.invariants.writes import check_writes
from triage.sglang.binding.wrapping import Function, Parameters, written_out
from triage.sglang.launch.bound import BoundLaunch
from triage.sglang.launch.entry import Entry
from triage.sglang.launch.guard import LaunchGuard
from triage.sglang.launch.hot_state import (
    SAME_WRITE_SRC,
    Forward,
    first_extent,
    form_of,
    same_elements,
    same_write,
)
from triage.sglang.launch.pools import active_pool, is_hybrid, num_pages


@dataclass(slots=True)
class _Foreign:
    """A write of another backend than ours, such as triton's prefill: all its layers pass it.

    Not always as the same tensors: between the graphs of a piecewise forward each layer cuts
    them to the batch's tokens anew, so within one `forward` they are known by their elements.
    """

    pool: Any
    loc: Tensor
    swa_loc: Tensor | None
    graph: int
    forward: dict[Any, Any] | None
    read: set[bool] = field(default_factory=set)  # kinds of layer that mode `raise` has read
    watched: bool = False

    def of(
        self,
        pool: Any,
        loc: Tensor,
        swa_loc: Tensor | None,
        graph: int,
        forward: dict[Any, Any] | None,
    ) -> bool:
        if graph != self.graph or pool is not self.pool:  # a draft may pass the target's slots
            return False
        if loc is self.loc and swa_loc is self.swa_loc:
            return True
        return (
            forward is not None
            and forward is self.forward
            and same_elements(loc, self.loc)
            and same_elements(swa_loc, self.swa_loc)
        )


class WriteTrap:
    """Checks the first write of a forward."""

    def __init__(self, launches: LaunchGuard) -> None:
        self.launches = launches
        self.reporter = launches.reporter
        self.entries = launches.entries
        self._hot = launches.hot
        self.plain: WeakSet[Any] = WeakSet()  # pools of one kind whose writes are looked at
        self.drafts: WeakSet[Any] = WeakSet()  # of those, a draft's own
        self._bound: dict[bool, BoundLaunch] = {}  # of a hybrid pool, and of one of one kind
        self._hybrid: Any = None  # the pool that was found to be one
        self._foreign: _Foreign | None = None
        self._loaded: set[tuple[Any, Any]] = set()

    def restart(self) -> None:
        self._hybrid = self._foreign = None
        self._bound.clear()

    # -- where it stands -----------------------------------------------------------------

    def around(self, original: Function) -> Function:
        """Makes the wrapper of `set_kv_buffer(self, layer, loc or loc_info, k, v, ...)`."""
        parameters = Parameters.of(original)
        if len(parameters.names) < 3:
            return self._around_any(original)
        pool, layer, where = parameters.names[:3]
        if not where.startswith("loc"):
            raise InstallError(
                f"{original.__qualname__} takes {where} where a location is expected"
            )
        passed = swa_loc = "swa_loc" if "swa_loc" in parameters.names else "None"
        loc = where if where == "loc" else f"{where}.loc"
        if where != "loc":
            swa_loc = f"{where}.swa_loc"
        body = f"""
try:
{textwrap.indent(SAME_WRITE_SRC.format(loc=loc, swa_loc=swa_loc).strip(), "    ")}
        before_write({pool}, {layer}, {where}, {passed})
except TrapError:
    raise
except Exception as _problem:
    failed(_problem)
return original(PASSED)
"""
        return written_out(
            original,
            parameters,
            body,
            hot=self._hot,
            before_write=self.before_write,
            failed=self.reporter.write_shell.failed,
            TrapError=TrapError,
        )

    def _around_any(self, original: Function) -> Function:
        """For another plugin's wrapper, which takes what comes: every write is looked at."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._hot.armed:
                try:
                    self.before_write(*_written_to(args, kwargs))
                except TrapError:
                    raise
                except Exception as error:
                    self.reporter.write_shell.failed(error)
            return original(*args, **kwargs)

        return functools.wraps(original)(wrapper)

    def before_write(self, pool: Any, layer: Any, where: Any, swa_loc: Tensor | None) -> None:
        """A layer is about to write to `where`, and the wrapper does not know it yet."""
        if not self.reporter.write_shell.on:
            return
        if pool is not self._hybrid:
            if not is_hybrid(pool):
                return
            self._hybrid = pool
        if isinstance(where, Tensor):
            kept = swa_loc if swa_loc is not None else getattr(pool, "swa_loc", None)
            self._look(pool, layer, where, swa_loc, kept)
        elif getattr(where, "full_loc", None) is not None:
            self.reporter.counts["writes not covered: virtual slots"] += 1
        else:
            self._look(pool, layer, where.loc, where.swa_loc, where.swa_loc)

    def look(self, pool: Any, layer: Any, loc: Tensor) -> None:
        """A layer is about to write to these slots of a pool of one kind."""
        self._look(pool, layer, loc, None, None)

    def around_fused(self, original: Any, backend: Any, *args: Any, **kwargs: Any) -> Any:
        """At the backend's fused fp8 store."""
        call = self._hot.current_call
        if call is not None:
            _, layer, forward_batch = call
            pool = active_pool(backend, forward_batch)
            if is_hybrid(pool):
                swa = getattr(backend.forward_metadata, "swa_out_cache_loc", None)
                swa = getattr(forward_batch, "out_cache_loc_swa", None) if swa is None else swa
                self._look(pool, layer, forward_batch.out_cache_loc, swa, swa)
            elif pool in self.plain:
                self.look(pool, layer, forward_batch.out_cache_loc)
        return original(backend, *args, **kwargs)

    def _look(
        self, pool: Any, layer: Any, loc: Tensor, passed: Tensor | None, swa_loc: Tensor | None
    ) -> None:
        """Look at a write: full slots, SWA slots as passed, and as the pool will write them."""
        waits = self.reporter.may_wait
        watched = not waits or self.launches.warms_up
        if self._hot.current_call is None:
            known = self._known(pool, loc, swa_loc)
            slides = _slides(pool, layer)
            waits = waits and slides not in known.read
            watched = (watched or self._first_of_its_kind(loc, swa_loc)) and not known.watched
            known.read.add(slides)
            known.watched = known.watched or watched
        if waits:
            self._check(pool, layer, loc, swa_loc)
        if watched:
            self._watch(pool, loc, passed, swa_loc)

    def _known(self, pool: Any, loc: Tensor, swa_loc: Tensor | None) -> _Foreign:
        """What was looked at of this very write of a backend that we do not stand at."""
        graph = self.launches.watching.graph_now()
        known, forward = self._foreign, self._hot.other_forward
        if known is None or not known.of(pool, loc, swa_loc, graph, forward):
            known = self._foreign = _Foreign(pool, loc, swa_loc, graph, forward)
        return known

    def _first_of_its_kind(self, loc: Tensor, swa_loc: Tensor | None) -> bool:
        """Mode `raise`: the kernel that a capture will record has to be loaded by then."""
        kind = loc.dtype, None if swa_loc is None else swa_loc.dtype
        if kind in self._loaded:
            return False
        self._loaded.add(kind)
        return True

    # -- without waiting -----------------------------------------------------------------

    def _watch(self, pool: Any, loc: Tensor, passed: Tensor | None, swa_loc: Tensor | None) -> None:
        watching, hot = self.launches.watching, self._hot
        graph = watching.graph_now() if hot.current_call is None else watching.graph
        # The fused store comes here at every layer; the others are known by then.
        if same_write(hot, loc, passed):
            return
        if hot.current_call is not None:
            forward = self._forward()
            forward.written, forward.written_swa = loc, passed
        watch = watching.watch
        if watch is None:
            self.reporter.counts["writes not covered"] += 1
            return
        # The batch's SWA slots keep the padded length where a call writes fewer.
        if swa_loc is not None and first_extent(swa_loc) != first_extent(loc):
            swa_loc = swa_loc[: len(loc)] if len(swa_loc) > len(loc) else None
        form = self._form(pool, loc, swa_loc, graph)
        hybrid = is_hybrid(pool)
        mapping = pool.full_to_swa_index_mapping if hybrid else None
        bound, identity = self._bound.get(hybrid), (pool, mapping)
        if bound is not None and bound.like(form, identity):
            bound.launch(loc, swa_loc, self._requests() if bound.by_request else None)
            self.reporter.counts["writes"] += 1
            return
        entry = self.entries.current
        requests, each = _rows(entry, loc)
        full, swa = _spaces(pool)
        tag = watch.tag(
            space="full and swa" if swa_loc is not None else f"{self._owner(pool)}full",
            kind="write",
            graph=graph,
            layer_id=None if entry is None else entry.layer_id,
            forward_mode="" if entry is None else entry.forward_mode,
        )
        try:
            launch = watch.checker.check_writes(
                loc,
                full,
                swa_loc=swa_loc,
                swa_space=swa,
                full_to_swa=mapping,
                req_pool_indices=requests,
                tokens_per_row=each,
                tag=tag,
            )
        except CheckRefused as refusal:
            self.reporter.counts["writes not covered"] += 1
            watch.refuse(f"write: {refusal}")
            return
        self.reporter.counts["writes"] += 1
        self._bound.pop(hybrid, None)
        if launch is not None and form is not None:
            by_request = requests is not None
            self._bound[hybrid] = BoundLaunch(form, identity, launch, self._layer(), by_request)

    def _form(
        self, pool: Any, loc: Tensor, swa_loc: Tensor | None, graph: int
    ) -> tuple[Any, ...] | None:
        """What a write must share with an earlier one to differ from it in nothing but values."""
        if self._hot.current_call is None:
            return None
        _, layer, batch = self._hot.current_call
        requests = batch.req_pool_indices
        return (
            graph,
            id(layer),
            batch.forward_mode,
            form_of(loc),
            None if swa_loc is None else form_of(swa_loc),
            None if requests is None else form_of(requests),
        )

    def _forward(self) -> Forward:
        """The memory of the forward whose entry is running."""
        hot = self._hot
        assert hot.current_call is not None
        backend, _, batch = hot.current_call
        return hot.forward or hot.decide(backend, batch, active_pool(backend, batch))

    def _owner(self, pool: Any) -> str:
        return "draft " if pool in self.drafts else ""

    def _layer(self) -> Any:
        assert self._hot.current_call is not None
        return self._hot.current_call[1]

    def _requests(self) -> Tensor | None:
        assert self._hot.current_call is not None
        requests: Tensor | None = getattr(self._hot.current_call[2], "req_pool_indices", None)
        return requests

    # -- before the write, in mode `raise` -------------------------------------------------

    def _check(self, pool: Any, layer: Any, loc: Tensor, swa_loc: Tensor | None) -> None:
        entry = self.entries.current
        slides = _slides(pool, layer)
        key = (id(pool), loc.data_ptr(), 0 if swa_loc is None else swa_loc.data_ptr(), slides)
        if entry is not None and entry.metadata is not None:
            read = self._forward().writes_read
            if key in read:
                return
            read.add(key)
        requests, each = _rows(entry, loc)
        full, swa = _spaces(pool)
        found = check_writes(
            loc,
            full,
            swa_loc=swa_loc if slides else None,
            swa_space=swa,
            full_to_swa=pool.full_to_swa_index_mapping if slides else None,
            req_pool_indices=requests,
            tokens_per_row=each,
        )
        self.reporter.fire_findings(
            found,
            "I3",
            sentence("I3"),
            "swa" if slides else f"{self._owner(pool)}full",
            "set_kv_buffer",
        )


def _slides(pool: Any, layer: Any) -> bool:
    return is_hybrid(pool) and bool(pool.layers_mapping[layer.layer_id][1])


def _spaces(pool: Any) -> tuple[IndexSpace, IndexSpace | None]:
    """Of the full side and the SWA side, which a pool of one kind has not."""
    page = int(pool.page_size)
    if not is_hybrid(pool):
        return IndexSpace("full", page, num_pages(pool, page)), None
    full, swa = num_pages(pool.full_kv_pool, page), num_pages(pool.swa_kv_pool, page)
    return IndexSpace("full", page, full), IndexSpace("swa", page, swa)


def _rows(entry: Entry | None, loc: Tensor) -> tuple[Tensor | None, int]:
    """The batch's requests and the tokens of each, where every row has as many."""
    requests = None if entry is None else entry.req_pool_indices
    rows = 0 if requests is None else len(requests)
    if rows == 0 or len(loc) % rows or entry is None or not entry.uniform:
        return None, 1
    return requests, len(loc) // rows


def _written_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Pool, layer, location and SWA location of `set_kv_buffer(self, layer, loc, ...)`."""
    layer = kwargs["layer"] if "layer" in kwargs else args[1]
    named = next((kwargs[name] for name in ("loc", "loc_info") if name in kwargs), None)
    return args[0], layer, args[2] if named is None else named, kwargs.get("swa_loc")
