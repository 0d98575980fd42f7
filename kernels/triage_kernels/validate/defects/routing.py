"""Defects of the router's selection and its weights."""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant


def _routing(name: str, what: str, *edits: Edit) -> Mutant:
    return Mutant(name, "gemma4_fused_routing", "routing", what, edits, cases=2)


_SUM = "e = tl.where(lanes < K, tl.exp(top - largest), 0.0)"

ROUTING: tuple[Mutant, ...] = (
    _routing(
        "expert-scale-ignored",
        "per-expert scale left out",
        ("weights * scale, mask=kept", "weights, mask=kept"),
    ),
    _routing(
        "tie-order",
        "ties to the higher id",
        ("+ (BLOCK_E - 1 - experts)", "+ experts"),
        ("BLOCK_E - 1 - (chosen & 1023)", "chosen & 1023"),
    ),
    _routing(
        "nan-guarded-denominator",
        "a sum that is not positive becomes one",
        (
            "    weights = e / tl.sum(e, axis=1)[:, None]",
            "    total = tl.sum(e, axis=1)[:, None]\n"
            "    weights = e / tl.where(total > 0, total, 1.0)",
        ),
    ),
    _routing("negative-zero-below-zero", "-0 sorted below +0", ("(logits + 0.0).to", "logits.to")),
    _routing(
        "negative-nan-last",
        "NaN sorted by its bits",
        ("    bits = tl.where(logits != logits, 0x7FFFFFFF, bits)\n", ""),
    ),
    _routing(
        "weights-rounded",
        "softmax rounded to the logits' dtype",
        (
            "tl.store(weights_ptr + at, weights * scale",
            "rounded = weights.to(logits_ptr.dtype.element_ty).to(tl.float32)\n"
            "    tl.store(weights_ptr + at, rounded * scale",
        ),
    ),
    _routing(
        "padding-selected",
        "lanes past E take part as zeros",
        ("packed = tl.where(experts < E, packed, lowest)", "packed = packed + 0"),
    ),
    _routing("softmax-base-2", "2^x for e^x", (_SUM, _SUM.replace("tl.exp(", "tl.exp2("))),
    _routing(
        "stale-expert-scale",
        "scale converted once and kept",
        (
            "    device = router_logits.device\n",
            "    device = router_logits.device\n"
            "    kept = per_expert_scale.float().clone()\n"
            "    per_expert_scale = _KEPT.setdefault(id(per_expert_scale), kept)\n",
        ),
        ("MAX_EXPERTS = 1024", "MAX_EXPERTS = 1024\n_KEPT: dict = {}"),
    ),
    Mutant(
        "ids-stride",
        "gemma_routing_post_topk",
        "routing_post_topk",
        "ids addressed with the logits' stride",
        (("ids_ptr + rows * stride_ids", "ids_ptr + rows * stride_logits"),),
    ),
)
