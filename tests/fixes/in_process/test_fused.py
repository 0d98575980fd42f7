"""Fused ops in Gemma-4's decoder layer: the same numbers, every refusal counted with a reason.

The forward is SGLang's, the norms and the router are SGLang's; attention, MLP and experts
are small stand-ins, as they are not what is replaced. fp32, in Triton's CPU interpreter.

Long because every replaced call is held to the same layer, made once for all of them.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from triage.errors import InstallError
from triage.sglang.binding.shell import Shells
from triage.sglang.fixes.fused import OPS, FusedLayers, ops_of
from triage.sglang.fixes.fused_next_norm import NextNorms
from triage.verify.binding import bound

HIDDEN, PLE, EXPERTS, TOPK, TOKENS = 96, 32, 6, 2, 5
TOLERANCE = 2e-6
"""fp32: a handful of roundings of 6e-8 each through two norms, relative to the largest value."""


class Linear(nn.Module):
    """A matrix product that returns (output, None), as SGLang's linear layers do."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5, requires_grad=False)

    def forward(self, x):
        return x @ self.weight.T, None


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = Linear(HIDDEN, HIDDEN)

    def forward(self, positions, hidden_states, forward_batch):
        return self.mix(hidden_states)[0]


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = Linear(HIDDEN, HIDDEN)

    def forward(self, x):
        return torch.tanh(self.up(x)[0])


class Experts(nn.Module):
    """Experts behind a routing function of SGLang's signature."""

    def __init__(self, route):
        super().__init__()
        self.experts = nn.ModuleList(Mlp() for _ in range(EXPERTS))
        self.per_expert_scale = nn.Parameter(torch.rand(EXPERTS) + 0.5, requires_grad=False)
        self.route = route

    def forward(self, x, logits):
        weights, ids = self.route(x, logits, TOPK, True)
        rows = [
            sum(
                w * self.experts[int(e)](x[t : t + 1])
                for w, e in zip(weights[t], ids[t], strict=True)
            )
            for t in range(len(x))
        ]
        return torch.cat(rows)


def norm(cls, **named):
    made = cls(HIDDEN, eps=1e-6, **named)
    if isinstance(made.weight, nn.Parameter):
        made.weight.data = 1 + 0.3 * torch.randn(HIDDEN)
    return made


def layer_of(kind):
    """A Gemma4DecoderLayer of "dense", "ple" or "moe" kind, parts set by hand, weights random."""
    from sglang.srt.layers.layernorm import Gemma4RMSNorm, RMSNorm
    from sglang.srt.models.gemma4_causal import Gemma4DecoderLayer, Gemma4Router

    torch.manual_seed(7)
    layer = Gemma4DecoderLayer.__new__(Gemma4DecoderLayer)
    nn.Module.__init__(layer)
    layer.self_attn, layer.mlp = Attention(), Mlp()
    for name in ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm"):
        setattr(layer, name, norm(RMSNorm))
    layer.post_feedforward_layernorm = norm(RMSNorm)
    layer.has_ple, layer.enable_moe_block = kind == "ple", kind == "moe"
    layer.router = layer.moe = None
    layer.register_buffer("layer_scalar", torch.tensor([0.7]))
    if kind == "ple":
        layer.per_layer_input_gate = Linear(HIDDEN, PLE)
        layer.per_layer_projection = Linear(PLE, HIDDEN)
        layer.post_per_layer_input_norm = norm(Gemma4RMSNorm)
    if kind == "moe":
        for name in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2"):
            setattr(layer, name, norm(RMSNorm))
        layer.pre_feedforward_layernorm_2 = norm(RMSNorm)
        layer.router = router_of(Gemma4Router, Gemma4RMSNorm)
        layer.moe = Experts(eager_routing)
        layer.moe.scale_of = layer.moe.per_expert_scale
    return layer


