"""KV-shared layers go through the piecewise attention op: eagerly, as fake tensors, split."""

from __future__ import annotations

import gc
from types import FunctionType, SimpleNamespace

import pytest
import torch

from triage.sglang.fixes.fix import Need
from triage.sglang.fixes.optional_kv import OP, OURS, OptionalKV

TOKENS, PADDED, HEADS, DIM = 5, 8, 2, 4
MODELS = {"E2B": (35, 20), "E4B": (42, 18)}


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


class Backend:
    """Stands for the attention kernel: doubles the query, notes what it was given."""

    def __init__(self):
        self.calls = []

    def forward(self, q, k, v, layer, batch, save_kv_cache, **kwargs):
        locations = len(batch.out_cache_loc)
        self.calls.append((layer.layer_id, k is None, len(q), save_kv_cache, locations))
        return q * 2


def layers_of(model):
    from sglang.srt.layers.radix_attention import RadixAttention

    number, shared = MODELS[model]
    make = lambda i: RadixAttention(HEADS, DIM, scaling=1.0, num_kv_heads=HEADS, layer_id=i)  # noqa: E731
    return [make(index) for index in range(number)], number - shared


def on_a_cpu(op):
    """SGLang registers its ops for CUDA only: give this one's own function to the CPU as well."""
    from sglang.srt.utils.common import sglang_lib

    if torch._C._dispatch_has_kernel_for_dispatch_key(f"sglang::{op}", "CPU"):
        return
    found = (item for item in gc.get_objects() if type(item) is FunctionType)
    function = next(item for item in found if item.__name__ == op)
    sglang_lib.impl(op, function, "CPU")


@pytest.fixture
def context(monkeypatch):
    """A forward under a piecewise context, three of eight tokens padding."""
    from sglang.srt.layers import radix_attention
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    batch = SimpleNamespace(
        forward_mode=ForwardMode.EXTEND,
        num_token_non_padded_cpu=TOKENS,
        out_cache_loc=torch.arange(PADDED),
        out_cache_loc_swa=None,
        attn_backend=Backend(),
        token_to_kv_pool=None,
    )
    made = SimpleNamespace(forward_batch=batch, attention_layers=[])
    on_a_cpu(OP)
    monkeypatch.setattr(radix_attention, "get_forward_context", lambda: made)
    from sglang.srt.compilation import piecewise_context_manager as module

    monkeypatch.setattr(module, "_forward_context", made)
    return made


def run(context, model):
    """Every layer of `model` once; the output of the last."""
    layers, own = layers_of(model)
    context.attention_layers = layers
    query = torch.ones(PADDED, HEADS * DIM)
    for index, layer in enumerate(layers):
        kv = torch.ones(PADDED, HEADS, DIM) if index < own else None
        out = layer(query, kv, kv, context.forward_batch, save_kv_cache=kv is not None)
    return out


@pytest.mark.parametrize("model", MODELS)
def test_without_the_fix_the_first_shared_layer_is_refused(context, model):
    with pytest.raises((RuntimeError, TypeError)):
        run(context, model)


@pytest.mark.parametrize("model", MODELS)
def test_with_it_every_layer_runs_and_only_padding_is_left_out(context, fixed, model):
    out = run(context, model)
    layers, shared = MODELS[model]
    calls = context.forward_batch.attn_backend.calls
    assert [call[0] for call in calls] == list(range(layers))
    assert [without for _, without, *_ in calls] == [i >= layers - shared for i in range(layers)]
    assert {call[2:] for call in calls if call[1]} == {(TOKENS, False, TOKENS)}
    assert out[:TOKENS].eq(2).all()
    assert len(context.forward_batch.out_cache_loc) == PADDED  # put back
    assert fixed.uses == shared


def test_locations_are_put_back_also_when_the_backend_raises(context, fixed):
    context.attention_layers = layers_of("E4B")[0]
    context.forward_batch.attn_backend.forward = _fail
    with pytest.raises(RuntimeError, match="from the kernel"):
        query = torch.ones(PADDED, HEADS * DIM)
        context.attention_layers[0](query, None, None, context.forward_batch, save_kv_cache=False)
    assert len(context.forward_batch.out_cache_loc) == PADDED


def _fail(*_, **__):
    raise RuntimeError("from the kernel")


def test_the_op_has_a_fake_implementation_and_is_a_place_to_split(context, fixed):
    from sglang.srt.compilation.compilation_config import SPLIT_OPS
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert f"sglang.{OURS}" in SPLIT_OPS
    with FakeTensorMode():
        query = torch.empty(PADDED, HEADS * DIM)
        getattr(torch.ops.sglang, OURS)(query, torch.empty_like(query), False, 0)
    assert context.forward_batch.attn_backend.calls == []  # no kernel ran


def test_disarmed_none_is_refused_again(context, fixed):
    fixed.armed = False
    with pytest.raises((RuntimeError, TypeError)):
        run(context, "E4B")


def test_layers_with_keys_keep_sglangs_own_op(context, fixed):
    layer = layers_of("E4B")[0][0]
    context.attention_layers = [layer]
    kv = torch.ones(PADDED, HEADS, DIM)
    layer(torch.ones(PADDED, HEADS * DIM), kv, kv, context.forward_batch)
    assert context.forward_batch.attn_backend.calls[0][1] is False
    assert fixed.uses == 0
