"""The write trap (I3): the slots a forward is about to write, at `SWAKVPool.set_kv_buffer`.

All layers of one index space write the same slots, so the first call of a
forward is checked and the others cost a comparison of host integers. How the
location is passed changed: a tensor that the pool translates (0.5.12.post1),
two tensors (0.5.13.post1), a `KVWriteLoc` that carries both (0.5.14 on).
"""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from triage.invariants.reads import IndexSpace
from triage.invariants.writes import check_writes
from triage.sglang.pools import is_hybrid, num_pages
from triage.traps import Traps


class WriteTrap:
    """Checks the first write of each index space of a forward."""

    def __init__(self, traps: Traps) -> None:
        self.traps = traps
        self._seen: WeakKeyDictionary[Any, tuple[Any, set[tuple[int, int, bool]]]] = (
            WeakKeyDictionary()
        )

    def around(self, original: Any, pool: Any, *args: Any, **kwargs: Any) -> Any:
        if is_hybrid(pool) and not self.traps.capturing():
            given = inspect.signature(original).bind(pool, *args, **kwargs).arguments
            loc, swa_loc = _locations(pool, given)
            self._check(pool, given["layer"], loc, swa_loc)
        return original(pool, *args, **kwargs)

    def _check(self, pool: Any, layer: Any, loc: Tensor, swa_loc: Tensor | None) -> None:
        entry = self.traps.entry
        slides = bool(pool.layers_mapping[layer.layer_id][1])
        key = (loc.data_ptr(), 0 if swa_loc is None else swa_loc.data_ptr(), slides)
        metadata = None if entry is None else entry.metadata
        known = self._seen.get(pool)
        if known is None or known[0] is not metadata:
            known = self._seen[pool] = (metadata, set())
        if metadata is not None and key in known[1]:
            return
        known[1].add(key)
        requests = None if entry is None else entry.req_pool_indices
        rows = 0 if requests is None else len(requests)
        uniform = rows > 0 and len(loc) % rows == 0 and entry is not None and entry.uniform
        page = int(pool.page_size)
        found = check_writes(
            loc,
            IndexSpace("full", page, num_pages(pool.full_kv_pool, page)),
            swa_loc=swa_loc if slides else None,
            swa_space=IndexSpace("swa", page, num_pages(pool.swa_kv_pool, page)),
            full_to_swa=pool.full_to_swa_index_mapping,
            req_pool_indices=requests if uniform else None,
            tokens_per_row=len(loc) // rows if uniform else 1,
        )
        self.traps.fire_findings(
            found,
            "I3",
            "a token is written to a slot that is not its own",
            "swa" if slides else "full",
            "set_kv_buffer",
        )


def _locations(pool: Any, given: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Full and SWA slots of the call; None where the pool will translate by itself."""
    passed: Any = given["loc_info"] if "loc_info" in given else given["loc"]
    if isinstance(passed, Tensor):
        return passed, given.get("swa_loc", getattr(pool, "swa_loc", None))
    return passed.loc, passed.swa_loc