def router_of(cls, norm_class):
    """SGLang's router. On a CPU its norm ignores a folded scale, so scale * H^-0.5 is one here."""
    router = cls.__new__(cls)
    nn.Module.__init__(router)
    router.hidden_size = HIDDEN
    router.norm = norm_class(HIDDEN, eps=1e-6, with_scale=False)
    router.scale = nn.Parameter(torch.full((HIDDEN,), HIDDEN**0.5), requires_grad=False)
    router.register_buffer("root_size", torch.tensor(HIDDEN**-0.5))
    router.proj = Linear(HIDDEN, EXPERTS)
    router._scale_fused, router._fused_scale = False, None  # as the releases call it
    return router


def eager_routing(hidden_states, gating_output, topk, renormalize):
    """SGLang's path without a kernel; the scale of one keeps it free of closures."""
    logits, ids = torch.topk(gating_output, k=topk, dim=-1)
    return torch.softmax(logits, -1).float(), ids.to(torch.int32)


def inputs():
    torch.manual_seed(11)
    hidden = torch.randn(TOKENS, HIDDEN)
    return hidden, torch.randn(TOKENS, 3, PLE)[:, 1]  # a slice, as in the model: rows not adjacent


@torch.no_grad()
def forward(layer):
    hidden, ple = inputs()
    return layer(torch.arange(TOKENS), hidden, ple if layer.has_ple else None, None)[0]


def difference(one, other):
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize(
    ("kind", "ops"),
    [
        ("dense", {"dense-tail"}),
        ("dense", {"post-attn-norms"}),
        ("ple", {"post-attn-norms", "ple-tail"}),
        ("ple", {"ple-tail"}),
        ("moe", {"post-attn-triple", "moe-tail"}),
        ("moe", {"post-attn-triple"}),
        ("moe", {"moe-tail"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(sorted(value)),
)
def test_the_layers_output_is_the_same_with_and_without(kind, ops):
    layer = layer_of(kind)
    expected = forward(layer)
    with bound(FusedLayers(tuple(ops))) as fused:
        found = forward(layer)
    assert difference(found, expected) < TOLERANCE
    assert set(fused.uses) == ops
    assert not fused.fallbacks


def test_the_check_would_see_a_norm_left_out():
    layer = layer_of("dense")
    expected = forward(layer)
    layer.post_feedforward_layernorm.weight.data += 1e-4
    assert difference(forward(layer), expected) > 10 * TOLERANCE


def test_routing_is_the_same_and_reads_the_scale_when_it_is_called():
    moe = Experts(eager_routing)
    fused = FusedLayers(("routing",))
    route = fused.routing(moe, eager_routing)
    logits = torch.randn(TOKENS, EXPERTS)
    weights, ids = route(None, logits, TOPK, True)
    expected, expected_ids = eager_routing(None, logits, TOPK, True)
    assert torch.equal(ids, expected_ids)
    scaled = expected * moe.per_expert_scale[ids.long()]
    assert torch.allclose(weights, scaled, rtol=2e-6)
    # AND a scale that was replaced after construction is the one that counts
    moe.per_expert_scale = nn.Parameter(torch.ones(EXPERTS), requires_grad=False)
    assert torch.allclose(route(None, logits, TOPK, True)[0], expected, rtol=2e-6)
    assert fused.uses["routing"] == 2


def test_a_router_scale_that_is_written_later_is_read_anew():
    layer = layer_of("moe")
    fused = FusedLayers(("post-attn-triple",))
    before = fused._weight(layer.router)
    assert fused._weight(layer.router) is before
    layer.router.scale.data.mul_(2)
    layer.router.scale.add_(0)  # an in-place write of the parameter itself
    assert not torch.equal(fused._weight(layer.router), before)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda layer: setattr(layer.post_per_layer_input_norm, "scale_shift", 1.0), "shift"),
        (lambda layer: layer.double(), "dtype torch.float64"),
    ],
    ids=["a norm with a shift", "float64"],
)
def test_what_is_not_eligible_is_sglangs_and_counted_with_the_reason(spoil, reason, monkeypatch):
    layer = layer_of("ple")
    spoil(layer)
    if "float64" in reason:
        monkeypatch.setattr(torch, "randn", _double(torch.randn))
    expected = forward(layer)
    with bound(FusedLayers(("ple-tail",))) as fused:
        found = forward(layer)
    assert difference(found, expected) < TOLERANCE
    assert not fused.uses
    [((_, said), count)] = fused.fallbacks.items()
    assert reason in said and count == 1


