"""Our fused kernels in Gemma-4's decoder layer, opt in, each falling back where it must.

`SGLANG_TRIAGE_FUSED=op,...` or `auto`, which takes the ops that the installed SGLang has no
kernel for. The layer's forward is followed step by step as SGLang writes it; an op that is
on and eligible takes the place of the steps it fuses, every other step stays SGLang's.

What is not eligible is counted with the reason in `fallbacks` and computed as SGLang does:
tensors that are not two-dimensional floats with packed rows, norms with a shift, norms of
one op with different epsilons, and whatever a kernel's own contract refuses.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from triage.errors import InstallError
from triage.sglang.binding.hooks import Hook

MODULE = "sglang.srt.models.gemma4_causal"
LAYER = f"{MODULE}.Gemma4DecoderLayer"
MOE = f"{MODULE}.Gemma4MoE"

OPS = {
    "post-attn-triple": "post-attention norm, residual and three norms of an MoE layer in one",
    "ple-tail": "norm + residual, GELU x embedding, norm + residual x scalar of a PLE layer",
    "dense-tail": "norm + residual x scalar of a dense layer",
    "moe-tail": "both branch norms, their sum's norm, residual and scalar of an MoE layer",
    "routing": "top-k, softmax over the chosen and expert scale",
}
AUTO = "auto"
_SGLANGS_OWN = {
    "dense-tail": "gemma_rmsnorm_residual_scalar",
    "moe-tail": "gemma_dual_rmsnorm_residual_scalar",
    "routing": "gemma4_fused_routing",
}
_FLOATS = (torch.bfloat16, torch.float16, torch.float32)


class FusedLayers:
    """The ops that are on. `uses` and `fallbacks` count layers by op, and by op and reason."""

    def __init__(self, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in OPS and name != AUTO:
                raise InstallError(
                    f"no fused op {name!r}; SGLANG_TRIAGE_FUSED accepts: {', '.join(OPS)}, {AUTO}"
                )
        if importlib.util.find_spec("triage_kernels") is None:
            raise InstallError("fused ops were asked for, but triage_kernels is not installed")
        self.ops = frozenset(name for name in names if name != AUTO)
        if AUTO in names:
            self.ops |= missing_in_sglang()
        self.armed = True
        self.uses: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        self._router_weights: dict[int, tuple[int, Tensor]] = {}

    def hooks(self) -> list[Hook]:
        why = "fused ops " + ", ".join(sorted(self.ops))
        hooks = [Hook(f"{LAYER}.forward", self.around_forward, why)]
        if "routing" in self.ops:
            hooks.append(Hook(f"{MOE}.__init__", self.around_moe, why))
        return hooks

    # -- the layer ---------------------------------------------------------------------

    def around_forward(
        self,
        original: Any,
        layer: Any,
        positions: Tensor,
        hidden_states: Tensor,
        per_layer_input: Tensor | None,
        forward_batch: Any,
        **kwargs: Any,
    ) -> Any:
        if not self.armed or not self.ops & ops_of(layer) or self._refused("layer", hidden_states):
            return original(
                layer, positions, hidden_states, per_layer_input, forward_batch, **kwargs
            )
        residual = hidden_states
        attended = layer.self_attn(
            positions=positions,
            hidden_states=layer.input_layernorm(hidden_states),
            forward_batch=forward_batch,
        )
        if layer.enable_moe_block:
            return self._moe(layer, attended, residual, per_layer_input), None
        attended = layer.post_attention_layernorm(attended)
        dense, residual = layer.pre_feedforward_layernorm(attended, residual)
        return self._tail(layer, layer.mlp(dense), residual, per_layer_input), None

    def _moe(self, layer: Any, attended: Tensor, residual: Tensor, ple: Tensor | None) -> Tensor:
        residual, logits, dense, experts = self._before_moe(layer, attended, residual)
        one, two = layer.mlp(dense), layer.moe(experts, logits)
        norms = (
            layer.post_feedforward_layernorm_1,
            layer.post_feedforward_layernorm_2,
            layer.post_feedforward_layernorm,
        )
        if not layer.has_ple and self._takes("moe-tail", norms, one, two, residual):
            from triage_kernels.ops.dual_rmsnorm import gemma_dual_rmsnorm_residual_scalar

            return gemma_dual_rmsnorm_residual_scalar(
                one,
                norms[0].weight,
                two,
                norms[1].weight,
                norms[2].weight,
                residual,
                layer.layer_scalar,
                _eps(norms[0]),
                _eps(norms[1]),
                _eps(norms[2]),
            )
        own = _sglangs("moe-tail", one)
        if not layer.has_ple and own is not None:
            weights = (one, norms[0].weight.data, two, norms[1].weight.data, norms[2].weight.data)
            return own(*weights, residual, layer.layer_scalar, *(_eps(norm) for norm in norms))
        return self._tail(layer, norms[0](one) + norms[1](two), residual, ple)

    def _before_moe(
        self, layer: Any, attended: Tensor, residual: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(residual, router logits, input of the dense branch, input of the experts)."""
        norms = (
            layer.post_attention_layernorm,
            layer.pre_feedforward_layernorm,
            layer.pre_feedforward_layernorm_2,
            layer.router.norm,
        )
        if self._takes("post-attn-triple", norms, attended, residual, same_eps=True):
            from triage_kernels.ops.post_attn_triple import gemma_post_attn_triple_rmsnorm

            summed, routed, dense, experts = gemma_post_attn_triple_rmsnorm(
                attended,
                residual,
                norms[0].weight,
                self._router_weight(layer.router),
                norms[1].weight,
                norms[2].weight,
                _eps(norms[0]),
                reads="sglang",
            )
            logits, _ = layer.router.proj(routed)
            return summed, logits, dense, experts
        attended = layer.post_attention_layernorm(attended)
        dense, residual = layer.pre_feedforward_layernorm(attended, residual)
        experts = layer.pre_feedforward_layernorm_2(residual)
        return residual, layer.router(residual), dense, experts

    def _tail(self, layer: Any, h: Tensor, residual: Tensor, ple: Tensor | None) -> Tensor:
        norm = layer.post_feedforward_layernorm
        if layer.has_ple and ple is not None:
            last = layer.post_per_layer_input_norm
            if self._takes("ple-tail", (norm, last), h, residual, ple):
                return _ple_tail(layer, h, residual, ple)
            h = norm(h) + residual
            gate, _ = layer.per_layer_input_gate(h)
            gated = torch.nn.functional.gelu(gate, approximate="tanh") * ple
            contribution, _ = layer.per_layer_projection(gated)
            return (h + last(contribution)) * layer.layer_scalar
        if self._takes("dense-tail", (norm,), h, residual):
            from triage_kernels.ops.rmsnorm_residual_scalar import gemma_rmsnorm_residual_scalar

            return gemma_rmsnorm_residual_scalar(
                h, norm.weight, residual, layer.layer_scalar, _eps(norm)
            )
        own = _sglangs("dense-tail", h)
        if not layer.has_ple and layer.moe is None and own is not None:
            return own(h, norm.weight.data, residual, layer.layer_scalar, _eps(norm))
        return (norm(h) + residual) * layer.layer_scalar

    # -- routing -----------------------------------------------------------------------

    def around_moe(self, original: Any, moe: Any, *args: Any, **kwargs: Any) -> None:
        """Give the layer's TopK our routing; SGLang's own stays for what is not eligible."""
        original(moe, *args, **kwargs)
        moe.topk.topk_config.custom_routing_function = self.routing(
            moe, moe.topk.topk_config.custom_routing_function
        )

    def routing(self, moe: Any, otherwise: Any) -> Any:
        """A routing function that reads the expert scale of `moe` when it is called."""

        def route(
            hidden_states: Tensor, gating_output: Tensor, topk: int, renormalize: bool
        ) -> Any:
            if self.armed and self._takes("routing", (), gating_output):
                from triage_kernels.ops.routing import gemma4_fused_routing

                return gemma4_fused_routing(gating_output, moe.per_expert_scale, topk)
            return otherwise(hidden_states, gating_output, topk, renormalize)

        return route

    # -- eligibility -------------------------------------------------------------------

    def _takes(
        self, op: str, norms: tuple[Any, ...], *tensors: Tensor, same_eps: bool = False
    ) -> bool:
        if op not in self.ops:
            return False
        if any(getattr(norm, "scale_shift", 0.0) for norm in norms):
            return self._fall_back(op, "a norm has a shift")
        if same_eps and len({_eps(norm) for norm in norms}) > 1:
            return self._fall_back(op, "the norms have different epsilons")
        if self._refused(op, *tensors):
            return False
        self.uses[op] += 1
        return True

    def _refused(self, op: str, *tensors: Tensor) -> bool:
        from triage_kernels.core.interpreter import interpreting

        for tensor in tensors:
            reason = ""
            if tensor.dim() != 2:
                reason = f"{tensor.dim()} dimensions"
            elif tensor.dtype not in _FLOATS or tensor.dtype != tensors[0].dtype:
                reason = f"dtype {tensor.dtype}"
            elif tensor.stride(-1) != 1:
                reason = "rows are not packed"
            elif not (tensor.is_cuda or (tensor.device.type == "cpu" and interpreting())):
                reason = f"device {tensor.device.type}"
            if reason:
                return not self._fall_back(op, reason)
        return False

    def _fall_back(self, op: str, reason: str) -> bool:
        self.fallbacks[op, reason] += 1
        return False

    def _router_weight(self, router: Any) -> Tensor:
        """The router's norm weight, computed anew when its scale was written or replaced."""
        from triage_kernels.ops.post_attn_triple import router_norm_weight

        scale = router.scale
        stamp = scale._version + scale.data_ptr()
        held = self._router_weights.get(id(router))
        if held is None or held[0] != stamp:
            held = (stamp, router_norm_weight(scale.detach(), scale.shape[0]))
            self._router_weights[id(router)] = held
        return held[1]


