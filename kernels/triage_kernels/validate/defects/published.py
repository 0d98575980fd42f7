"""Mistakes reported on public trackers of other kernels, planted in ours; each with its link."""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant

_GITHUB = "https://github.com/"


def _of(
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
    return _of(name, op, "rmsnorm_residual_scalar", link, what, *edits, cases=1)


def _preamble(name: str, link: str, what: str, *edits: Edit, cases: int = 2) -> Mutant:
    return _of(
        name, "gemma_attention_preamble", "attention_preamble", link, what, *edits, cases=cases
    )


def _routing(name: str, link: str, what: str, *edits: Edit, dtype: str = "float16") -> Mutant:
    return _of(name, "gemma4_fused_routing", "routing", link, what, *edits, dtype=dtype)


_NAN_KEY = "(0x7FFFFFFF >> SHIFT)"
_NEXT_BEST = "packed = tl.where(packed == best, lowest, packed)"
_STORE_IDS = "tl.store(ids_ptr + at, ids.to(tl.int32), mask=kept)"
_POSITION = "tl.load(pos_ptr + tokens, mask=tokens < TOKENS, other=0).to(tl.int64)"
_KEPT = "    kept = live & (slot >= 0) & (slot < SLOTS)\n    k_at"
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
    _of(
        "rows-assumed-packed",
        "gemma_dual_rmsnorm_residual_scalar",
        "dual_rmsnorm",
        "vllm-project/vllm-xpu-kernels/pull/397",
        "the second branch read with its width for its row stride",
        ("strides = (stride_x1, stride_x2, stride_r)", "strides = (stride_x1, N, stride_r)"),
    ),
    _of(
        "dual-offsets-32-bit",
        "gemma_dual_rmsnorm_residual_scalar",
        "dual_rmsnorm",
        "flashinfer-ai/flashinfer/pull/3392",
        "row offsets in 32 bits",
        (_ROWS, _ROWS + "\n    rows = rows.to(tl.int32)"),
    ),
    _of(
        "qkv-offsets-32-bit",
        "gemma_qkv_rmsnorm",
        "qkv_rmsnorm",
        "linkedin/Liger-Kernel/issues/1483",
        "token offsets in 32 bits",
        ("at = tokens * stride + heads", "at = tokens.to(tl.int32) * stride + heads"),
        cases=1,
    ),
    _of(
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
    _of(
        "weight-cast-to-rows",
        "gemma_rmsnorm_add",
        "rmsnorm_add",
        "vllm-project/vllm/pull/43520",
        "an fp32 weight cast to the dtype of the rows first",
        ("    work = aligned(out)\n", "    weight = weight.to(x.dtype)\n    work = aligned(out)\n"),
        cases=1,
    ),
    _of(
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
    _of(
        "second-norm-reads-fp32",
        "gemma_layer_tail_next_norm",
        "layer_tail",
        "vllm-project/vllm-omni/pull/6878",
        "the norm after the residual reads what was computed, not what was stored",
        ("through(h, h_ptr, ROUNDED)", "h"),
        cases=1,
    ),
    _of(
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
    _of(
        "cast-flag-dropped-with-residual",
        "gemma_post_attn_triple_rmsnorm",
        "post_attn_triple",
        "sgl-project/sglang/pull/25920",
        "which norm reads the stored residual is forgotten for the experts",
        ("through(t, t_ptr, MOE_ROUNDED)", "through(t, t_ptr, False)"),
        cases=3,
    ),
    _of(
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
    _of(
        "shared-value-is-the-key",
        "gemma_qkv_rmsnorm_shared_kv",
        "qkv_rmsnorm_shared_kv",
        "ikawrakow/ik_llama.cpp/pull/1592",
        "the key cache taken for the value cache",
        ("tl.store(v_ptr + at, v.to(", "tl.store(v_ptr + at, k.to("),
        cases=1,
    ),
    _preamble(
        "weight-after-rounding",
        "vllm-project/vllm/pull/53115",
        "the norm rounded before its weight is applied",
        (
            "kl = through(low * wl, x_ptr, ROUNDED)",
            "kl = through(through(low, x_ptr, True) * wl, x_ptr, ROUNDED)",
        ),
        (
            "kh = through(high * wh, x_ptr, ROUNDED)",
            "kh = through(through(high, x_ptr, True) * wh, x_ptr, ROUNDED)",
        ),
    ),
    _preamble(
        "rotary-dim-not-passed",
        "vllm-project/vllm/pull/43676",
        "every angle of the head turns, the table is read past its end",
        ("(tokens < TOKENS) & (cols < ANGLES)", "(tokens < TOKENS) & (cols < 2 * HALF)"),
        cases=4,
    ),
    _preamble(
        "padding-slot-wraps",
        "vllm-project/vllm/issues/43810",
        "slot -1 of a padding row taken as the last slot",
        (
            _KEPT,
            "    slot = tl.where(slot < 0, slot + SLOTS, slot)\n" + _KEPT,
        ),
    ),
    _preamble(
        "reserved-slot-skipped",
        "sgl-project/sglang/pull/32477",
        "slot 0 never written",
        (_KEPT, _KEPT.replace("slot >= 0", "slot > 0")),
    ),
    _preamble(
        "heads-after-the-first",
        "vllm-project/vllm/issues/51049",
        "only the first head of a program is stored",
        (_KEPT, _KEPT.replace("live &", "live & (heads % TILE[1] == 0) &")),
        cases=4,
    ),
    _preamble(
        "key-written-back",
        "sgl-project/sglang/pull/19636",
        "the rotated key also written to the projection it came from",
        (
            "    _store_halves(k_cache_ptr, k_at, low, high, kept, HALF)",
            "    _store_halves(k_cache_ptr, k_at, low, high, kept, HALF)\n"
            "    _store_halves(k_ptr, at, low, high, live, HALF)",
        ),
    ),
    _preamble(
        "positions-in-half-precision",
        "vllm-project/vllm-ascend/pull/5260",
        "positions pass through a 16-bit float",
        (_POSITION, _POSITION.replace(".to(tl.int64)", ".to(tl.float16).to(tl.int64)")),
    ),
    _preamble(
        "position-rows-dropped",
        "sgl-project/sglang/pull/35744",
        "every token takes the position of the first of its program",
        (
            "tl.load(pos_ptr + tokens, mask=tokens < TOKENS",
            "tl.load(pos_ptr + tokens * 0, mask=tokens < TOKENS",
        ),
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
    _of(
        "post-topk-ids-as-packed",
        "gemma_routing_post_topk",
        "routing_post_topk",
        "vllm-project/vllm/pull/49750",
        "ids read as packed rows",
        ("ids_ptr + rows * stride_ids", "ids_ptr + rows * K"),
        cases=1,
    ),
)
