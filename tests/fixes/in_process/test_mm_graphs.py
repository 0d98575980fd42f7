"""Gemma-4 passes SGLang's multimodal gate for piecewise graphs, and nothing else is forced."""

from __future__ import annotations

from triage.sglang.fixes.mm_graphs import MultimodalGraphs
from triage.verify.stand_ins import graph_model as model
from triage.verify.stand_ins import has_piecewise_graphs as decide


def test_without_the_switch_gemma4_gets_no_piecewise_graphs():
    assert not decide(model())


def test_with_it_the_language_model_is_captured_and_the_config_is_as_before(bind):
    fix, config = bind(MultimodalGraphs()), model()
    before = dict(vars(config))
    assert decide(config)
    assert vars(config) == before
    assert fix.uses == 1


def test_kv_shared_layers_are_refused_with_the_reason(bind, caplog):
    fix = bind(MultimodalGraphs())
    assert not decide(model(shared=18))
    assert "the last 18 layers of this model share the keys and values" in caplog.text
    assert fix.uses == 0


def test_another_reason_to_refuse_still_holds(bind):
    bind(MultimodalGraphs())
    assert not decide(model(), pp_size=2)


def test_another_multimodal_model_is_left_as_it_is(bind):
    fix = bind(MultimodalGraphs())
    assert not decide(model(architecture="LlavaLlamaForCausalLM"))
    assert fix.uses == 0


def test_disarmed_the_gate_is_closed_again(bind):
    bind(MultimodalGraphs()).armed = False
    assert not decide(model())
