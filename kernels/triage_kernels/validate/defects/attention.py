"""Defects of the kernels between the QKV projection and attention."""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant


def _qkv(name: str, what: str, *edits: Edit, checks: tuple[str, ...] = ()) -> Mutant:
    return Mutant(name, "gemma_qkv_rmsnorm", "qkv_rmsnorm", what, edits, checks=checks)


def _preamble(name: str, what: str, *edits: Edit, cases: int = 2) -> Mutant:
    op = "gemma_attention_preamble"
    return Mutant(name, op, "attention_preamble", what, edits, cases=cases)


ATTENTION: tuple[Mutant, ...] = (
    _qkv(
        "v-weighted",
        "value multiplied by the key weight",
        ("M, HKV, D, EPS, False, UNITS", "M, HKV, D, EPS, True, UNITS"),
    ),
    _qkv(
        "k-unweighted",
        "key weight left out",
        (
            "_norm_heads(k_ptr, kw_ptr, stride_k, pid, M, HKV, D, EPS, True",
            "_norm_heads(k_ptr, kw_ptr, stride_k, pid, M, HKV, D, EPS, False",
        ),
    ),
    _qkv(
        "v-stride-of-k",
        "value read with the stride of key",
        ("_norm_heads(v_ptr, kw_ptr, stride_v,", "_norm_heads(v_ptr, kw_ptr, stride_k,"),
        checks=("stride-invariance", "nan-padding"),
    ),
    _qkv(
        "k-is-v-accepted",
        "overlap of key and value accepted",
        ('        check_disjoint("k", k, v=v)\n', ""),
    ),
    _qkv(
        "head-dependent",
        "another eps in the heads of query than in those of key and value",
        ("inv_rms((x,), D, EPS)", "inv_rms((x,), D, EPS if HEADS > 1 else 1e-3)"),
    ),
    _qkv(
        "half-head",
        "mean over half the head",
        ("inv_rms((x,), D, EPS)", "inv_rms((tl.where(cols < D // 2, x, 0.0),), D // 2, EPS)"),
    ),
    _preamble(
        "sine-sign",
        "rotation the other way",
        ("kl * cos - kh * sin, kh * cos + kl * sin", "kl * cos + kh * sin, kh * cos - kl * sin"),
    ),
    _preamble(
        "position-off-by-one",
        "positions one too large",
        (
            "tl.load(pos_ptr + tokens, mask=tokens < TOKENS, other=0).to(tl.int64)",
            "tl.load(pos_ptr + tokens, mask=tokens < TOKENS, other=0).to(tl.int64) + 1",
        ),
    ),
    _preamble(
        "half-the-angles",
        "only half of the angles turn",
        ("(tokens < TOKENS) & (cols < ANGLES)", "(tokens < TOKENS) & (cols < ANGLES // 2)"),
    ),
    _preamble(
        "no-rounding-before-rope",
        "reads='rounded' rotates fp32",
        ("kl = through(low * wl, x_ptr, ROUNDED)", "kl = low * wl"),
        ("kh = through(high * wh, x_ptr, ROUNDED)", "kh = high * wh"),
    ),
    _preamble(
        "slot-bounds",
        "a slot past the cache is written",
        (
            "    kept = live & (slot >= 0) & (slot < SLOTS)\n    k_at",
            "    kept = live & (slot >= 0)\n    k_at",
        ),
    ),
    _preamble(
        "cache-head-stride",
        "cache heads assumed packed",
        ("k_at = slot * stride_ks + heads * stride_kh", "k_at = slot * stride_ks + heads * D"),
        cases=3,
    ),
)
