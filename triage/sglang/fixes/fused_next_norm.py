"""The input norm of the next layer, computed by the layer before it.

A layer's tail has the row that the next layer norms first, so one launch can do both. The model
hands nothing but the row from layer to layer: what was normed beside it waits here, and the next
layer takes it if it is called with the very tensor that the tail returned. Anything else, a
model that changes the row in between, a layer run alone, a forward that ended early, finds
nothing here and norms for itself.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor


class NextNorms:
    """Which norm reads a layer's output, and what was computed of it already."""

    def __init__(self) -> None:
        self._after: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._waiting: tuple[Tensor, Any, Tensor] | None = None

    def link(self, model: Any) -> None:
        """Note who follows whom in a Gemma4TextModel: the layers that this rank holds."""
        # 0.5.12.post1 knows no ranks that hold a part.
        begin, end = getattr(model, "start_layer", 0), getattr(model, "end_layer", None)
        held = list(model.layers)[begin:end]
        for layer, following in pairwise(held):
            self._after[layer] = following.input_layernorm

    def after(self, layer: Any) -> Any:
        """The norm of the layer behind `layer`; None behind the last, and for one not linked."""
        return self._after.get(layer)

    def put(self, row: Tensor, norm: Any, normed: Tensor) -> None:
        """`normed` is `norm(row)`. One waits at a time."""
        self._waiting = row, norm, normed

    def take(self, row: Tensor, norm: Any) -> Tensor | None:
        """`norm(row)` if it waits here. Nothing waits afterwards."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or waiting[0] is not row or waiting[1] is not norm:
            return None
        return waiting[2]
