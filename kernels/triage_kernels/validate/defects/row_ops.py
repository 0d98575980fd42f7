"""Defects of the kernels that norm whole rows, and of the activation."""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant


def _tail(name: str, what: str, *edits: Edit, checks: tuple[str, ...] = ()) -> Mutant:
    op = "gemma_rmsnorm_residual_scalar"
    return Mutant(name, op, "rmsnorm_residual_scalar", what, edits, checks=checks)


def _dual(name: str, what: str, *edits: Edit) -> Mutant:
    return Mutant(name, "gemma_dual_rmsnorm_residual_scalar", "dual_rmsnorm", what, edits)


def _add(name: str, what: str, *edits: Edit) -> Mutant:
    return Mutant(name, "gemma_rmsnorm_add", "rmsnorm_add", what, edits)


def _gelu(name: str, what: str, *edits: Edit) -> Mutant:
    return Mutant(name, "gemma_gelu_tanh_mul", "gelu_tanh_mul", what, edits)


def _triple(name: str, what: str, *edits: Edit) -> Mutant:
    op = "gemma_post_attn_triple_rmsnorm"
    return Mutant(name, op, "post_attn_triple", what, edits, cases=2)


_TAIL = "y = (x[i] * inv * w[i] + r[i]) * c"
_INV = "inv = inv_rms(x, N, EPS)"
_TILE = "rows, cols, masks = tile(M, N, ROWS, BLOCK)"
_STORE = "store(out_ptr, stride_out, rows, cols[i], masks[i], y)"
_ROUNDED = "to(out_ptr.dtype.element_ty).to(tl.float32)"
_TORCH = ("import triton\n", "import torch\nimport triton\n")

