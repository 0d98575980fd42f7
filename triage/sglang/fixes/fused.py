"""Our fused kernels in Gemma-4's decoder layer, opt in, each falling back where it must.

`SGLANG_TRIAGE_FUSED=op,...` or `auto`, which takes what was measured faster on this GPU and
release (`fused_measured.py`). The layer's forward is followed step by step as SGLang writes it;
an op that is on and eligible takes the place of the steps it fuses, every other step stays
SGLang's. What is not eligible is counted and computed as SGLang does (`fused_calls.py`).

Where the model is traced (`torch.compile`, SGLang's piecewise prefill graphs) the layer is
SGLang's: Dynamo cannot follow what decides here, and a server would not start. Captured CUDA
graphs and eager forwards have the ops. No shell stands around the forward: each op has its own
inside (`Calls.take_op`). An op that fails is told once and off from then on; its steps, whose
inputs it has not changed, are SGLang's, and so is everything behind them.

Long because the steps of one layer stand in their order.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import logging
from typing import Any

import torch
from torch import Tensor

from triage.device.capture import capturing
from triage.errors import InstallError
from triage.sglang.binding.hooks import Hook
from triage.sglang.binding.shell import Shells
from triage.sglang.fixes import fused_attention, fused_measured
from triage.sglang.fixes.fused_calls import Calls
from triage.sglang.fixes.fused_next_norm import NextNorms
from triage.sglang.fixes.fused_ops import (
    dense_tail,
    dense_tail_next,
    eps,
    moe_tail,
    moe_tail_next,
    ple_tail,
    ple_tail_next,
    post_attn_norms,
    route,
    triple,
)
from triage.sglang.fixes.fused_overlap import PDL, switch_overlap

logger = logging.getLogger("triage")

MODULE = "sglang.srt.models.gemma4_causal"
MODEL = f"{MODULE}.Gemma4TextModel"
LAYER = f"{MODULE}.Gemma4DecoderLayer"
ATTENTION = f"{MODULE}.Gemma4Attention"
MOE = f"{MODULE}.Gemma4MoE"

NEXT = "-next-norm"
OPS = {
    "post-attn-triple": "post-attention norm, residual and three norms of an MoE layer in one",
    "post-attn-norms": "post-attention norm, residual and the next norm of a layer without experts",
    "ple-tail": "norm + residual, GELU x embedding, norm + residual x scalar of a PLE layer",
    "dense-tail": "norm + residual x scalar of a dense layer",
    "moe-tail": "both branch norms, their sum's norm, residual and scalar of an MoE layer",
    "ple-tail-next-norm": "`ple-tail`, and the next layer's input norm in its last launch",
    "dense-tail-next-norm": "`dense-tail` and the next layer's input norm in one",
    "moe-tail-next-norm": "`moe-tail` and the next layer's input norm in one",
    "routing": "top-k, softmax over the chosen and expert scale",
    fused_attention.OP: "norms, rotation and cache write of a decode step's attention in one",
}
AUTO = "auto"
_SGLANGS_OWN = {
    "dense-tail": "gemma_rmsnorm_residual_scalar",
    "moe-tail": "gemma_dual_rmsnorm_residual_scalar",
}


class FusedLayers:
    """The ops that are on, in every layer of this process."""

    def __init__(
        self, names: tuple[str, ...], shells: Shells | None = None, *, watched: bool = False
    ) -> None:
        """shells: of the process, where what fails is told and counted.

        watched: the traps are on, which follow SGLang's own writes into the KV cache.
        """
        for name in names:
            if name not in (*OPS, AUTO, PDL):
                known = ", ".join((*OPS, AUTO, PDL))
                raise InstallError(f"no fused op {name!r}; SGLANG_TRIAGE_FUSED accepts: {known}")
        if set(names) == {PDL}:
            raise InstallError(
                f"SGLANG_TRIAGE_FUSED={PDL} is how ops are launched: name an op too, or {AUTO}"
            )
        if importlib.util.find_spec("triage_kernels") is None:
            raise InstallError("fused ops were asked for, but triage_kernels is not installed")
        self._named = frozenset(names) - {AUTO, PDL}
        self._overlap = PDL in names
        self._auto = AUTO in names
        self.armed = True
        shells = shells or Shells()
        self._layer_shell = shells.of("fused layers")
        self.calls = Calls(self._named | self._measured(None), shells)
        self.uses, self.fallbacks = self.calls.uses, self.calls.fallbacks
        self.attention = fused_attention.Preamble(self.calls, watched, lambda: self.armed)
        self.next = NextNorms()
        self._ones: dict[torch.device, Tensor] = {}
        self._router_weights: dict[int, tuple[int, Tensor]] = {}

    @property
    def ops(self) -> frozenset[str]:
        """Those that are on. Until a model is made, `auto` stands for those of any GPU."""
        return self.calls.ops

    def hooks(self) -> list[Hook]:
        why = "fused ops " + ", ".join(sorted(self.ops))
        if not self.ops:
            return []
        shell = self._layer_shell
        hooks = [
            Hook(f"{LAYER}.forward", self.around_forward, why),
            Hook(f"{MODEL}.__init__", shell.around(self.around_model), why),
        ]
        if "routing" in self.ops:
            moe = self.calls.shells["routing"].around(self.around_moe)
            hooks.append(Hook(f"{MOE}.__init__", moe, why))
        if fused_attention.OP in self.ops:
            hooks.append(Hook(f"{ATTENTION}.forward", self.attention.around_attention, why))
        return hooks

    def _measured(self, gpu: str | None) -> frozenset[str]:
        if not self._auto:
            return frozenset()
        return fused_measured.taken(fused_measured.table(), _release(), gpu)

    def around_model(self, original: Any, model: Any, *args: Any, **kwargs: Any) -> None:
        """What `auto` takes on this GPU, known now; and which layer follows which."""
        overlap = self._overlap
        if self._auto:
            gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
            self.calls.ops = self._named | self._measured(gpu)
            said = ", ".join(sorted(self.calls.ops)) or "none"
            logger.info("sglang-triage fused ops, auto on %s: %s", gpu or "no GPU", said)
            overlap |= fused_measured.overlap_taken(fused_measured.table(), _release(), gpu)
        switch_overlap(overlap)
        original(model, *args, **kwargs)
        self.next.link(model)

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
        residual, norm = hidden_states, layer.input_layernorm
        normed = self._layer_shell.part(lambda: self.next.take(hidden_states, norm), None)
        attended = layer.self_attn(
            positions=positions,
            hidden_states=norm(hidden_states) if normed is None else normed,
            forward_batch=forward_batch,
        )
        if layer.enable_moe_block:
            return self._moe(layer, attended, residual, per_layer_input), None
        residual, dense = self._before_mlp(layer, attended, residual)
        return self._tail(layer, layer.mlp(dense), residual, per_layer_input), None

    def _wanted(self, layer: Any, hidden_states: Tensor) -> bool:
        """Has an op a place in this layer? Nothing of it has run yet."""
        if not (self.armed and self.calls.ops & ops_of(layer)):
            return False
        if hasattr(layer, "attn_boundary"):  # 0.5.23: parts are summed outside the layer's steps
            return self.calls.fall_back("layer", "this release's layers have other steps")
        return not self.calls.refused("layer", hidden_states)

    def _moe(self, layer: Any, attended: Tensor, residual: Tensor, ple: Tensor | None) -> Tensor:
        residual, logits, dense, experts = self._before_moe(layer, attended, residual)
        one, two = layer.mlp(dense), layer.moe(experts, logits)
        norms = (
            layer.post_feedforward_layernorm_1,
            layer.post_feedforward_layernorm_2,
            layer.post_feedforward_layernorm,
        )
        if not layer.has_ple:
            fused = self._tail_op(
                layer, "moe-tail", (moe_tail, moe_tail_next), norms, (one, two, residual)
            )
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
        fused = self.calls.take_op(
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

    def _before_mlp(self, layer: Any, attended: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """(residual, input of the feed-forward block) of a layer without experts."""
        norms = layer.post_attention_layernorm, layer.pre_feedforward_layernorm
        one = self._layer_shell.part(lambda: self._one(attended), None)
        if one is not None:
            fused = self.calls.take_op(
                "post-attn-norms", post_attn_norms, norms, (attended, residual), one
            )
            if fused is not None:
                return fused[0], fused[1]
        dense, residual = norms[1](norms[0](attended), residual)
        return residual, dense

    def _tail(self, layer: Any, h: Tensor, residual: Tensor, ple: Tensor | None) -> Tensor:
        norm = layer.post_feedforward_layernorm
        if layer.has_ple and ple is not None:
            last = layer.post_per_layer_input_norm
            fused = self._tail_op(
                layer,
                "ple-tail",
                (ple_tail, ple_tail_next),
                (norm, last),
                (h, residual, ple),
                layer,
            )
            if fused is not None:
                return fused
            h = norm(h) + residual
            gate, _ = layer.per_layer_input_gate(h)
            gated = torch.nn.functional.gelu(gate, approximate="tanh") * ple
            contribution, _ = layer.per_layer_projection(gated)
            return (h + last(contribution)) * layer.layer_scalar
        fused = self._tail_op(
            layer, "dense-tail", (dense_tail, dense_tail_next), (norm,), (h, residual)
        )
        if fused is not None:
            return fused
        own = self._sglangs("dense-tail", h, (norm,))
        if not layer.has_ple and layer.moe is None and own is not None:
            kernel, [epsilon] = own
            return kernel(h, norm.weight.data, residual, layer.layer_scalar, epsilon)
        return (norm(h) + residual) * layer.layer_scalar

    def _tail_op(
        self,
        layer: Any,
        op: str,
        kernels: tuple[Any, Any],
        norms: tuple[Any, ...],
        tensors: tuple[Tensor, ...],
        reads: Any = None,
    ) -> Any:
        """The layer's output by `op` alone, or with the next layer's norm; None for SGLang's.

        reads: what the kernels take beside norms and tensors; the layer's scalar by default.
        """
        reads = layer.layer_scalar if reads is None else reads
        after = self._layer_shell.part(lambda: self.next.after(layer), None)
        if after is not None:
            both = self.calls.take_op(f"{op}{NEXT}", kernels[1], (*norms, after), tensors, reads)
            if both is not None:
                row, normed = both
                self._layer_shell.part(lambda: self.next.put(row, after, normed), None)
                return row
        return self.calls.take_op(op, kernels[0], norms, tensors, reads)

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
                fused = self.calls.take_op("routing", route, (), (gating_output,), moe, topk)
            if fused is not None:
                return fused
            return otherwise(hidden_states, gating_output, topk, renormalize)

        return choose

    # -- what an op reads --------------------------------------------------------------

    def _one(self, beside: Tensor) -> Tensor | None:
        """A one [1] on the device of `beside`; None in a capture that comes before any eager call.

        Made inside a capture it would be of that graph alone: filled by its replays only.
        """
        if "post-attn-norms" not in self.calls.ops:
            return None
        found = self._ones.get(beside.device)
        if found is None and not capturing():
            found = self._ones[beside.device] = torch.ones(1, device=beside.device)
        return found

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


def ops_of(layer: Any) -> frozenset[str]:
    """The ops that have a place in this layer's own forward."""
    moe = layer.enable_moe_block
    found = {"post-attn-triple", "moe-tail"} if moe else {"post-attn-norms", "dense-tail"}
    if layer.has_ple:
        found = {"ple-tail"} | found - {"moe-tail", "dense-tail"}
    return frozenset(found | {f"{op}{NEXT}" for op in found if op.endswith("tail")})


def _release() -> str:
    return importlib.metadata.version("sglang")


def _sglangs_own(op: str, tensor: Tensor, norms: tuple[Any, ...]) -> Any:
    module = importlib.import_module(MODULE)
    kernel = getattr(module, _SGLANGS_OWN[op], None) if tensor.is_cuda else None
    return None if kernel is None else (kernel, [eps(norm) for norm in norms])
