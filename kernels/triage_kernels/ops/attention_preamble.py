"""Everything between the QKV projection and attention, in one launch.

Norm of query, key and value, rotary embedding of query and key, and the write of key
and value into the KV cache through slot ids. Nobody ships this for the autoregressive
model; SGLang's fusion of rotary embedding and cache write is disabled there since it
changed results, which is why the rounding between the norm and the rotation is an
argument here (`reads`) and the twin is the specification.

Long because it is one launch of three parts: what a query, a key and a value each go
through stands beside the others.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from triage_kernels.core.alignment import aligned, written_back
from triage_kernels.core.dependent import wait_for_previous
from triage_kernels.core.heads import head_plan, token_tile
from triage_kernels.core.launch import cdiv, launch
from triage_kernels.core.models import EPS
from triage_kernels.core.reference import norm_eager, normed
from triage_kernels.core.rms import through
from triage_kernels.core.rope import rotate
from triage_kernels.core.spec import Outputs
from triage_kernels.ops.preamble_contract import check_preamble


@triton.jit
def _half(ptr, at, mask):
    return tl.load(ptr + at, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _inv_rms_of_halves(low, high, D: tl.constexpr, EPS: tl.constexpr):
    squares = tl.sum(low * low + high * high, axis=2)
    return tl.rsqrt(squares * (1.0 / D) + EPS)[:, :, None]


@triton.jit
def _weight_halves(ptr, cols, HALF: tl.constexpr):
    low = tl.load(ptr + cols, mask=cols < HALF, other=0.0).to(tl.float32)
    high = tl.load(ptr + HALF + cols, mask=cols < HALF, other=0.0).to(tl.float32)
    return low, high


@triton.jit
def _norm_rope(
    x_ptr,
    wl,
    wh,
    cache_ptr,
    pos_ptr,
    at,
    stride_cache,
    tokens,
    cols,
    mask,
    TOKENS,
    D: tl.constexpr,
    ANGLES: tl.constexpr,
    EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
):
    """Normed halves (unweighted) and rotated halves of a tile of heads."""
    HALF: tl.constexpr = D // 2
    position = tl.load(pos_ptr + tokens, mask=tokens < TOKENS, other=0).to(tl.int64)
    low = _half(x_ptr, at, mask)
    high = _half(x_ptr, at + HALF, mask)
    # One row of the table serves all heads of a token. Angles past ANGLES are zero: their
    # entries are known and never read.
    turning = (tokens < TOKENS) & (cols < ANGLES)
    table = cache_ptr + position * stride_cache + cols
    cos = tl.load(table, mask=turning, other=1.0).to(tl.float32)
    sin = tl.load(table + HALF, mask=turning, other=0.0).to(tl.float32)
    inv = _inv_rms_of_halves(low, high, D, EPS)
    low = low * inv
    high = high * inv
    kl = through(low * wl, x_ptr, ROUNDED)
    kh = through(high * wh, x_ptr, ROUNDED)
    return low, high, kl * cos - kh * sin, kh * cos + kl * sin


@triton.jit
def _store_halves(ptr, at, low, high, mask, HALF: tl.constexpr):
    tl.store(ptr + at, low.to(ptr.dtype.element_ty), mask=mask)
    tl.store(ptr + at + HALF, high.to(ptr.dtype.element_ty), mask=mask)


@triton.jit
def _query(
    q_ptr,
    qw_ptr,
    cache_ptr,
    pos_ptr,
    pid,
    stride_q,
    stride_cache,
    M,
    HQ: tl.constexpr,
    D: tl.constexpr,
    ANGLES: tl.constexpr,
    EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
    TILE: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    """The query normed and rotated in place."""
    HALF: tl.constexpr = D // 2
    tokens, heads, cols, live = token_tile(pid, M, HQ, HALF, TILE, HALF_BLOCK)
    wl, wh = _weight_halves(qw_ptr, cols, HALF)
    wait_for_previous(PDL)
    at = tokens * stride_q + heads * D + cols
    _, _, low, high = _norm_rope(
        q_ptr, wl, wh, cache_ptr, pos_ptr, at, stride_cache,
        tokens, cols, live, M, D, ANGLES, EPS, ROUNDED,
    )  # fmt: skip
    _store_halves(q_ptr, at, low, high, live, HALF)


@triton.jit
def _key(
    k_ptr,
    kw_ptr,
    cache_ptr,
    pos_ptr,
    slot_ptr,
    k_cache_ptr,
    v_cache_ptr,
    pid,
    stride_k,
    stride_cache,
    stride_ks,
    stride_kh,
    stride_vs,
    stride_vh,
    M,
    SLOTS,
    HKV: tl.constexpr,
    D: tl.constexpr,
    ANGLES: tl.constexpr,
    EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
    SHARED_KV: tl.constexpr,
    TILE: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    """The key normed and rotated into its cache, and the value where it is the same projection."""
    HALF: tl.constexpr = D // 2
    tokens, heads, cols, live = token_tile(pid, M, HKV, HALF, TILE, HALF_BLOCK)
    wl, wh = _weight_halves(kw_ptr, cols, HALF)
    wait_for_previous(PDL)
    slot = tl.load(slot_ptr + tokens, mask=tokens < M, other=-1).to(tl.int64)
    at = tokens * stride_k + heads * D + cols
    nl, nh, low, high = _norm_rope(
        k_ptr, wl, wh, cache_ptr, pos_ptr, at, stride_cache,
        tokens, cols, live, M, D, ANGLES, EPS, ROUNDED,
    )  # fmt: skip
    kept = live & (slot >= 0) & (slot < SLOTS)
    k_at = slot * stride_ks + heads * stride_kh + cols
    _store_halves(k_cache_ptr, k_at, low, high, kept, HALF)
    if SHARED_KV:
        v_at = slot * stride_vs + heads * stride_vh + cols
        _store_halves(v_cache_ptr, v_at, nl, nh, kept, HALF)


@triton.jit
def _value(
    v_ptr,
    v_cache_ptr,
    slot_ptr,
    pid,
    stride_v,
    stride_vs,
    stride_vh,
    M,
    SLOTS,
    HKV: tl.constexpr,
    D: tl.constexpr,
    EPS: tl.constexpr,
    TILE: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    """The value normed into its cache."""
    HALF: tl.constexpr = D // 2
    tokens, heads, cols, live = token_tile(pid, M, HKV, HALF, TILE, HALF_BLOCK)
    wait_for_previous(PDL)
    slot = tl.load(slot_ptr + tokens, mask=tokens < M, other=-1).to(tl.int64)
    at = tokens * stride_v + heads * D + cols
    low = _half(v_ptr, at, live)
    high = _half(v_ptr, at + HALF, live)
    inv = _inv_rms_of_halves(low, high, D, EPS)
    kept = live & (slot >= 0) & (slot < SLOTS)
    v_at = slot * stride_vs + heads * stride_vh + cols
    _store_halves(v_cache_ptr, v_at, low * inv, high * inv, kept, HALF)


@triton.jit(do_not_specialize=["M", "SLOTS"])
def _preamble_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    qw_ptr,
    kw_ptr,
    cache_ptr,
    pos_ptr,
    slot_ptr,
    k_cache_ptr,
    v_cache_ptr,
    stride_q,
    stride_k,
    stride_v,
    stride_cache,
    stride_ks,
    stride_kh,
    stride_vs,
    stride_vh,
    M,
    SLOTS,
    HQ: tl.constexpr,
    HKV: tl.constexpr,
    D: tl.constexpr,
    ANGLES: tl.constexpr,
    EPS: tl.constexpr,
    ROUNDED: tl.constexpr,
    SHARED_KV: tl.constexpr,
    Q_TILE: tl.constexpr,
    KV_TILE: tl.constexpr,
    Q_PARTS: tl.constexpr,
    K_PARTS: tl.constexpr,
    V_PARTS: tl.constexpr,
    HALF_BLOCK: tl.constexpr,
    PDL: tl.constexpr,
):
    # Group of tokens after group of tokens, so that memory is walked through from end to end.
    group = tl.program_id(0) // (Q_PARTS + K_PARTS + V_PARTS)
    part = tl.program_id(0) % (Q_PARTS + K_PARTS + V_PARTS)
    if part < Q_PARTS:
        _query(
            q_ptr, qw_ptr, cache_ptr, pos_ptr, group * Q_PARTS + part, stride_q, stride_cache, M,
            HQ, D, ANGLES, EPS, ROUNDED, Q_TILE, HALF_BLOCK, PDL,
        )  # fmt: skip
    elif part < Q_PARTS + K_PARTS:
        _key(
            k_ptr, kw_ptr, cache_ptr, pos_ptr, slot_ptr, k_cache_ptr, v_cache_ptr,
            group * K_PARTS + part - Q_PARTS,
            stride_k, stride_cache, stride_ks, stride_kh, stride_vs, stride_vh,
            M, SLOTS, HKV, D, ANGLES, EPS, ROUNDED, SHARED_KV, KV_TILE, HALF_BLOCK, PDL,
        )  # fmt: skip
    else:
        _value(
            v_ptr, v_cache_ptr, slot_ptr, group * V_PARTS + part - Q_PARTS - K_PARTS,
            stride_v, stride_vs, stride_vh, M, SLOTS, HKV, D, EPS, KV_TILE, HALF_BLOCK, PDL,
        )  # fmt: skip


def gemma_attention_preamble(
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor | None,
    cos_sin: Tensor,
    positions: Tensor,
    slots: Tensor | None,
    k_cache: Tensor | None,
    v_cache: Tensor | None,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    rotary_angles: int,
    eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
    """q = R(rope(n(q) * wq)) in place; key and value normed, key rotated, into their caches.

    Args:
        q: [M, num_q_heads * head_dim] bf16, fp16 or fp32, heads packed, any token stride.
        k: [M, num_kv_heads * head_dim], dtype of `q`, only read. None on layers that
            share another layer's KV: then v, slots and both caches are None too.
        v: like `k`; None where key and value are one projection (v = n(k) then).
        q_weight, k_weight: [head_dim] packed, any float dtype.
        cos_sin: [positions, head_dim], cosines then sines, fp32 or a narrower float.
        positions: [M] int32 or int64, each in [0, cos_sin.shape[0]); not checked, it
            would cost a sync.
        slots: [M] int32 or int64. A slot outside [0, k_cache.shape[0]) is not written;
            two rows with one slot race.
        k_cache, v_cache: [slots, num_kv_heads, head_dim], dtype of `q`, last stride 1.
        rotary_angles: angles that are not zero, `rope.rotary_angles(layer)`.
        reads: "rounded": the rotation reads R(n * w), bit parity with separate kernels
            and with SGLang's `gemma_qkv_norm_rope`. "unrounded": fp32 throughout.
    Returns:
        (q, k_cache, v_cache), or (q,) without k; the tensors given, written.
    Aliasing: q and both caches are disjoint from each other and from every input.
    Raises:
        ContractError: a shape, dtype, stride or overlap other than the above.
    Source: SGLang `Gemma4Attention.forward`, between `qkv_proj` and `attn`.
    """
    check_preamble(
        q, k, v, q_weight, k_weight, cos_sin, positions, slots, k_cache, v_cache,
        num_q_heads, num_kv_heads, head_dim, rotary_angles, reads,
    )  # fmt: skip
    m = q.shape[0]
    plan = head_plan(head_dim, q.dtype, parts=2)
    q_tile, kv_tile = plan.per_token(num_q_heads), plan.per_token(max(1, num_kv_heads))
    tokens = max(q_tile.tokens, kv_tile.tokens)
    q_parts = tokens // q_tile.tokens * cdiv(num_q_heads, q_tile.heads)
    k_parts = 0 if k is None else tokens // kv_tile.tokens * cdiv(num_kv_heads, kv_tile.heads)
    v_parts = 0 if v is None else k_parts
    # Caches and table are too large to copy: where they are not aligned their accesses are
    # narrower, and the row is summed as before.
    q_rows, q_weight = aligned(q), aligned(q_weight)
    k_rows = q_rows if k is None else aligned(k)
    v_rows = k_rows if v is None else aligned(v)
    k_weight = q_weight if k_weight is None else aligned(k_weight)
    launch(
        _preamble_kernel,
        (cdiv(m, tokens) * (q_parts + k_parts + v_parts),),
        q_rows,
        k_rows,
        v_rows,
        q_weight,
        k_weight,
        cos_sin,
        positions,
        positions if slots is None else slots,
        q_rows if k_cache is None else k_cache,
        q_rows if v_cache is None else v_cache,
        q_rows.stride(0),
        k_rows.stride(0),
        v_rows.stride(0),
        cos_sin.stride(0),
        0 if k_cache is None else k_cache.stride(0),
        0 if k_cache is None else k_cache.stride(1),
        0 if v_cache is None else v_cache.stride(0),
        0 if v_cache is None else v_cache.stride(1),
        m,
        0 if k_cache is None else k_cache.shape[0],
        HQ=num_q_heads,
        HKV=max(1, num_kv_heads),
        D=head_dim,
        ANGLES=rotary_angles,
        EPS=eps,
        ROUNDED=reads == "rounded",
        SHARED_KV=k is not None and v is None,
        Q_TILE=tuple(q_tile),
        KV_TILE=tuple(kv_tile),
        Q_PARTS=q_parts,
        K_PARTS=k_parts,
        V_PARTS=v_parts,
        HALF_BLOCK=plan.block // 2,
        num_warps=plan.num_warps,
        enable_fp_fusion=False,
    )
    written_back(q_rows, q)
    return (q,) if k_cache is None or v_cache is None else (q, k_cache, v_cache)


def gemma_attention_preamble_eager(
    q: Tensor,
    k: Tensor | None,
    v: Tensor | None,
    q_weight: Tensor,
    k_weight: Tensor | None,
    cos_sin: Tensor,
    positions: Tensor,
    slots: Tensor | None,
    k_cache: Tensor | None,
    v_cache: Tensor | None,
    num_q_heads: int,
    num_kv_heads: int,
    head_dim: int,
    rotary_angles: int,
    eps: float = EPS,
    reads: str = "rounded",
) -> Outputs:
    """The same in torch: fp32 inside; rounds after the norm if `reads` says so, and at the end."""
    cos, sin = cos_sin[positions.long()].float().unsqueeze(1).chunk(2, dim=-1)

    def norm_rope(x: Tensor, weight: Tensor | None, heads: int) -> Tensor:
        n = normed(x.unflatten(-1, (heads, head_dim)), weight, eps, torch.float32)
        return rotate(n.to(x.dtype).float() if reads == "rounded" else n, cos, sin).to(x.dtype)

    q.copy_(norm_rope(q, q_weight, num_q_heads).flatten(-2))
    if k is None or k_cache is None or v_cache is None or slots is None:
        return (q,)
    kept = (slots >= 0) & (slots < k_cache.shape[0])
    where = slots[kept].long()
    k_cache[where] = norm_rope(k, k_weight, num_kv_heads)[kept]
    value = (k if v is None else v).unflatten(-1, (num_kv_heads, head_dim))
    v_cache[where] = norm_eager(value, None, eps)[kept]
    return q, k_cache, v_cache
