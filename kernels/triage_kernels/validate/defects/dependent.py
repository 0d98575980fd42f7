"""Defects of dependent launches, see `core.dependent`: a wait left out, or too late.

The interpreter has no such launches: these are caught on a GPU, and in what the compiler makes
of them (`perf.early`).
"""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant

_WAIT = "    wait_for_previous(PDL)\n"


def _dependent(name: str, op: str, module: str, what: str, *edits: Edit) -> Mutant:
    checks = ("dependent-launch",)
    return Mutant(name, op, module, what, edits, checks=checks, device="cuda")


DEPENDENT: tuple[Mutant, ...] = (
    _dependent(
        "no-wait",
        "gemma_rmsnorm_residual_scalar",
        "rmsnorm_residual_scalar",
        "rows read without waiting for the kernel in front",
        (_WAIT, "    if PDL:\n        tl.extra.cuda.gdc_launch_dependents()\n"),
    ),
    _dependent(
        "wait-after-load",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "residual read before the wait",
        (_WAIT, f"    r = load(r_ptr, stride_r, rows, cols, masks)\n{_WAIT}"),
        (
            "    x = load(x_ptr, stride_x, rows, cols, masks)\n"
            "    r = load(r_ptr, stride_r, rows, cols, masks)\n",
            "    x = load(x_ptr, stride_x, rows, cols, masks)\n",
        ),
    ),
    _dependent(
        "scalar-before-wait",
        "gemma_moe_layer_tail_next_norm",
        "layer_tail_moe",
        "scalar of the layer read before the wait",
        (
            f"{_WAIT}    c = tl.load(c_ptr).to(tl.float32)\n",
            f"    c = tl.load(c_ptr).to(tl.float32)\n{_WAIT}",
        ),
    ),
    _dependent(
        "router-weight-before-wait",
        "gemma_post_attn_triple_rmsnorm",
        "post_attn_triple",
        "router weight, which may have just been computed, read before the wait",
        (_WAIT, f"    w_router = load_weight(w_router_ptr, cols, N)\n{_WAIT}"),
        (
            "just now.\n    w_router = load_weight(w_router_ptr, cols, N)\n",
            "just now.\n",
        ),
    ),
    _dependent(
        "values-do-not-wait",
        "gemma_attention_preamble",
        "attention_preamble",
        "programs of the value do not wait",
        (f"HALF_BLOCK)\n{_WAIT}    slot", "HALF_BLOCK)\n    slot"),
    ),
    _dependent(
        "zeroed-before-wait",
        "gemma_gelu_tanh_mul",
        "gelu_tanh_mul",
        "result zeroed before the wait, under a kernel that still reads there",
        (
            _WAIT,
            "    for i in tl.static_range(len(cols)):\n"
            "        store(out_ptr, stride_out, rows, cols[i], masks[i], tl.zeros((ROWS, BLOCK), "
            f"tl.float32))\n{_WAIT}",
        ),
    ),
)
