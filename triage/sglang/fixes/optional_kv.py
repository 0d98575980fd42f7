"""Fix `optional-kv`: KV-shared layers pass key and value None through the piecewise-graph op.

The failure (0.5.12.post1): the last layers of Gemma-4 E2B and E4B have no keys and values
of their own and call attention with None. Eagerly that works; inside a piecewise graph the
call goes through the custom op `unified_attention_with_output`. Its schema declares
tensors; torch lets None through, and the op then slices it, so the forward fails.

The rule: calls with keys keep SGLang's own op. Calls without go to an op of ours, whose
schema and fake implementation take None, registered the way SGLang registers its own and
listed as a point where the graph is split.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.fix import Fix, Probe, already_fixed, needed, not_applicable

MODULE = "sglang.srt.layers.radix_attention"
OP = "unified_attention_with_output"
BREAKABLE = f"bcg_{OP}"
OURS = "triage_attention_without_kv"


class OptionalKV(Fix):
    name = "optional-kv"
    what = "key and value may be None in the piecewise attention op (KV-shared layers)"

    @staticmethod
    def probe() -> Probe:
        """Read the schema of SGLang's attention op."""
        from sglang.srt.layers import radix_attention

        if not hasattr(radix_attention, OP) or not hasattr(torch.ops.sglang, OP):
            return not_applicable("attention is no custom op in this SGLang")
        schema = getattr(torch.ops.sglang, OP).default._schema
        types = {argument.name: str(argument.type) for argument in schema.arguments}
        if types.get("key", "").startswith("Optional"):
            return already_fixed(f"the op's schema takes key: {types['key']}")
        return needed(f"the op's schema takes key: {types.get('key')}, and slices it: None fails")

    def hooks(self) -> list[Hook]:
        from sglang.srt.layers import radix_attention

        global _bound
        _bound, op = self, _op()
        hooks = [Hook(f"{MODULE}.{OP}", self._around(op), f"fix {self.name}")]
        if hasattr(radix_attention, BREAKABLE):
            breakable = radix_attention.eager_on_graph(True)(op)
            hooks.append(Hook(f"{MODULE}.{BREAKABLE}", self._around(breakable), f"fix {self.name}"))
        return hooks

    def _around(self, op: Any) -> Any:
        def around(
            original: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any
        ) -> Any:
            if key is None and self.armed:
                instead = getattr(original, "instead", None)  # there inside a shell
                return instead(op, query, *rest, **named) if instead else op(query, *rest, **named)
            return original(query, key, value, *rest, **named)

        return around


@functools.cache
def _op() -> Any:
    """Our op, registered once per process through SGLang's own decorators."""
    from sglang.srt.compilation.compilation_config import register_split_op
    from sglang.srt.layers import radix_attention
    from sglang.srt.utils.custom_op import register_custom_op

    def triage_attention_without_kv(
        query: Tensor,
        output: Tensor,
        save_kv_cache: bool,
        layer_id: int,
        *,
        q_rope: Tensor | None = None,
        k_rope: Tensor | None = None,
        sinks: Tensor | None = None,
    ) -> None:
        context = radix_attention.get_forward_context()
        if _bound is not None:
            _bound.uses += 1
        _attend(context, layer_id, query, output, save_kv_cache, q_rope, k_rope, sinks)

    # `from __future__ import annotations` left strings, which the schema cannot be read from.
    triage_attention_without_kv.__annotations__ = _ANNOTATIONS
    return register_custom_op(mutates_args=["output"])(
        register_split_op()(triage_attention_without_kv)
    )


_bound: OptionalKV | None = None
"""The fix of this process. The op counts into it from inside graphs, where hooks are not run."""

_ANNOTATIONS: dict[str, Any] = {
    "query": Tensor,
    "output": Tensor,
    "save_kv_cache": bool,
    "layer_id": int,
    "q_rope": Tensor | None,
    "k_rope": Tensor | None,
    "sinks": Tensor | None,
    "return": None,
}


def _attend(
    context: Any,
    layer_id: int,
    query: Tensor,
    output: Tensor,
    save_kv_cache: bool,
    q_rope: Tensor | None,
    k_rope: Tensor | None,
    sinks: Tensor | None,
) -> None:
    """Run the backend on the tokens that are no padding and write `output` in place.

    Nothing is stored, so the write locations are narrowed only for a backend that
    derives lengths from them, and restored also when the backend raises.
    """
    batch = context.forward_batch
    tokens = batch.num_token_non_padded_cpu
    named = {"q_rope": q_rope, "k_rope": k_rope}
    extra = {name: value[:tokens] for name, value in named.items() if value is not None}
    if sinks is not None:
        extra["sinks"] = sinks
    saved = {name: getattr(batch, name, None) for name in ("out_cache_loc", "out_cache_loc_swa")}
    batch._attn_output = output[:tokens]
    try:
        for name, value in saved.items():
            if value is not None:
                setattr(batch, name, value[:tokens])
        layer = context.attention_layers[layer_id]
        result = batch.attn_backend.forward(
            query[:tokens], None, None, layer, batch, save_kv_cache, **extra
        )
    finally:
        for name, value in saved.items():
            if value is not None:
                setattr(batch, name, value)
    if result.data_ptr() != output.data_ptr():
        output[:tokens].view(result.shape).copy_(result)