ROW_OPS: tuple[Mutant, ...] = (
    _tail("scale-off-0.1%", "scalar 0.1 % too large", (_TAIL, f"{_TAIL} * 1.001")),
    _tail("eps-1e-2", "eps 1e-2 for 1e-6", (_INV, _INV.replace("EPS", "1e-2"))),
    _tail("no-eps", "eps left out", (_INV, _INV.replace("EPS", "0.0"))),
    _tail(
        "extra-rounding",
        "norm rounded before the add",
        (
            _TAIL,
            f"y = ((x[i] * inv * w[i]).{_ROUNDED} + r[i]) * c",
        ),
    ),
    _tail(
        "sum-rounded",
        "sum rounded before the scalar",
        (_TAIL, f"y = (x[i] * inv * w[i] + r[i]).{_ROUNDED} * c"),
    ),
    _tail(
        "residual-before-norm",
        "residual added before the norm",
        (
            _INV,
            "t = ()\n"
            "    for i in tl.static_range(len(cols)):\n"
            "        t = t + (x[i] + r[i],)\n"
            "    x = t\n"
            "    inv = inv_rms(x, N, EPS)",
        ),
        (_TAIL, "y = x[i] * inv * w[i] * c"),
    ),
    _tail("scalar-ignored", "layer scalar left out", (_TAIL, _TAIL.removesuffix(" * c"))),
    _tail(
        "one-plus-w",
        "weight 1 + w, as Gemma 1 to 3",
        (_TAIL, _TAIL.replace("* w[i]", "* (1 + w[i])")),
    ),
    _tail("mean-over-tile", "mean over a piece, not the row", (_INV, _INV.replace("N,", "BLOCK,"))),
    _tail("lost-last-column", "mask one short", (_TILE, _TILE.replace("N,", "N - 1,"))),
    _tail(
        "mask-off-by-one",
        "mask one too long",
        (_TILE, _TILE.replace("N,", "N + 1,")),
        checks=("sentinel-guards",),
    ),
    _tail(
        "lost-last-row",
        "grid one short",
        ("_kernel,\n        x,\n", "_kernel,\n        x[: max(len(x) - 1, 0)],\n"),
    ),
    _tail(
        "row-offset-32-bit",
        "row offsets in 32 bits",
        (_TILE, f"{_TILE}\n    rows = rows.to(tl.int32)"),
        checks=("int32-overflow",),
    ),
    _tail(
        "wrong-stride",
        "residual read with the stride of x",
        ("load(r_ptr, stride_r,", "load(r_ptr, stride_x,"),
    ),
    _tail(
        "fp16-as-bf16",
        "result rounded as bf16",
        (_STORE, _STORE.replace("y)", "y.to(tl.bfloat16).to(tl.float32))")),
    ),
    _tail(
        "nan-swallowed",
        "NaN replaced by zero",
        (_STORE, f"y = tl.where(y == y, y, 0.0)\n        {_STORE}"),
    ),
    _tail(
        "inf-clamped",
        "infinities clamped to the largest fp16",
        (_STORE, f"y = tl.where(tl.abs(y) > 65504.0, 65504.0, y)\n        {_STORE}"),
    ),
    _tail(
        "input-written",
        "residual overwritten with the result",
        (_STORE, f"{_STORE}\n        store(r_ptr, stride_r, rows, cols[i], masks[i], y)"),
    ),
    _tail(
        "unguarded-alias",
        "any overlap of out= accepted",
        (
            "out = output(out, x, x=x, residual=residual)",
            "out = torch.empty_like(x) if out is None else out",
        ),
        _TORCH,
    ),
    _tail(
        "unchecked-residual",
        "residual neither checked for shape nor stride",
        ('    check_rows("residual", residual, x)\n', ""),
    ),
    _tail(
        "unchecked-weight",
        "weight not checked",
        ("    check_vectors(x, weight=weight)\n", ""),
    ),
    _tail(
        "hard-cast-output",
        "output always bf16",
        (
            "out = output(out, x, x=x, residual=residual)",
            "out = torch.empty(x.shape, dtype=torch.bfloat16, device=x.device)",
        ),
        _TORCH,
    ),
    _tail(
        "stale-scalar",
        "scalar read once and kept",
        (
            "    work = aligned(out)\n",
            "    scalar = _KEPT.setdefault(id(scalar), scalar.clone())\n    work = aligned(out)\n",
        ),
        ("SPEC = KernelSpec(", "_KEPT: dict = {}\nSPEC = KernelSpec("),
    ),
    _tail(
        "rejects-empty",
        "no rows refused",
        ("    work = aligned(out)\n", "    work = aligned(out)\n    assert len(x) > 0\n"),
    ),
    _tail(
        "neighbour-leaks",
        "variance of all rows of a tile",
        (_TILE, "rows, cols, masks = tile(M, N, 2, BLOCK)"),
        (
            _INV,
            "squares = x[0] * x[0]\n"
            "    for i in tl.static_range(1, len(cols)):\n"
            "        squares += x[i] * x[i]\n"
            "    inv = tl.rsqrt(tl.sum(squares) / (2 * N) + EPS)",
        ),
    ),
    _add(
        "layer-norm",
        "mean subtracted first",
        (
            _INV,
            "total = tl.sum(x[0], axis=1)\n"
            "    for i in tl.static_range(1, len(cols)):\n"
            "        total += tl.sum(x[i], axis=1)\n"
            "    centred = ()\n"
            "    for i in tl.static_range(len(cols)):\n"
            "        centred = centred + (tl.where(masks[i], x[i] - total[:, None] / N, 0.0),)\n"
            "    x = centred\n"
            "    inv = inv_rms(x, N, EPS)",
        ),
    ),
    _add(
        "residual-ignored-in-tail",
        "last 8 columns without residual",
        ("* w[i] + r[i]", "* w[i] + tl.where(cols[i] < N - 8, r[i], 0.0)"),
    ),
    _dual(
        "third-norm-reads-rounded",
        "sum of the norms rounded",
        (
            "    inv = inv_rms(y, N, EPS3)",
            "    t = ()\n"
            "    for i in tl.static_range(len(cols)):\n"
            f"        t = t + (y[i].{_ROUNDED},)\n"
            "    y = t\n"
            "    inv = inv_rms(y, N, EPS3)",
        ),
    ),
    _dual(
        "weights-swapped",
        "w1 and w2 exchanged",
        ("sum_of_norms(x1, w1, x2, w2, N, EPS1", "sum_of_norms(x1, w2, x2, w1, N, EPS1"),
    ),
    _dual(
        "shared-variance",
        "second branch normed with the first's variance",
        ("inv_rms(x2, N, EPS2)", "inv_rms(x1, N, EPS2)"),
    ),
    _gelu(
        "erf-for-tanh",
        "exact-erf GELU",
        ("_gelu_tanh(g[i])", "g[i] * 0.5 * (1.0 + tl.erf(g[i] * 0.7071067811865476))"),
    ),
    _gelu(
        "cubic-0.03",
        "cubic coefficient 0.03",
        ("(g + 0.044715 * g * g * g)", "(g + 0.03 * g * g * g)"),
    ),
    _gelu(
        "gelu-rounded",
        "activation rounded before the product",
        ("_gelu_tanh(g[i])", f"_gelu_tanh(g[i]).{_ROUNDED}"),
    ),
    _gelu(
        "tanh-cancels",
        "0.5 g (1 + tanh u)",
        (
            "    return g * tl.where(t < 0, z, 1.0) / (1.0 + z)",
            "    tanh = tl.where(t < 0, (z - 1.0) / (1.0 + z), (1.0 - z) / (1.0 + z))\n"
            "    return 0.5 * g * (1.0 + tanh)",
        ),
    ),
    _gelu(
        "slice-taken-as-packed",
        "per-layer input read with the gate's stride",
        ("load(p_ptr, stride_p,", "load(p_ptr, stride_g,"),
    ),
    _triple(
        "router-scale-ignored",
        "router output without its weight",
        (" * router_inv * w_router[i]", " * router_inv"),
    ),
    _triple(
        "router-scale-in-bf16",
        "hidden^-0.5 rounded to bf16 (0.24 % off)",
        (" * router_inv * w_router[i]", " * router_inv * 0.99758 * w_router[i]"),
    ),
    _triple(
        "dense-reads-rounded",
        "dense output reads the stored residual",
        ("through(t, t_ptr, DENSE_ROUNDED)", "through(t, t_ptr, True)"),
    ),
    _triple(
        "reads-ignored",
        "router always reads the unrounded residual",
        ("through(t, t_ptr, ROUTER_ROUNDED)", "t"),
    ),
    _triple(
        "moe-gets-dense-weight",
        "experts' norm with the dense weight",
        ("moe_inv * w_moe[i]", "moe_inv * w_dense[i]"),
    ),
    Mutant(
        "next-norm-before-scalar",
        "gemma_layer_tail_next_norm",
        "layer_tail",
        "second norm reads h before the scalar",
        (("through(h, h_ptr, ROUNDED)", "through(h / c, h_ptr, ROUNDED)"),),
    ),
    Mutant(
        "next-eps-1e-2",
        "gemma_moe_layer_tail_next_norm",
        "layer_tail_moe",
        "eps 1e-2 in the second stage",
        (("hs, next_w, N, NEXT_EPS)", "hs, next_w, N, 1e-2)"),),
    ),
)
