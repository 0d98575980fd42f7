"""The SWA pool shrinks for Gemma-4 MoE only, and only where the user set no ratio."""

from __future__ import annotations

import pytest

from triage.config import SWA_RATIO_CHOSEN
from triage.sglang.fixes.swa_ratio import RATIO, SwaRatio
from triage.verify.stand_ins import pool_owner, pool_sizes


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    monkeypatch.setenv(SWA_RATIO_CHOSEN, "0")


def owner(architecture, *, experts, ratio=None):
    return pool_owner(architecture, experts, ratio)


@pytest.fixture
def pools(bind):
    """`pools(fix, owner)` -> (full, SWA) tokens by SGLang's own configurator, fix bound."""

    def sizes(fix, of):
        bind(fix)
        return pool_sizes(of)

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