def missing_in_sglang() -> frozenset[str]:
    """The ops for which the installed release's Gemma-4 has no kernel of its own."""
    module = importlib.import_module(MODULE)
    return frozenset(op for op in OPS if not hasattr(module, _SGLANGS_OWN.get(op, "")))


def ops_of(layer: Any) -> frozenset[str]:
    """The ops that have a place in this layer's own forward."""
    found = {"post-attn-triple", "moe-tail"} if layer.enable_moe_block else {"dense-tail"}
    if layer.has_ple:
        found = {"ple-tail"} | found - {"moe-tail", "dense-tail"}
    return frozenset(found)


def _sglangs(op: str, tensor: Tensor) -> Any:
    """SGLang's own kernel for `op`, None where it would not use one."""
    module = importlib.import_module(MODULE)
    return getattr(module, _SGLANGS_OWN[op], None) if tensor.is_cuda else None


def _ple_tail(layer: Any, h: Tensor, residual: Tensor, ple: Tensor) -> Tensor:
    from triage_kernels.ops.gelu_tanh_mul import gemma_gelu_tanh_mul
    from triage_kernels.ops.rmsnorm_add import gemma_rmsnorm_add
    from triage_kernels.ops.rmsnorm_residual_scalar import gemma_rmsnorm_residual_scalar

    norm, last = layer.post_feedforward_layernorm, layer.post_per_layer_input_norm
    h = gemma_rmsnorm_add(h, norm.weight, residual, _eps(norm))
    gate, _ = layer.per_layer_input_gate(h)
    contribution, _ = layer.per_layer_projection(gemma_gelu_tanh_mul(gate, ple))
    return gemma_rmsnorm_residual_scalar(
        contribution, last.weight, h, layer.layer_scalar, _eps(last)
    )


def _eps(norm: Any) -> float:
    """SGLang's two norm classes call it differently."""
    return float(norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps)
