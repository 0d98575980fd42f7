"""Sizes of the model and the pools that the lab serves, and which layer reads which pool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of the served model and its pools. Sizes in slots unless the name says otherwise."""

    page_size: int
    swa_pages: int
    full_pages: int
    window: int
    num_layers: int
    full_every: int
    kv_shared_layers: int
    context_len: int
    max_requests: int
    num_heads: int = 1
    head_dim: int = 8

    @property
    def layer_kinds(self) -> tuple[bool, ...]:
        """Per layer: does it slide? Every `full_every`-th layer is full."""
        return tuple((index + 1) % self.full_every != 0 for index in range(self.num_layers))

    @property
    def own_kv_layers(self) -> int:
        return self.num_layers - self.kv_shared_layers

    def kv_layer(self, index: int) -> int:
        """The layer whose KV layer `index` reads: itself, or the last owner of its kind."""
        if index < self.own_kv_layers:
            return index
        kinds = self.layer_kinds
        return max(i for i in range(self.own_kv_layers) if kinds[i] == kinds[index])

    @property
    def draft_layers(self) -> tuple[int, ...]:
        """Target layers that the four-layer assistant reads: three sliding, one full."""
        kinds = self.layer_kinds
        swa = max(i for i in range(self.own_kv_layers) if kinds[i])
        full = max(i for i in range(self.own_kv_layers) if not kinds[i])
        return (swa, swa, swa, full)
