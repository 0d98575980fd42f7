"""Which forward a launch of Triton, FlashAttention or fa2 belongs to, and what of it was checked.

These backends are entered from Python at every layer and have no FlashInfer call below them
whose arguments could be compared (`hot_state.py`). So a forward is known by its objects: the
backend, its metadata, the batch, the pool it reads now, and the capture it runs under. It
holds none of them but the backend and the pool alive. Host work only.
"""

from __future__ import annotations

from typing import Any
from weakref import ref


class NewestForward:
    """The newest forward of one process. One thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """New metadata, or the same refilled: nothing of it is known."""
        self._backend: Any = None
        self._pool: Any = None
        self._metadata: Any = lambda: None
        self._batch: Any = lambda: None
        self._graph = 0
        self._checked: dict[Any, Any] = {}

    def checked(self, backend: Any, batch: Any, graph: int) -> dict[Any, Any]:
        """What was noted of this very forward; a new dict for another.

        graph: number of the capture, 0 outside of one: what ran before it holds nothing in it.
        """
        metadata, pool = backend.forward_metadata, getattr(backend, "token_to_kv_pool", None)
        same = (
            backend is self._backend
            and graph == self._graph
            and batch is self._batch()
            and metadata is self._metadata()
            and pool is self._pool
        )
        if not same:
            self._backend, self._pool, self._graph, self._checked = backend, pool, graph, {}
            self._metadata, self._batch = ref(metadata), ref(batch)
        return self._checked
