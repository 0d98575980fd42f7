"""What stands between the QKV projection and attention as one launch, in SGLang's Gemma4Attention.

Norm of query, key and value, rotation of query and key, and the write of key and value into the
KV cache: three launches and more in SGLang, and one of `gemma_attention_preamble`. Where the
cache is written is what SGLang's Triton backend hands to its pool: `out_cache_loc`, on sliding
layers the slots that it translated once for the forward. So far it was read in the releases of
`READ_IN`; elsewhere, with another backend, another pool and in a forward that is no decode
step (a prefill's kernel reads the new keys beside the cache), SGLang's own steps are taken and
counted. A layer that shares another's keys and values has a query alone, in every forward.

The query is normed and rotated in place, in the projection's own output. Should anything of ours
fail behind that, SGLang's forward is run from its beginning, projection included.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from triage.sglang.fixes.fused_calls import Calls
from triage.sglang.fixes.fused_ops import eps

OP = "attention-preamble"
READ_IN = ("0.5.14", "0.5.15.post1", "0.5.18")
_ROTATIONS = ("RotaryEmbedding", "Gemma4RotaryEmbedding")
_POOLS = ("SWAKVPool", "MHATokenToKVPool")
_BACKEND = "TritonAttnBackend"


class Cache(NamedTuple):
    """Where a layer's keys and values go: slots [M] of the caches [slots, heads, head_dim]."""

    slots: Tensor
    keys: Tensor
    values: Tensor


class Refused(Exception):
    """Why SGLang's own steps are taken."""


