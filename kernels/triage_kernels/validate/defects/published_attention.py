"""Mistakes reported on public trackers, planted in the attention preamble; each with its link."""

from __future__ import annotations

from triage_kernels.validate.defects.mutant import Edit, Mutant
from triage_kernels.validate.defects.published import published


def _preamble(name: str, link: str, what: str, *edits: Edit, cases: int = 2) -> Mutant:
    op = "gemma_attention_preamble"
    return published(name, op, "attention_preamble", link, what, *edits, cases=cases)


_POSITION = "tl.load(pos_ptr + tokens, mask=tokens < TOKENS, other=0).to(tl.int64)"
_KEPT = "    kept = live & (slot >= 0) & (slot < SLOTS)\n    k_at"
_V_KEPT = _KEPT.replace("k_at", "v_at")
_K_AT = "k_at = slot * stride_ks + heads * stride_kh + cols"
_STORE_KEY = "_store_halves(k_cache_ptr, k_at, low, high, kept, HALF)"

PUBLISHED_ATTENTION: tuple[Mutant, ...] = (
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
    _preamble(
        "slots-32-bit",
        "lightseekorg/tokenspeed/pull/748",
        "a slot times its stride in 32 bits",
        (_KEPT, "    slot = slot.to(tl.int32)\n" + _KEPT),
        cases=1,
    ),
    _preamble(
        "value-slots-32-bit",
        "lightseekorg/tokenspeed/pull/748",
        "the same in the value cache alone",
        (_V_KEPT, "    slot = slot.to(tl.int32)\n" + _V_KEPT),
        cases=1,
    ),
    _preamble(
        "unrotated-part-not-stored",
        "sgl-project/sglang/pull/22868",
        "only the rotated part of a key reaches the cache",
        (_STORE_KEY, _STORE_KEY.replace("kept", "kept & (cols < ANGLES)")),
        cases=4,
    ),
    _preamble(
        "cache-as-packed",
        "ROCm/aiter/pull/4531",
        "the cache written as if it were packed",
        (_K_AT, "k_at = (slot * HKV + heads) * D + cols"),
    ),
    _preamble(
        "cache-heads-as-packed",
        "tenstorrent/tt-metal/issues/54742",
        "heads of the cache taken to lie as those of the projection",
        (_K_AT, _K_AT.replace("stride_kh", "D")),
        cases=3,
    ),
    _preamble(
        "key-heads-counted-on",
        "sgl-project/sglang/issues/20559",
        "the heads of the query not taken off the number of a key's head",
        (
            "            group * K_PARTS + part - Q_PARTS,\n",
            "            group * K_PARTS + part,\n",
        ),
    ),
    _preamble(
        "table-in-row-dtype",
        "sgl-project/sglang/pull/33117",
        "cosines and sines cast to the dtype of the rows",
        (
            "    # Caches and table are too large to copy",
            "    cos_sin = cos_sin.to(q.dtype)\n    # Caches and table are too large to copy",
        ),
    ),
)
