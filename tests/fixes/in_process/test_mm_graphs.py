"""Gemma-4 passes SGLang's multimodal gate for piecewise graphs, and nothing else is forced."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from triage.sglang.fixes.mm_graphs import ARCHITECTURE, BLOCKED, DECISIONS, LISTED, MultimodalGraphs


def model(*, shared=0, architecture=ARCHITECTURE, multimodal=True):
    """A model config as far as the decision reads it, values as SGLang derives them."""
    from sglang.srt.configs import model_config as module

    config = SimpleNamespace(
        is_multimodal=multimodal,
        hf_config=SimpleNamespace(architectures=[architecture]),
        hf_text_config=SimpleNamespace(num_kv_shared_layers=shared),
        is_multimodal_breakable_cuda_graph_supported=False,
    )
    blocked = module.is_piecewise_cuda_graph_disabled_model([architecture])
    if hasattr(module, LISTED):
        setattr(config, LISTED, getattr(module, LISTED)([architecture]))
        blocked = blocked or (multimodal and not getattr(config, LISTED))
    setattr(config, BLOCKED, blocked)
    return config


@pytest.fixture
def decide(monkeypatch):
    """`decide(config, **arguments)` -> are piecewise graphs on, by SGLang's own decision."""
    from sglang.srt.server_args import ServerArgs

    def ask(config, **arguments):
        args = ServerArgs(model_path="dummy")
        for name, value in arguments.items():
            setattr(args, name, value)
        monkeypatch.setattr(ServerArgs, "get_model_config", lambda self: config)
        name = next(name for name in DECISIONS if hasattr(args, name))
        if name == DECISIONS[0]:
            from sglang.srt.model_executor.cuda_graph_config import Backend, CudaGraphConfig

            args.cuda_graph_config = CudaGraphConfig()
            args.cuda_graph_config.prefill.backend = Backend.TC_PIECEWISE
            args._cuda_graph_config_locked = set()
            getattr(args, name)()
            return args.cuda_graph_config.prefill.backend == Backend.TC_PIECEWISE
        getattr(args, name)()
        return not args.disable_piecewise_cuda_graph

    return ask


def test_without_the_switch_gemma4_gets_no_piecewise_graphs(decide):
    assert not decide(model())


def test_with_it_the_language_model_is_captured_and_the_config_is_as_before(decide, bind):
    fix, config = bind(MultimodalGraphs()), model()
    before = dict(vars(config))
    assert decide(config)
    assert vars(config) == before
    assert fix.uses == 1


def test_kv_shared_layers_are_refused_with_the_reason(decide, bind, caplog):
    fix = bind(MultimodalGraphs())
    assert not decide(model(shared=18))
    assert "the last 18 layers of this model share the keys and values" in caplog.text
    assert fix.uses == 0


def test_another_reason_to_refuse_still_holds(decide, bind):
    bind(MultimodalGraphs())
    assert not decide(model(), pp_size=2)


def test_another_multimodal_model_is_left_as_it_is(decide, bind):
    fix = bind(MultimodalGraphs())
    assert not decide(model(architecture="LlavaLlamaForCausalLM"))
    assert fix.uses == 0


def test_disarmed_the_gate_is_closed_again(decide, bind):
    bind(MultimodalGraphs()).armed = False
    assert not decide(model())