def _double(randn):
    return lambda *shape: randn(*shape).double()


def test_a_layer_in_which_no_op_has_a_place_runs_sglangs_forward():
    layer = layer_of("dense")
    expected = forward(layer)
    with bound(FusedLayers(("ple-tail",))) as fused:
        assert torch.equal(forward(layer), expected)
    assert not fused.uses and not fused.fallbacks
    assert ops_of(layer) == {"post-attn-norms", "dense-tail", "dense-tail-next-norm"}


def test_disarmed_it_is_sglangs_forward():
    layer = layer_of("ple")
    expected = forward(layer)
    with bound(FusedLayers(("ple-tail",))) as fused:
        fused.armed = False
        assert torch.equal(forward(layer), expected)


OURS = ("/triage/sglang/fixes/fused", "/triage_kernels/ops/")


def calls_of_ours(run, at=None):
    """The functions of ours that `run` enters, in order; `at` raises at its first call."""
    found = {}

    def trace(frame, event, _):
        code = frame.f_code
        key = code.co_filename, code.co_qualname, code.co_firstlineno
        own = any(each in code.co_filename for each in OURS) and "around_" not in code.co_name
        if own and key not in found:
            found[key] = None
            if key == at:
                raise RuntimeError("one that none of our code expects")

    sys.settrace(trace)
    try:
        result = run()
    finally:
        sys.settrace(None)
    return list(found), result


@pytest.mark.parametrize("kind", ["dense", "ple", "moe"])
def test_an_error_at_any_call_of_ours_leaves_sglangs_numbers_and_is_told_once(kind, caplog):
    # GIVEN every op on, and the functions of ours that a forward enters
    layer = layer_of(kind)
    expected = forward(layer)
    two = SimpleNamespace(layers=[layer, layer_of(kind)], start_layer=0, end_layer=2)
    with bound(FusedLayers(tuple(OPS))) as fused:
        fused.next.link(two)
        forward(layer)  # what is imported at a first call is none of what a call enters
        entered, _ = calls_of_ours(lambda: forward(layer))
    assert any(name.endswith("NextNorms.put") for _, name, _ in entered)
    entered = [key for key in entered if not key[1].endswith(UNRAISED)]
    assert len(entered) >= 5
    for at in entered:
        caplog.clear()
        shells = Shells()
        with bound(FusedLayers(tuple(OPS), shells)) as fused:
            fused.next.link(two)
            # WHEN one of them fails
            _, found = calls_of_ours(lambda: forward(layer), at)
        # THEN the layer's output is SGLang's, and one op or the forward's is off
        assert difference(found, expected) < TOLERANCE, at
        assert len(shells.failures) == shells.internal_errors == 1, at
        assert [each.exc_info is not None for each in caplog.records] == [True], at


UNRAISED = ("_op", "_moe", "_tail", "_before_moe", "_sglangs", "<lambda>", "FusedLayers.ops",
            "_before_mlp")  # fmt: skip
"""The forward itself, which SGLang's layer cannot be followed without, and what only calls on."""


def test_an_unknown_op_is_answered_with_the_list():
    with pytest.raises(
        InstallError, match=f"'warp'; SGLANG_TRIAGE_FUSED accepts: {next(iter(OPS))}.*auto"
    ):
        FusedLayers(("warp",))


