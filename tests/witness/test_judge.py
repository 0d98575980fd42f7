"""A launch computed again from copies: a right kernel is never told, a wrong row is."""

from __future__ import annotations

import pytest
import torch

from triage.dump.flashinfer_api import CONTEXT, DECODE
from triage.sglang.launch.call import AttentionCall
from triage.sglang.witness.judge import NOT_FINITE, OUTSIDE, judge
from triage.sglang.witness.sample import choose, queries_of, take, why_not

PAGE, PAGES, KV_HEADS, GROUP, DIM = 16, 64, 2, 4, 64


def launch(
    *, lengths, q_lens, dtype=torch.float16, cache=None, window=-1, sinks=False, ragged=False,
    layout="HND", seed=0,
):  # fmt: skip
    """A launch of random values over a random table, and what a kernel of `dtype` answers."""
    generator = torch.Generator().manual_seed(seed)
    rows, width = len(lengths), -(-max(lengths) // PAGE) + 1
    table = (torch.randperm(PAGES - 1, generator=generator)[: rows * width] + 1).reshape(
        rows, width
    )
    query = torch.randn(sum(q_lens), KV_HEADS * GROUP, DIM, generator=generator).to(dtype)
    shape = (PAGES, KV_HEADS, PAGE, DIM) if layout == "HND" else (PAGES, PAGE, KV_HEADS, DIM)
    key, value = (torch.randn(shape, generator=generator).to(cache or dtype) for _ in range(2))
    arguments = {
        "query": query,
        "kv_cache": (key, value),
        "block_tables": table.to(torch.int32),
        "seq_lens": torch.tensor(lengths, dtype=torch.int32),
        "bmm1_scale": DIM**-0.5,
        "bmm2_scale": 0.5 if cache else 1.0,
        "window_left": window,
        "kv_layout": layout,
    }
    if sinks:
        arguments["sinks"] = torch.randn(KV_HEADS * GROUP, generator=generator)
    if ragged:
        offsets = torch.tensor([0, *torch.tensor(q_lens).cumsum(0)], dtype=torch.int32)
        arguments |= {"cum_seq_lens_q": offsets, "max_kv_len": max(lengths)}
    else:
        arguments |= {"q_len_per_req": q_lens[0], "max_seq_len": max(lengths)}
    call = AttentionCall(CONTEXT if ragged else DECODE, arguments)
    return call, kernel(call, q_lens)


def kernel(call, q_lens):
    """Another program than the reference: token by token, weights and output rounded."""
    key, value = call.kv
    if call.layout == "NHD":
        key, value = key.transpose(1, 2), value.transpose(1, 2)
    sinks = call.arguments.get("sinks")
    out = torch.empty(call.query.shape, dtype=call.query.dtype)
    token = 0
    for row, count in enumerate(q_lens):
        length = int(call.cache_seqlens[row])
        pages = call.block_tables[row, : -(-length // call.page_size)].long()
        keys = key[pages].transpose(0, 1).flatten(1, 2)[:, :length].float()
        values = value[pages].transpose(0, 1).flatten(1, 2)[:, :length].float()
        for i in range(count):
            end = length - count + i + 1
            start = max(end - 1 - call.window_left, 0) if call.window_left >= 0 else 0
            for head in range(KV_HEADS * GROUP):
                kv = head // GROUP
                logits = keys[kv, start:end] @ call.query[token, head].float()
                logits *= call.arguments["bmm1_scale"]
                top = logits.max() if sinks is None else torch.maximum(logits.max(), sinks[head])
                weights = (logits - top).exp()
                total = weights.sum() + (0 if sinks is None else (sinks[head] - top).exp())
                rounded = weights.to(call.query.dtype).float()
                found = rounded @ values[kv, start:end] / total * call.arguments["bmm2_scale"]
                out[token, head] = found.to(out.dtype)
            token += 1
    return out


def judged(call, output, turn=0):
    assert not why_not(call, output)
    chosen = choose(call, turn, int(call.cache_seqlens.max()))
    return judge(take(call, chosen, queries_of(call, output, chosen), None))


CASES = {
    "decode": {"lengths": [70, 1, 33, 16], "q_lens": [1] * 4},
    "bf16": {"lengths": [70, 1, 33, 16], "q_lens": [1] * 4, "dtype": torch.bfloat16},
    "sliding": {"lengths": [150, 9, 64, 65], "q_lens": [1] * 4, "window": 31},
    "verify of 4": {"lengths": [70, 8, 33, 16], "q_lens": [4] * 4, "window": 31},
    "verify of 10": {"lengths": [70, 40, 33, 16], "q_lens": [10] * 4},
    "sinks": {"lengths": [70, 1, 33, 16], "q_lens": [1] * 4, "sinks": True},
    "prefill": {"lengths": [70, 5, 33, 16], "q_lens": [40, 5, 2, 1], "ragged": True},
    "prefill, sliding": {
        "lengths": [70, 5, 33, 16],
        "q_lens": [40, 5, 2, 1],
        "ragged": True,
        "window": 15,
    },
    "fp8 cache": {"lengths": [70, 9, 33, 16], "q_lens": [1] * 4, "cache": torch.float8_e4m3fn},
    "NHD": {"lengths": [70, 1, 33, 16], "q_lens": [1] * 4, "layout": "NHD"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_right_kernel_is_within_the_bound_whatever_rows_and_heads_are_looked_at(case):
    for turn in range(3):
        # GIVEN a launch, and an output by another program that rounds as a kernel does
        call, output = launch(**case, seed=turn)
        # WHEN rows and a head of this turn are computed again
        found = judged(call, output, turn)
        # THEN all of them were compared, and none is told
        assert found.rows == 4 and not found.left_out
        assert found.wrong is None, found.wrong
        assert 0 < found.nearest <= 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_row_that_has_another_rows_output_is_told_with_both_values(case):
    call, output = launch(**case)
    # GIVEN that the newest query of row 2 has the output of row 0's
    token = sum(case["q_lens"][:3]) - 1
    spoilt = output.clone()
    spoilt[token] = output[case["q_lens"][0] - 1]
    # WHEN the launch is computed again
    wrong = judged(call, spoilt).wrong
    # THEN that row and query are named, and no other
    assert wrong.rows == (2,) and (wrong.row, wrong.query) == (2, 0)
    assert wrong.value == float(spoilt[token, wrong.head, wrong.dim])
    right = float(output[token, wrong.head, wrong.dim])
    assert abs(wrong.reference - right) <= wrong.allowed < abs(wrong.value - wrong.reference)


def test_a_kernel_that_forgets_the_oldest_page_is_told():
    call, output = launch(lengths=[70, 60, 33, 64], q_lens=[1] * 4)
    # GIVEN a kernel that sees one page less of row 1, as one with an off-by-one would
    short = {**call.arguments, "window_left": 60 - PAGE - 1}
    output[1] = kernel(AttentionCall(call.api, short), [1] * 4)[1]
    # THEN it is told
    assert judged(call, output).wrong.rows == (1,)


def test_an_output_that_is_not_a_number_is_wrong_and_a_cache_that_is_not_is_nobodys_fault():
    call, output = launch(lengths=[70, 1, 33, 16], q_lens=[1] * 4)
    # GIVEN NaN in the output of row 3
    spoilt = output.clone()
    spoilt[3] = torch.nan
    # THEN it is wrong
    assert judged(call, spoilt).wrong.rows == (3,)
    # GIVEN NaN in a key that row 3 sees, and in one past the end of row 0
    call.kv[0][call.block_tables[3, 0].long(), :, 3] = torch.nan
    call.kv[0][call.block_tables[0, 4].long(), :, 70 % PAGE :] = torch.nan
    # THEN row 3 is left out, and row 0 is compared
    found = judged(call, spoilt)
    assert found.wrong is None and found.left_out == {NOT_FINITE: 1} and found.rows == 3


def test_a_page_outside_the_cache_is_left_to_the_tables_check():
    call, output = launch(lengths=[70, 1, 33, 16], q_lens=[1] * 4)
    call.block_tables[2, 1] = PAGES + 7
    found = judged(call, torch.zeros_like(output))
    assert found.left_out == {OUTSIDE: 1} and 2 not in found.wrong.rows


@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("skip_softmax_threshold_scale_factor", 1.0, "skip-softmax"),
        ("enable_block_sparse_attention", True, "block-sparse"),
        ("kv_cache_sf", (1,), "scales of their own"),
    ],
)
def test_what_the_reference_does_not_compute_is_not_covered_and_says_why(argument, value, reason):
    call, output = launch(lengths=[70, 1], q_lens=[1] * 2)
    asked = AttentionCall(call.api, {**call.arguments, argument: value})
    assert reason in why_not(asked, output)


def test_rows_that_do_not_fit_are_fewer_and_then_none():
    call, _ = launch(lengths=[70, 1, 33, 16], q_lens=[1] * 4)
    wide = torch.zeros(4, 1 << 16, dtype=torch.int32)
    long = AttentionCall(call.api, {**call.arguments, "block_tables": wide})
    # 2 * 128 bytes a token: 200,000 tokens fit once into 64 MiB, 2**20 do not
    assert choose(long, 0, 200_000).rows == 1
    assert "MiB" in choose(long, 0, 1 << 20)