class Preamble:
    """The op, around `Gemma4Attention.forward`."""

    def __init__(self, calls: Calls, watched: bool, armed: Callable[[], bool]) -> None:
        """watched: the traps follow SGLang's own cache writes, which must stay where they are."""
        self.calls = calls
        self.watched = watched
        self._armed = armed
        self._never: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def around_attention(
        self,
        original: Any,
        attention: Any,
        positions: Tensor,
        hidden_states: Tensor,
        forward_batch: Any,
        **kwargs: Any,
    ) -> Any:
        """SGLang's forward, or ours where a decode step or a shared layer allows it."""

        def sglangs() -> Any:
            return original(
                attention,
                positions=positions,
                hidden_states=hidden_states,
                forward_batch=forward_batch,
                **kwargs,
            )

        if torch.compiler.is_dynamo_compiling() or not (self._armed() and OP in self.calls.ops):
            return sglangs()
        shell = self.calls.shells[OP]
        given = (attention, positions, hidden_states, forward_batch)
        taken, cache = shell.part(lambda: self._place(*given), (False, None))
        if not taken:
            return sglangs()
        qkv, _ = attention.qkv_proj(hidden_states)
        query = shell.part(lambda: self._launched(attention, positions, qkv, cache), None)
        if query is None:
            return sglangs()
        query = query.unflatten(-1, (attention.num_heads, attention.head_dim))
        attended = attention.attn(
            query, None, None, forward_batch=forward_batch, save_kv_cache=False
        )
        if attended.dim() == 3:
            attended = attended.flatten(-2, -1)
        output, _ = attention.o_proj(attended)
        return output

    def _place(
        self, attention: Any, positions: Tensor, hidden_states: Tensor, forward_batch: Any
    ) -> tuple[bool, Cache | None]:
        """Is the op to be taken, and where do key and value go? Nothing has run yet."""
        try:
            self._fits(attention, positions)
            if attention.is_kv_shared_layer:
                cache = None
            else:
                cache = _cache(attention.attn, forward_batch, hidden_states.dtype)
        except Refused as why:
            return self.calls.fall_back(OP, str(why)), None
        return not self.calls.refused(OP, hidden_states), cache

    def _fits(self, attention: Any, positions: Tensor) -> None:
        """Raise Refused unless the layer is of the form that the kernel computes."""
        if attention in self._never:
            raise Refused(self._never[attention])
        if self.watched:
            raise Refused("the traps follow SGLang's own cache writes")
        if attention.is_kv_shared_layer and attention.kv_shared_layer_index is None:
            raise Refused("a shared layer that does not say whose keys it reads")
        norms = attention.q_norm, attention.k_norm, attention.v_norm
        if any(getattr(norm, "scale_shift", 0.0) for norm in norms) or attention.v_norm.with_scale:
            raise Refused("a norm has a shift, or that of the value a weight")
        if len({eps(norm) for norm in norms}) > 1:
            raise Refused("the norms have different epsilons")
        rotary = attention.rotary_emb
        if type(rotary).__name__ not in _ROTATIONS or not rotary.is_neox_style:
            raise Refused(f"rotary embedding {type(rotary).__name__}")
        if tuple(rotary.cos_sin_cache.shape[1:]) != (attention.head_dim,):
            raise Refused(f"a table of angles of shape {tuple(rotary.cos_sin_cache.shape)}")
        if positions.dim() != 1:
            raise Refused(f"positions of {positions.dim()} dimensions")

    def _launched(
        self, attention: Any, positions: Tensor, qkv: Tensor, cache: Cache | None
    ) -> Tensor | None:
        """The query, normed and rotated in place; None where the kernel's contract refuses."""
        from triage_kernels.core.errors import ContractError
        from triage_kernels.ops.attention_preamble import gemma_attention_preamble

        sizes = attention.q_size, attention.kv_size, attention.kv_size
        query, key, value = qkv.split(sizes, dim=-1)
        rotary = attention.rotary_emb
        try:
            gemma_attention_preamble(
                query,
                None if cache is None else key,
                None if cache is None else value,
                attention.q_norm.weight.data,
                None if cache is None else attention.k_norm.weight.data,
                rotary.cos_sin_cache,
                positions,
                None if cache is None else cache.slots,
                None if cache is None else cache.keys,
                None if cache is None else cache.values,
                attention.num_heads,
                attention.num_kv_heads,
                attention.head_dim,
                getattr(rotary, "rope_angles", attention.head_dim // 2),
                eps(attention.q_norm),
            )
        except ContractError as error:  # before anything was launched; the same at every call
            self._never[attention] = str(error)
            self.calls.fall_back(OP, str(error))
            return None
        self.calls.used(OP)
        return query


def _cache(layer: Any, forward_batch: Any, dtype: torch.dtype) -> Cache:
    """Where SGLang's Triton backend writes the keys of a decode step. Raises Refused."""
    from sglang.srt.layers import radix_attention

    mode = forward_batch.forward_mode
    if not mode.is_decode():
        raise Refused(f"forward mode {mode.name}")
    release = importlib.metadata.version("sglang")
    if release not in READ_IN:
        raise Refused(f"cache writes of SGLang {release} were not read")
    backend = radix_attention.get_attn_backend()
    if type(backend).__name__ != _BACKEND:
        raise Refused(f"attention backend {type(backend).__name__}")
    pool, metadata = backend.token_to_kv_pool, backend.forward_metadata
    if type(pool).__name__ not in _POOLS:
        raise Refused(f"pool {type(pool).__name__}")
    if layer.k_scale is not None or layer.v_scale is not None:
        raise Refused("keys are scaled as they are written")
    physical = getattr(metadata, "out_cache_loc_full_physical", None)
    if physical is not None or getattr(backend, "dcp_size", 1) > 1:
        raise Refused("slots are translated as they are written")
    sliding = hasattr(pool, "layers_mapping") and pool.layers_mapping[layer.layer_id][1]
    slots = metadata.swa_out_cache_loc if sliding else forward_batch.out_cache_loc
    keys, values = pool.get_key_buffer(layer.layer_id), pool.get_value_buffer(layer.layer_id)
    if slots is None:
        raise Refused("no slots of the sliding layers")
    if keys.dtype != dtype or values.dtype != dtype:
        raise Refused(f"a cache of {keys.dtype} for keys of {dtype}")
    return Cache(slots, keys, values)
