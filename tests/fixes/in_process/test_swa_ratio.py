"""The SWA pool shrinks for Gemma-4 MoE only, and only where the user set no ratio."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from triage.sglang.fixes.swa_ratio import CHOSEN, RATIO, SwaRatio

MOE_BYTES = 593_956 * 184_320  # what the original report's server had for KV


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setenv(CHOSEN, "0")


def owner(architecture, *, experts, ratio=None):
    """What a pool configurator is built from: a 26B-A4B-like or 31B-like model."""
    from sglang.srt.server_args import ServerArgs
    from sglang.srt.speculative.spec_info import SpeculativeAlgorithm

    arguments = ServerArgs(model_path="dummy")
    if ratio is not None:
        arguments.swa_full_tokens_ratio = ratio
    full, sliding, heads = (5, 25, (2, 8)) if experts else (10, 50, (4, 16))
    text = SimpleNamespace(num_experts=experts)
    return SimpleNamespace(
        server_args=arguments,
        kv_cache_dtype=torch.bfloat16,
        kv_cache_dtype_str="auto",
        spec_algorithm=SpeculativeAlgorithm.NONE,
        is_draft_worker=False,
        sliding_window_size=1023,
        page_size=1,
        model_config=SimpleNamespace(
            hf_config=SimpleNamespace(architectures=[architecture]),
            hf_text_config=text,
            full_attention_layer_ids=list(range(full)),
            swa_attention_layer_ids=list(range(full, full + sliding)),
            head_dim=512,
            v_head_dim=512,
            swa_head_dim=256,
            swa_v_head_dim=256,
            get_num_kv_heads=lambda tp: heads[0],
            get_swa_num_kv_heads=lambda tp: heads[1],
        ),
    )


@pytest.fixture
def pools(bind, monkeypatch):
    """`pools(fix, owner)` -> (full, SWA) tokens by SGLang's own configurator, fix bound."""
    from sglang.srt.model_executor import pool_configurator as module

    if hasattr(module, "get_attention_tp_size"):
        monkeypatch.setattr(module, "get_attention_tp_size", lambda: 1)
    if hasattr(module, "get_parallel"):
        monkeypatch.setattr(module, "get_parallel", lambda: SimpleNamespace(attn_tp_size=1))

    def sizes(fix, of, memory=MOE_BYTES):
        bind(fix)
        made = module.HybridSWAPoolConfigurator(of).calculate_pool_sizes(memory, of.page_size)
        return made.full_max_total_num_tokens, made.swa_max_total_num_tokens

    return sizes


TEXT, IMAGE = "Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"


def test_moe_at_the_default_gets_the_small_swa_pool_of_the_original_report(pools):
    fix, of = SwaRatio([]), owner(IMAGE, experts=128)
    full, swa = pools(fix, of)
    # The report had 2,138,243; its byte count is known to one token of 184,320 bytes only.
    assert 2_138_243 - full in range(184_320 // 51_200 + 1)
    assert swa == 320_736
    assert fix.uses == 1
    assert of.server_args.swa_full_tokens_ratio == type(of.server_args).swa_full_tokens_ratio


def test_disarmed_moe_has_the_pools_of_the_defect(pools):
    fix = SwaRatio([])
    fix.armed = False
    assert pools(fix, owner(IMAGE, experts=128)) == (593_956, 475_164)


@pytest.mark.parametrize("experts", [None, 0], ids=["none", "zero"])
def test_a_dense_variant_keeps_the_default(pools, experts):
    fix = SwaRatio([])
    full, swa = pools(fix, owner(IMAGE, experts=experts))
    assert swa == int(full * 0.8)
    assert fix.uses == 0


@pytest.mark.parametrize("architecture", [TEXT, IMAGE])
def test_a_users_ratio_wins_on_both_architectures(pools, architecture):
    fix = SwaRatio([])
    full, swa = pools(fix, owner(architecture, experts=128, ratio=0.5))
    assert (swa, fix.uses) == (int(full * 0.5), 0)


@pytest.mark.parametrize(
    "flag", [["--swa-full-tokens-ratio", "0.8"], ["--swa-full-tokens-ratio=0.8"]]
)
def test_the_default_given_on_the_command_line_is_a_choice_too(pools, flag):
    fix = SwaRatio(["launch_server", *flag])
    full, swa = pools(fix, owner(IMAGE, experts=128))
    assert (swa, fix.uses) == (int(full * 0.8), 0)


def test_the_text_only_moe_is_covered(pools):
    full, swa = pools(SwaRatio([]), owner(TEXT, experts=128))
    assert swa == int(full * RATIO)


def test_another_models_experts_are_left_alone(pools):
    fix = SwaRatio([])
    full, swa = pools(fix, owner("MixtralForCausalLM", experts=8))
    assert (swa, fix.uses) == (int(full * 0.8), 0)
