"""Mistakes reported on public trackers of other kernels, planted in ours; each with its link.

Those of the attention preamble are in `published_attention`.
"""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant

_GITHUB = "https://github.com/"


def published(
    name: str,
    op: str,
    module: str,
    link: str,
    what: str,
    *edits: Edit,
    cases: int = 2,
    dtype: str = "float16",
) -> Mutant:
    return Mutant(name, op, module, what, edits, cases, link=_GITHUB + link, dtype=dtype)


def _tail(name: str, link: str, what: str, *edits: Edit) -> Mutant:
    op = "gemma_rmsnorm_residual_scalar"
    return published(name, op, "rmsnorm_residual_scalar", link, what, *edits, cases=1)


def _routing(name: str, link: str, what: str, *edits: Edit, dtype: str = "float16") -> Mutant:
    return published(name, "gemma4_fused_routing", "routing", link, what, *edits, dtype=dtype)


_NAN_KEY = "(0x7FFFFFFF >> SHIFT)"
_NEXT_BEST = "packed = tl.where(packed == best, lowest, packed)"
_STORE_IDS = "tl.store(ids_ptr + at, ids.to(tl.int32), mask=kept)"
_ROWS = "rows, masks = nth_tile(number, cols, M, N, ROWS)"

PUBLISHED: tuple[Mutant, ...] = (
    _tail(
        "column-stride-ignored",
        "ModelTC/LightLLM/issues/1467",
        "a last stride other than 1 accepted, columns read as packed",
        ('    check_rows("x", x)\n', ""),
    ),
    _tail(
        "output-by-input-stride",
        "unslothai/unsloth/pull/10617",
        "the result stored with the row stride of another tensor",
        ("store(out_ptr, stride_out, rows", "store(out_ptr, stride_x, rows"),
    ),
    _tail(
        "weight-stride-ignored",
        "flashinfer-ai/flashinfer/pull/4060",
        "a strided weight read as packed",
        ("    check_vectors(x, weight=weight)\n", "    assert weight.shape == x.shape[1:]\n"),
    ),
    published(
        "rows-assumed-packed",
        "gemma_dual_rmsnorm_residual_scalar",
        "dual_rmsnorm",
        "vllm-project/vllm-xpu-kernels/pull/397",
        "the second branch read with its width for its row stride",
        ("strides = (stride_x1, stride_x2, stride_r)", "strides = (stride_x1, N, stride_r)"),
    ),
    published(
        "dual-offsets-32-bit",
        "gemma_dual_rmsnorm_residual_scalar",
        "dual_rmsnorm",
        "flashinfer-ai/flashinfer/pull/3392",
        "row offsets in 32 bits",
        (_ROWS, _ROWS + "\n    rows = rows.to(tl.int32)"),
    ),
    published(
        "qkv-offsets-32-bit",
        "gemma_qkv_rmsnorm",
        "qkv_rmsnorm",
        "linkedin/Liger-Kernel/issues/1483",
        "token offsets in 32 bits",
        ("at = tokens * stride + heads", "at = tokens.to(tl.int32) * stride + heads"),
        cases=1,
    ),
    published(
        "norm-rounded-before-weight",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "vllm-project/vllm-xpu-kernels/pull/536",
        "the normed row rounded before its weight is applied",
        (
            "x[i] * inv * w[i] + r[i]",
            "(x[i] * inv).to(out_ptr.dtype.element_ty).to(tl.float32) * w[i] + r[i]",
        ),
        cases=1,
    ),
    published(
        "weight-cast-to-rows",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "vllm-project/vllm/pull/43520",
        "an fp32 weight cast to the dtype of the rows first",
        ("    work = aligned(out)\n", "    weight = weight.to(x.dtype)\n    work = aligned(out)\n"),
        cases=1,
    ),
    published(
        "truncated-not-rounded",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "ROCm/aiter/issues/5151",
        "the result cut off, not rounded to nearest",
        (
            "store(out_ptr, stride_out, rows, cols[i], masks[i], y)",
            "y = (y.to(tl.int32, bitcast=True) & ~0x1FFF).to(tl.float32, bitcast=True)\n"
            "        store(out_ptr, stride_out, rows, cols[i], masks[i], y)",
        ),
        cases=1,
    ),
    published(
        "second-norm-reads-fp32",
        "gemma_layer_tail_next_norm",
        "layer_tail",
        "vllm-project/vllm-omni/pull/6878",
        "the norm after the residual reads what was computed, not what was stored",
        ("through(h, h_ptr, ROUNDED)", "h"),
        cases=1,
    ),
    published(
        "residual-rounded-late",
        "gemma_moe_layer_tail_next_norm",
        "layer_tail_moe",
        "ROCm/aiter/pull/2586",
        "the sum of the branches rounded before the residual is added",
        (
            "(y[i] * inv * w3[i] + r[i]) * c",
            "((y[i] * inv * w3[i]).to(h_ptr.dtype.element_ty).to(tl.float32) + r[i]) * c",
        ),
        cases=1,
    ),
    published(
        "cast-flag-dropped-with-residual",
        "gemma_post_attn_triple_rmsnorm",
        "post_attn_triple",
        "sgl-project/sglang/pull/25920",
        "which norm reads the stored residual is forgotten for the experts",
        ("through(t, t_ptr, MOE_ROUNDED)", "through(t, t_ptr, False)"),
        cases=3,
    ),
    published(
        "gelu-tail-zero",
        "gemma_gelu_tanh_mul",
        "gelu_tanh_mul",
        "tenstorrent/tt-metal/issues/56517",
        "exactly zero below -6",
        (
            "    return g * tl.where(t < 0, z, 1.0) / (1.0 + z)",
            "    return tl.where(g < -6.0, 0.0, g * tl.where(t < 0, z, 1.0) / (1.0 + z))",
        ),
        cases=1,
        dtype="float32",
    ),
    published(
        "shared-value-is-the-key",
        "gemma_qkv_rmsnorm_shared_kv",
        "qkv_rmsnorm_shared_kv",
        "ikawrakow/ik_llama.cpp/pull/1592",
        "the key cache taken for the value cache",
        ("tl.store(v_ptr + at, v.to(", "tl.store(v_ptr + at, k.to("),
        cases=1,
    ),
    _routing(
        "nan-chosen-again",
        "vllm-project/vllm/pull/39391",
        "a NaN is chosen again and again",
        (
            _NEXT_BEST,
            f"packed = tl.where((packed == best) & ((best >> 10) != {_NAN_KEY}), lowest, packed)",
        ),
    ),
    _routing(
        "all-nan-row-out-of-range",
        "sgl-project/sglang/pull/30079",
        "a row that is NaN throughout gets an id past the experts",
        (
            _STORE_IDS,
            "ok = tl.sum(tl.where((experts < E) & (logits == logits), 1, 0), axis=1)[:, None]\n"
            "    ids = tl.where(ok == 0, E, ids)\n    " + _STORE_IDS,
        ),
    ),
    _routing(
        "zero-above-negative",
        "vllm-project/vllm/pull/38859",
        "the exponent taken against zero where every logit is negative",
        ("tl.exp(top - largest)", "tl.exp(top - tl.maximum(largest, 0.0))"),
    ),
    _routing(
        "experts-in-whole-warps",
        "vllm-project/vllm/pull/50982",
        "experts past a multiple of 32 left out",
        (
            "packed = tl.where(experts < E, packed",
            "packed = tl.where(experts < E // 32 * 32, packed",
        ),
    ),
    published(
        "variance-in-row-dtype",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "sgl-project/sglang/pull/27540",
        "squares summed in the dtype of the rows",
        (
            "inv = inv_rms(x, N, EPS)",
            "s = tl.sum((x[0] * x[0]).to(x_ptr.dtype.element_ty), axis=1)\n"
            "    for i in tl.static_range(1, len(x)):\n"
            "        s += tl.sum((x[i] * x[i]).to(x_ptr.dtype.element_ty), axis=1)\n"
            "    inv = tl.rsqrt(s.to(tl.float32) * (1.0 / N) + EPS)[:, None]",
        ),
        cases=1,
    ),
    published(
        "rows-past-65535-dropped",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "flashinfer-ai/flashinfer/issues/3125",
        "more rows than a grid takes are not launched, and nobody says so",
        (
            "    work = aligned(out)\n",
            "    work = aligned(out)\n    if x.shape[0] > 65535:\n        return out\n",
        ),
        cases=1,
    ),
    published(
        "right-at-some-widths",
        "gemma_rmsnorm_residual_scalar",
        "rmsnorm_residual_scalar",
        "vllm-project/vllm/pull/44692",
        "the mean right for rows of up to four pieces alone",
        ("inv = inv_rms(x, N, EPS)", "inv = inv_rms(x if len(x) < 5 else x[:4], N, EPS)"),
        cases=2,
    ),
    published(
        "autotuned-in-place",
        "gemma_qkv_rmsnorm",
        "qkv_rmsnorm",
        "triton-lang/triton/issues/6547",
        "the first call of a shape runs twice on what it overwrites",
        (
            "    m = q.shape[0]\n    plan = head_plan(head_dim, q.dtype)\n    kv_heads",
            "    m = q.shape[0]\n"
            "    if (head_dim, m) not in _TUNED:\n"
            "        _TUNED.add((head_dim, m))\n"
            "        gemma_qkv_rmsnorm(\n"
            "            q, k, v, q_weight, k_weight, num_q_heads, num_kv_heads, head_dim, eps\n"
            "        )\n"
            "    plan = head_plan(head_dim, q.dtype)\n    kv_heads",
        ),
        ("def heads_exact(", "_TUNED: set[tuple[int, int]] = set()\n\n\ndef heads_exact("),
        cases=1,
    ),
    published(
        "tanh-overflows",
        "gemma_gelu_tanh_mul",
        "gelu_tanh_mul",
        "intel/llm-scaler/pull/484",
        "tanh from an exponential that overflows: NaN for large gates",
        (
            "    z = tl.exp(-tl.abs(t))\n    return g * tl.where(t < 0, z, 1.0) / (1.0 + z)",
            "    z = tl.exp(t)\n    return 0.5 * g * (1.0 + (z - 1.0) / (z + 1.0))",
        ),
        cases=1,
    ),
    _routing(
        "router-rows-as-packed",
        "vllm-project/vllm/pull/57823",
        "padded rows of logits read as packed",
        ("logits_ptr + rows * stride + experts", "logits_ptr + rows * E + experts"),
    ),
    published(
        "minus-one-id-wraps",
        "gemma_routing_post_topk",
        "routing_post_topk",
        "vllm-project/vllm/pull/46408",
        "id -1 taken for the last expert",
        (
            "    legal = (ids >= 0) & (ids < E)",
            "    ids = tl.where(ids < 0, ids + E, ids)\n    legal = (ids >= 0) & (ids < E)",
        ),
        cases=1,
    ),
    published(
        "post-topk-ids-as-packed",
        "gemma_routing_post_topk",
        "routing_post_topk",
        "vllm-project/vllm/pull/49750",
        "ids read as packed rows",
        ("ids_ptr + rows * stride_ids", "ids_ptr + rows * K"),
        cases=1,
    ),
)