class TracedNorm(nn.Module):
    """A norm that Dynamo follows on a CPU, where SGLang's asks which platform it is on."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(HIDDEN) + 0.5, requires_grad=False)
        self.variance_epsilon = 1e-6

    def forward(self, x, residual=None):
        summed = x if residual is None else x + residual
        scaled = summed * torch.rsqrt(summed.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight
        return scaled if residual is None else (scaled, summed)


@pytest.mark.parametrize("kind", ["dense", "ple"])
def test_a_model_that_is_traced_is_sglangs_own_in_one_graph(kind):
    """SGLang 0.5.14 compiles the model for its prefill graphs: a server with the ops on did not
    start, as Dynamo could not follow what decides whether an op takes a layer."""
    layer = layer_of(kind)
    for name, _ in list(layer.named_children()):
        if name.endswith("norm"):
            setattr(layer, name, TracedNorm())
    expected = forward(layer)
    torch._dynamo.reset()
    hidden, ple = inputs()

    def traced(hidden, ple):
        return layer(torch.arange(TOKENS), hidden, ple if layer.has_ple else None, None)[0]

    with bound(FusedLayers(tuple(OPS))), torch.no_grad():
        found = torch.compile(traced, backend="eager", fullgraph=True)(hidden, ple)
    assert torch.equal(found, expected)


def test_attention_that_is_traced_is_sglangs_own_behind_the_registrys_wrapper():
    from sglang.srt.plugins.hook_registry import HookType, _wrap_fn

    fused = FusedLayers(tuple(OPS))

    class Traced(nn.Module):
        def forward(self, positions, hidden_states, forward_batch):
            return hidden_states * 2 + positions[:, None]

    Traced.forward = _wrap_fn(Traced.forward, fused.attention.around_attention, HookType.AROUND)
    attention, (hidden, _) = Traced(), inputs()

    def traced(hidden):
        return attention(positions=torch.arange(TOKENS), hidden_states=hidden, forward_batch=None)

    torch._dynamo.reset()
    found = torch.compile(traced, backend="eager", fullgraph=True)(hidden)
    assert torch.equal(found, hidden * 2 + torch.arange(TOKENS)[:, None])
    assert not fused.fallbacks


def test_what_the_ops_did_is_said_at_the_first_and_every_tenfold_call(caplog):
    layer = layer_of("ple")
    with bound(FusedLayers(("ple-tail",))), caplog.at_level("INFO", "triage"):
        for _ in range(12):
            forward(layer)
        layer.post_per_layer_input_norm.scale_shift = 1.0
        forward(layer)
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "sglang-triage fused op ple-tail: in use, 1 calls so far, 0 of them in a capture",
        "sglang-triage fused op ple-tail: in use, 10 calls so far, 0 of them in a capture",
        "sglang-triage fused op ple-tail: left to SGLang in 1 calls so far: a norm has a shift",
    ]


def test_a_layer_of_a_release_with_other_steps_is_its_own():
    """SGLang 0.5.23 sums the parts of a layer outside the steps that are followed here."""
    layer = layer_of("ple")
    layer.attn_boundary = None
    with bound(FusedLayers(tuple(OPS))) as fused:
        forward(layer)
    assert not fused.uses
    assert dict(fused.fallbacks) == {("layer", "this release's layers have other steps"): 1}


def test_the_constant_of_an_op_is_never_made_inside_a_capture(monkeypatch):
    """It would be of that graph's memory, and another graph would read it before it is filled."""
    fused = FusedLayers(("post-attn-norms",))
    hidden, _ = inputs()
    monkeypatch.setattr("triage.sglang.fixes.fused.capturing", lambda: True)
    assert fused._one(hidden) is None
    layer = layer_of("dense")
    expected = forward(layer)
    with bound(fused):
        assert difference(forward(layer), expected) < TOLERANCE
    assert not fused.uses
    monkeypatch.setattr("triage.sglang.fixes.fused.capturing", lambda: False)
    one = fused._one(hidden)
    monkeypatch.setattr("triage.sglang.fixes.fused.capturing", lambda: True)
    assert fused._one(hidden) is one and one.tolist() == [1.0]


def test_the_layers_of_a_rank_are_linked_and_those_of_a_model_without_ranks():
    first, middle, last = (nn.Module() for _ in range(3))
    for layer, name in zip((first, middle, last), "abc", strict=True):
        layer.input_layernorm = name
    for model, expected in (
        (SimpleNamespace(layers=[first, middle, last]), ["b", "c", None]),
        (SimpleNamespace(layers=[first, middle, last], start_layer=1, end_layer=3), [None, "c"]),
    ):
        norms = NextNorms()
        norms.link(model)
        assert [norms.after(layer) for layer in (first, middle, last)][: len(expected)] == expected
