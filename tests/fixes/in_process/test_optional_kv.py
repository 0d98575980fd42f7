"""KV-shared layers go through the piecewise attention op: eagerly, as fake tensors, split."""

from __future__ import annotations

import pytest
import torch

from triage.sglang.fixes.fix import Need
from triage.sglang.fixes.optional_kv import OP, OURS, OptionalKV
from triage.verify.stand_ins import KV_SHARED as MODELS
from triage.verify.stand_ins import PADDED_TOKENS as PADDED
from triage.verify.stand_ins import (
    TOKENS,
    forward_kv_shared,
    kv_shared_model,
    piecewise_context,
)
from triage.verify.stand_ins import op_on_a_cpu as on_a_cpu


@pytest.fixture(autouse=True)
def only_where_needed(release):
    if OptionalKV.ask().need is not Need.NEEDED:
        pytest.skip(f"SGLang {release} takes None already")


@pytest.fixture
def fixed(bind):
    """The fix, bound; its op reachable on a CPU."""
    fix = bind(OptionalKV())
    on_a_cpu(OURS)
    return fix


@pytest.fixture
def context():
    on_a_cpu(OP)
    with piecewise_context() as made:
        yield made


@pytest.mark.parametrize("model", MODELS)
def test_without_the_fix_the_first_shared_layer_is_refused(context, model):
    with pytest.raises((RuntimeError, TypeError)):
        forward_kv_shared(model, context)


@pytest.mark.parametrize("model", MODELS)
def test_with_it_every_layer_runs_and_only_padding_is_left_out(context, fixed, model):
    out = forward_kv_shared(model, context)
    layers, shared = MODELS[model]
    calls = context.calls.seen
    assert [call[0] for call in calls] == list(range(layers))
    assert [without for _, without, *_ in calls] == [i >= layers - shared for i in range(layers)]
    assert {call[2:] for call in calls if call[1]} == {(TOKENS, False)}
    assert out[:TOKENS].eq(2).all()
    assert len(context.forward_batch.out_cache_loc) == PADDED  # restored
    assert fixed.uses == shared


def test_locations_are_put_back_also_when_the_backend_raises(context, fixed):
    context.attention_layers = kv_shared_model("E4B")[0]
    context.forward_batch.attn_backend.forward = _fail
    with pytest.raises(RuntimeError, match="from the kernel"):
        query = torch.ones(PADDED, 8)
        context.attention_layers[0](query, None, None, context.forward_batch, save_kv_cache=False)
    assert len(context.forward_batch.out_cache_loc) == PADDED


def _fail(*_, **__):
    raise RuntimeError("from the kernel")


def test_the_op_has_a_fake_implementation_and_is_a_place_to_split(context, fixed):
    from sglang.srt.compilation.compilation_config import SPLIT_OPS
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert f"sglang.{OURS}" in SPLIT_OPS
    with FakeTensorMode():
        query = torch.empty(PADDED, 8)
        getattr(torch.ops.sglang, OURS)(query, torch.empty_like(query), False, 0)
    assert context.calls.seen == []  # no kernel ran


def test_disarmed_none_is_refused_again(context, fixed):
    fixed.armed = False
    with pytest.raises((RuntimeError, TypeError)):
        forward_kv_shared("E4B", context)


def test_layers_with_keys_keep_sglangs_own_op(context, fixed):
    layer = kv_shared_model("E4B")[0][0]
    context.attention_layers = [layer]
    kv = torch.ones(PADDED, 2, 4)
    layer(torch.ones(PADDED, 8), kv, kv, context.forward_batch)
    assert context.calls.seen[0][1] is False
    assert fixed.uses == 0
