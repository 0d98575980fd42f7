"""FPSan and GSan in the interpreter: equal programs are equal to the bit, wrong ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from triage_kernels.core.interpreter import interpreting
from triage_kernels.validate import payloads
from triage_kernels.validate.defects import Mutant
from triage_kernels.validate.interpreted import exact_arithmetic
from triage_kernels.validate.mutants import plant
from triage_kernels.validate.payloads import RING, P, Q, centred, embed, integers
from triage_kernels.validate.registry import OURS, select
from triage_kernels.validate.results import CheckResult
from triage_kernels.validate.sanitizers import sanitize, sanitize_one

needs_interpreter = pytest.mark.skipif(not interpreting(), reason="looks into the interpreter")
NUMBERS = st.integers(-RING, RING)


def of(value: float) -> int:
    return int(integers(embed(np.float32(value)))) % RING


@given(st.integers(-(2**11), 2**11), st.integers(-(2**11), 2**11), st.integers(-9, 9))
def test_the_payload_of_an_exact_sum_or_product_is_that_of_the_payloads(a, b, power) -> None:
    x, y = np.float32(a * 2.0**power), np.float32(b)
    assert of(x + y) == (of(x) + of(y)) % RING
    assert of(x * y) == of(x) * of(y) % RING


def test_a_payload_is_a_float_that_is_its_own_payload() -> None:
    values = np.arange(-(RING // 2), RING // 2 + 1, 997, dtype=np.float32)
    assert np.array_equal(embed(values), values)
    assert np.array_equal(centred(values.astype(np.int64) + RING), values)
    assert (of(0), of(1), of(-1), of(0.5) * 2 % RING) == (0, 1, RING - 1, 1)


def test_every_float_has_a_payload_and_the_specials_one_each() -> None:
    specials = [np.inf, -np.inf, np.nan, 1e-45, 3.4e38]
    found = embed(np.array(specials, dtype=np.float32))
    assert len(set(found.tolist())) == 5 and found[0] == -found[1]


@given(NUMBERS, NUMBERS)
def test_powers_quotients_and_shuffles_keep_their_laws(a, b) -> None:
    x, y = np.array([a]), np.array([b])
    assert payloads.exp(x + y) == payloads.exp(x) * payloads.exp(y) % RING
    assert payloads.exp2(x * 0) == 1
    if payloads.has_inverse(x).all():
        assert payloads.inverse(x) * x % RING == 1
    # A shuffle is a function of the number, whatever multiple of the ring it is written with.
    assert payloads.tagged(x, "sqrt") == payloads.tagged(x + RING, "sqrt")
    assert payloads.tagged(x, "sqrt") != payloads.tagged(x, "log")


def test_the_primes_are_primes_of_the_form_that_the_exponential_needs() -> None:
    for n in (P, Q):
        assert all(n % d for d in range(2, int(n**0.5) + 1))
    assert P == 2 * Q + 1 and RING // 2 < 2**23


# -- kernels ------------------------------------------------------------------------------------


def under(mode: str, op: str, module: str, folder: Path, *edits: tuple[str, str]) -> CheckResult:
    mutant = Mutant(f"{mode}-{op}-{abs(hash(edits))}", op, module, "-", edits)
    (spec,) = select((op,))
    return sanitize_one(spec, plant(mutant, folder), mode, "cpu")


@needs_interpreter
@pytest.mark.parametrize("spec", [pytest.param(s, id=s.name) for s in OURS])
def test_every_kernel_equals_its_chain_of_separate_kernels_to_the_bit(spec) -> None:
    (found,) = sanitize((spec.name,), "cpu", ("fpsan",))
    assert found.outcome == "PASS", found.worst
    assert "interpreter: fused and separate kernels equal to the bit" in found.worst


EQUAL = {
    "a product taken apart": (
        "gemma_rmsnorm_residual_scalar", "rmsnorm_residual_scalar",
        ("(x[i] * inv * w[i] + r[i]) * c", "c * r[i] + (w[i] * c) * (inv * x[i])"),
    ),
    "a sum in another order": (
        "gemma_dual_rmsnorm_residual_scalar", "dual_rmsnorm",
        ("(y[i] * inv * w3[i] + r[i]) * c", "((r[i] - 1.0) + (y[i] * inv * w3[i] + 1.0)) * c"),
    ),
    "the sigmoid from the other side": (
        "gemma_gelu_tanh_mul", "gelu_tanh_mul",
        ("return g * tl.where(t < 0, z, 1.0) / (1.0 + z)", "return g - g / (1.0 + tl.exp(t))"),
    ),
    "a softmax whose maximum is not taken off": (
        "gemma4_fused_routing", "routing", ("tl.exp(top - largest)", "tl.exp(top)"),
    ),
    "exp as exp2": (
        "gemma_routing_post_topk", "routing_post_topk",
        ("e = tl.exp(logits - tl.max(logits, axis=1)[:, None])",
         "e = tl.exp2((logits - tl.max(logits, axis=1)[:, None]) * 1.4426950408889634)"),
    ),
    "a rotation by the negative": (
        "gemma_attention_preamble", "attention_preamble",
        ("kh * cos + kl * sin", "kh * cos - kl * (0.0 - sin)"),
    ),
}  # fmt: skip


@needs_interpreter
@pytest.mark.parametrize("what", EQUAL)
def test_the_same_algebra_written_otherwise_is_equal_to_the_bit(what, tmp_path) -> None:
    found = under("fpsan", *EQUAL[what][:2], tmp_path, *EQUAL[what][2:])
    assert found.outcome == "PASS", found.worst


WRONG = {
    "gemma4_fused_routing": ("routing", ("weights * scale, mask", "weights * 1.001, mask")),
    "gemma_routing_post_topk": (
        "routing_post_topk", ("weights = e / tl.sum(e, axis=1)[:, None]", "weights = e"),
    ),
    "gemma_rmsnorm_residual_scalar": (
        "rmsnorm_residual_scalar", ("x[i] * inv * w[i] + r[i]", "x[i] * inv * w[i]"),
    ),
    "gemma_rmsnorm_add": ("rmsnorm_add", ("inv_rms(x, N, EPS)", "inv_rms(x, N, 1e-5)")),
    "gemma_dual_rmsnorm_residual_scalar": (
        "dual_rmsnorm", ("y[i] * inv * w3[i]", "y[i] * inv"),
    ),
    "gemma_qkv_rmsnorm": ("qkv_rmsnorm", ("D, EPS, False, UNITS", "D, EPS, True, UNITS")),
    "gemma_qkv_rmsnorm_shared_kv": (
        "qkv_rmsnorm_shared_kv", ("tl.store(v_ptr + at, v.to(", "tl.store(v_ptr + at, k.to("),
    ),
    "gemma_gelu_tanh_mul": (
        "gelu_tanh_mul", ("t = 1.5957691216057308 * (g +", "t = 1.59576 * (g +"),
    ),
    "gemma_post_attn_triple_rmsnorm": (
        "post_attn_triple", ("td[i] * dense_inv", "a[i] * dense_inv"),
    ),
    "gemma_layer_tail_next_norm": (
        "layer_tail", ("(x[i] * inv * w[i] + r[i]) * c", "x[i] * inv * w[i] + r[i] * c"),
    ),
    "gemma_moe_layer_tail_next_norm": (
        "layer_tail_moe", ("masks, hs, next_w, N, NEXT_EPS", "masks, hs, w3, N, NEXT_EPS"),
    ),
    "gemma_attention_preamble": (
        "attention_preamble", ("kl * cos - kh * sin", "kl * cos + kh * sin"),
    ),
}  # fmt: skip


@needs_interpreter
@pytest.mark.parametrize("op", WRONG)
def test_a_wrong_scale_or_term_is_not(op, tmp_path) -> None:
    assert set(WRONG) == {spec.name for spec in OURS}
    module, *edits = WRONG[op]
    found = under("fpsan", op, module, tmp_path, *edits)
    assert found.outcome == "FAIL" and " differ, first " in found.worst, found.worst


@needs_interpreter
def test_a_kernel_that_narrows_cannot_be_looked_at_and_says_why(tmp_path) -> None:
    found = under(
        "fpsan", "gemma_rmsnorm_add", "rmsnorm_add", tmp_path,
        ("y = x[i] * inv * w[i] + r[i]", "y = (x[i] * inv).to(tl.float16) * w[i] + r[i]"),
    )  # fmt: skip
    assert found.outcome == "CANNOT_RUN" and "a float of fp16 holds no payload" in found.worst


@needs_interpreter
def test_the_interpreter_is_as_it_was_behind_it() -> None:
    from triton.runtime import interpreter

    before = dict(vars(interpreter.InterpreterBuilder)), interpreter.ReduceOps.sum
    with exact_arithmetic():
        assert interpreter.ReduceOps.sum is not before[1]
    assert (dict(vars(interpreter.InterpreterBuilder)), interpreter.ReduceOps.sum) == before


@needs_interpreter
def test_a_program_that_writes_what_another_reads_is_a_race(tmp_path) -> None:
    # GIVEN a norm in place that reads the head beside its own
    module = ("gemma_qkv_rmsnorm", "qkv_rmsnorm")
    edit = ("x = tl.load(x_ptr + at,", "x = tl.load(x_ptr + tokens * stride + cols,")
    found = under("gsan", *module, tmp_path, edit)
    # THEN it is told which two programs
    assert found.outcome == "FAIL" and "is written by program " in found.worst, found.worst
    assert under("gsan", *module, tmp_path).outcome == "PASS"


@needs_interpreter
def test_an_access_outside_every_tensor_is_told_and_not_made(tmp_path) -> None:
    far = ("store(out_ptr, stride_out, rows", "store(out_ptr, stride_out, rows + 2**40")
    found = under("gsan", "gemma_rmsnorm_add", "rmsnorm_add", tmp_path, far)
    assert found.outcome == "FAIL", found.worst
    assert "addresses written outside every tensor of the launch" in found.worst


@needs_interpreter
def test_no_descriptor_is_nothing_to_assert() -> None:
    (found,) = sanitize(("gemma_rmsnorm_add",), "cpu", ("iisan",))
    assert found.outcome == "SKIP" and "no tensor descriptor is made" in found.worst
