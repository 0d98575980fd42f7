"""Our fused kernels in Gemma-4's decoder layer, opt in, each falling back where it must.

`SGLANG_TRIAGE_FUSED=op,...` or `auto`, which takes the ops that the installed SGLang has no
kernel for. The layer's forward is followed step by step as SGLang writes it; an op that is
on and eligible takes the place of the steps it fuses, every other step stays SGLang's.

What is not eligible is counted with the reason in `fallbacks` and computed as SGLang does:
tensors that are not two-dimensional floats with packed rows, norms with a shift, norms of
one op with different epsilons, and whatever a kernel's own contract refuses.

Where the model is traced (`torch.compile`, SGLang's piecewise prefill graphs) the layer is
SGLang's: Dynamo cannot follow what decides here, and a server would not start. Captured CUDA
graphs and eager forwards have the ops. No shell stands around the forward: each op has its own
inside (`_op`). An op that fails is told once and off from then on; its steps, whose inputs it
has not changed, are SGLang's, and so is everything behind them.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from triage.errors import InstallError
from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.shell import Shells
from triage.sglang.fixes.fused_ops import dense_tail, eps, moe_tail, ple_tail, route, triple

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

    def __init__(self, names: tuple[str, ...], shells: Shells | None = None) -> None:
        """shells: of the process, where what fails is told and counted."""
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
        shells = shells or Shells()
        self._layer_shell = shells.of("fused layers")
        self._shells = {name: shells.of(f"fused op {name}") for name in self.ops}
        self.uses: Counter[str] = Counter()
        self.fallbacks: Counter[tuple[str, str]] = Counter()
        self._router_weights: dict[int, tuple[int, Tensor]] = {}

    def hooks(self) -> list[Hook]:
        why = "fused ops " + ", ".join(sorted(self.ops))
        hooks = [Hook(f"{LAYER}.forward", self.around_forward, why)]
        if "routing" in self.ops:
            moe = self._shells["routing"].around(self.around_moe)
            hooks.append(Hook(f"{MOE}.__init__", moe, why))
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
        traced = torch.compiler.is_dynamo_compiling()
        if traced or not self._layer_shell.part(lambda: self._wanted(layer, hidden_states), False):
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

    def _wanted(self, layer: Any, hidden_states: Tensor) -> bool:
        """Has an op a place in this layer? Nothing of it has run yet."""
        has_place = self.armed and bool(self.ops & ops_of(layer))
        return has_place and not self._refused("layer", hidden_states)

    def _moe(self, layer: Any, attended: Tensor, residual: Tensor, ple: Tensor | None) -> Tensor:
        residual, logits, dense, experts = self._before_moe(layer, attended, residual)
        one, two = layer.mlp(dense), layer.moe(experts, logits)
        norms = (
            layer.post_feedforward_layernorm_1,
            layer.post_feedforward_layernorm_2,
            layer.post_feedforward_layernorm,
        )
        if not layer.has_ple:
            fused = self._op("moe-tail", moe_tail, norms, (one, two, residual), layer.layer_scalar)
            if fused is not None:
                return fused
        own = self._sglangs("moe-tail", one, norms)
        if not layer.has_ple and own is not None:
            kernel, epsilons = own
            weights = (one, norms[0].weight.data, two, norms[1].weight.data, norms[2].weight.data)
            return kernel(*weights, residual, layer.layer_scalar, *epsilons)
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
        fused = self._op(
            "post-attn-triple", triple, norms, (attended, residual), layer.router, self._weight
        )
        if fused is not None:
            summed, routed, dense, experts = fused
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
            fused = self._op("ple-tail", ple_tail, (norm, last), (h, residual, ple), layer)
            if fused is not None:
                return fused
            h = norm(h) + residual
            gate, _ = layer.per_layer_input_gate(h)
            gated = torch.nn.functional.gelu(gate, approximate="tanh") * ple
            contribution, _ = layer.per_layer_projection(gated)
            return (h + last(contribution)) * layer.layer_scalar
        fused = self._op("dense-tail", dense_tail, (norm,), (h, residual), layer.layer_scalar)
        if fused is not None:
            return fused
        own = self._sglangs("dense-tail", h, (norm,))
        if not layer.has_ple and layer.moe is None and own is not None:
            kernel, [epsilon] = own
            return kernel(h, norm.weight.data, residual, layer.layer_scalar, epsilon)
        return (norm(h) + residual) * layer.layer_scalar

    def _sglangs(self, op: str, tensor: Tensor, norms: tuple[Any, ...]) -> Any:
        """SGLang's own kernel for `op` and the epsilons; None where it would not use one."""
        return self._layer_shell.part(lambda: _sglangs_own(op, tensor, norms), None)

    # -- routing -----------------------------------------------------------------------

    def around_moe(self, original: Any, moe: Any, *args: Any, **kwargs: Any) -> None:
        """Give the layer's TopK our routing; SGLang's own stays for what is not eligible."""
        original(moe, *args, **kwargs)
        moe.topk.topk_config.custom_routing_function = self.routing(
            moe, moe.topk.topk_config.custom_routing_function
        )

    def routing(self, moe: Any, otherwise: Any) -> Any:
        """A routing function that reads the expert scale of `moe` when it is called."""

        def choose(
            hidden_states: Tensor, gating_output: Tensor, topk: int, renormalize: bool
        ) -> Any:
            fused = None
            if self.armed and not torch.compiler.is_dynamo_compiling():
                fused = self._op("routing", route, (), (gating_output,), moe, topk)
            if fused is not None:
                return fused
            return otherwise(hidden_states, gating_output, topk, renormalize)

        return choose

    # -- one op ------------------------------------------------------------------------

    def _op(
        self,
        op: str,
        kernel: Callable[..., Any],
        norms: tuple[Any, ...],
        tensors: tuple[Tensor, ...],
        *rest: Any,
    ) -> Any:
        """`kernel(norms, tensors, ...)`; None where SGLang's own steps are to be taken.

        They are where the op is not on, not eligible, or fails: the op's own shell.
        """
        shell = self._shells.get(op)
        if shell is None or not shell.on:
            return None
        try:
            if not self._takes(op, norms, tensors):
                return None
            found = kernel(norms, tensors, *rest)
        except Exception as error:  # the op's own shell: SGLang's steps are taken
            shell.failed(error)
            return None
        self.uses[op] += 1
        return found

    def _takes(self, op: str, norms: tuple[Any, ...], tensors: tuple[Tensor, ...]) -> bool:
        if any(getattr(norm, "scale_shift", 0.0) for norm in norms):
            return self._fall_back(op, "a norm has a shift")
        if op == "post-attn-triple" and len({eps(norm) for norm in norms}) > 1:
            return self._fall_back(op, "the norms have different epsilons")
        return not self._refused(op, *tensors)

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

    def _weight(self, router: Any) -> Tensor:
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


def _sglangs_own(op: str, tensor: Tensor, norms: tuple[Any, ...]) -> Any:
    module = importlib.import_module(MODULE)
    kernel = getattr(module, _SGLANGS_OWN[op], None) if tensor.is_cuda else None
    return None if kernel is None else (kernel, [eps(norm) for norm in norms])
