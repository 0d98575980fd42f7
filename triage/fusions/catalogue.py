"""What a generated kernel is of a Gemma-4 layer, and who else has it in one launch.

A pattern is recognised by what the kernel was fused from and by the shapes it is launched
on, not by its name: names number kernels and differ from one release to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from triage.errors import did_you_mean
from triage.fusions.reader import Capture, GeneratedLaunch, Kernel


@dataclass(frozen=True, slots=True)
class Pattern:
    """One stretch of a layer.

    Attributes:
        chain: launches of SGLang's separate kernels for it (a norm or an activation is one).
        sglang, ours: the kernel that does it in one launch, "" where there is none.
    """

    name: str
    what: str
    chain: int
    sglang: str
    ours: str
    matches: Callable[[Kernel, GeneratedLaunch, bool], bool]


def _ops(kernel: Kernel) -> frozenset[str]:
    return frozenset(origin.rpartition(".")[2] for origin in kernel.origins)


def _any(kernel: Kernel, *names: str) -> bool:
    return not _ops(kernel).isdisjoint(names)


def _of_heads(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    if _chooses(kernel):
        return False
    turns = _any(kernel, "sub", "cos", "sin") and _any(kernel, "index", "cos", "sin", "embedding")
    stores = _any(kernel, "index_copy", "index_put", "index_put_", "scatter")
    split = _any(kernel, "split_with_sizes") and _any(kernel, "mean", "rsqrt")
    copied = _any(kernel, "attention", "unified_attention", "unified_attention_with_output")
    return turns or stores or split or (copied and not kernel.scales)


def _chooses(kernel: Kernel) -> bool:
    """Whether experts are chosen, or that is fused from what feeds them.

    On a GPU Inductor names the softmax and its lookup of scales for a norm too whose rows
    the experts read: they are origins of the same call.
    """
    return _any(kernel, "softmax", "_softmax", "topk", "moe_forward") or "softmax" in kernel.name


def _router(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return (_chooses(kernel) or _any(kernel, "exp")) and not kernel.scales


def _router_input(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return moe and bool(kernel.scales) and not launch.scalars and launch.weights >= 3


def _moe_tail(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return moe and _tail(kernel, launch, moe)


def _tail_next(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return _tail(kernel, launch, moe) and launch.rows_written >= 2


def _tail(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return bool(kernel.scales) and launch.scalars > 0


def _norm_add_norm(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return bool(kernel.scales) and launch.weights >= max(2, launch.rows_read)


def _norm_add(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    """Each weight norms a row that is added; a compiler may compute an earlier sum again."""
    return bool(kernel.scales) and 1 <= launch.weights < launch.rows_read


def _gate(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> bool:
    return kernel.uses_tanh and _any(kernel, "select")


PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "attention-preamble",
        "norms of query, key and value, rotary embedding, write of the KV cache",
        6,
        "gemma_qkv_rmsnorm (norms only)",
        "gemma_attention_preamble",
        _of_heads,
    ),
    Pattern(
        "router",
        "top-k, softmax over the chosen, per-expert scale",
        5,
        "gemma4_fused_routing",
        "gemma4_fused_routing",
        _router,
    ),
    Pattern(
        "post-attention-triple",
        "post-attention norm, residual, norms for router, dense branch and experts",
        5,
        "",
        "gemma_post_attn_triple_rmsnorm",
        _router_input,
    ),
    Pattern(
        "moe-tail",
        "norms of both branches, their sum normed, residual, scalar, next layer's input norm",
        7,
        "gemma_dual_rmsnorm_residual_scalar (without the next norm)",
        "gemma_moe_layer_tail_next_norm",
        _moe_tail,
    ),
    Pattern(
        "layer-tail-next-norm",
        "norm, residual, scalar and the input norm of the next layer",
        4,
        "gemma_rmsnorm_residual_scalar (without the next norm)",
        "gemma_layer_tail_next_norm",
        _tail_next,
    ),
    Pattern(
        "layer-tail",
        "norm, residual, scalar",
        3,
        "gemma_rmsnorm_residual_scalar",
        "gemma_rmsnorm_residual_scalar",
        _tail,
    ),
    Pattern(
        "norm-add-norm",
        "norm, residual and the norm that follows",
        2,
        "fused_dual_residual_rmsnorm (packed rows only; not used by Gemma-4)",
        "",
        _norm_add_norm,
    ),
    Pattern("norm-add", "norm and residual", 2, "", "gemma_rmsnorm_add", _norm_add),
    Pattern(
        "per-layer-gate",
        "gelu of the gate times the per-layer input",
        2,
        "",
        "gemma_gelu_tanh_mul",
        _gate,
    ),
    Pattern(
        "mlp-activation",
        "gelu of the gate half times the other half",
        1,
        "gelu_tanh_and_mul",
        "",
        lambda kernel, launch, moe: kernel.uses_tanh,
    ),
    Pattern("norm", "one norm", 1, "rmsnorm", "", lambda kernel, launch, moe: bool(kernel.scales)),
    Pattern(
        "norm-sum",
        "the sum of squares of a norm, apart from the norm",
        0,
        "",
        "",
        lambda kernel, launch, moe: _any(kernel, "mean", "pow"),
    ),
    Pattern("other", "not a pattern of the catalogue", 0, "", "", lambda kernel, launch, moe: True),
)


def pattern_of(kernel: Kernel, launch: GeneratedLaunch, moe: bool) -> Pattern:
    """The first pattern that matches: the list goes from special to general.

    Args:
        moe: whether the capture has a router; a layer tail alone does not tell.
    """
    return next(p for p in PATTERNS if p.matches(kernel, launch, moe))


def has_router(capture: Capture) -> bool:
    """Whether tokens are routed to experts somewhere in the capture."""
    names = (*capture.externs, *capture.kernels)
    return any("topk" in name or "moe" in name or "routing" in name for name in names)


def named(name: str) -> Pattern:
    """The pattern of that name.

    Raises:
        LookupError: naming those there are.
    """
    for pattern in PATTERNS:
        if pattern.name == name:
            return pattern
    known = [p.name for p in PATTERNS]
    meant = did_you_mean(name, known)
    raise LookupError(f"no pattern {name!r}{meant}; there are: {', '.join(known)}")
