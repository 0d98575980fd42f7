"""What is set in the environment and will have no effect is said, not ignored."""

from __future__ import annotations

import pytest

from triage import config


def test_a_mode_without_the_switch_is_answered():
    found = config.warnings({config.MODE: "contain"})

    assert found == [
        "SGLANG_TRTLLM_MHA_DEBUG_MODE='contain' has no effect: "
        "the traps are armed by SGLANG_TRTLLM_MHA_DEBUG=1 only"
    ]
    assert config.warnings({config.MODE: "contain", config.DEBUG: "1"}) == []
    assert len(config.warnings({config.MODE: "contain", config.DEBUG: "0"})) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SGLANG_TRTLM_MHA_DEBUG", config.DEBUG),
        ("SGLANG_TRTLLM_MHA_DEBUGG", config.DEBUG),
        ("SGLANG_TRTLLM_MAH_DEBUG", config.DEBUG),
        ("SGLANG_TRTLLM_MHA_DEBIG", config.DEBUG),
        ("SGLANG_TRIAGE_FIXE", config.FIXES),
        ("SGLANG_TRIAG_FIXES", config.FIXES),
    ],
    ids=["a letter less", "a letter more", "two swapped", "one changed", "last", "prefix"],
)
def test_a_name_one_letter_away_from_ours_is_answered(name, meant):
    (found,) = config.warnings({name: "1"})
    assert found == f"{name}='1' has no effect: is {meant} meant?"


@pytest.mark.parametrize("name", ["PATH", "SGLANG_TRTLLM_MHA_BUG", "SGLANG_TRIAGE", "", "S"])
def test_other_names_are_nobodys_business(name):
    assert config.warnings({name: "1"}) == []


def test_our_own_names_are_no_mistakes_for_each_other():
    armed = {name: "1" for name in config._FOR_USERS}
    assert config.warnings(armed) == []
