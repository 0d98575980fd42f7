"""Gemma-4's shapes as config.json, by tables."""

from __future__ import annotations

import json

import pytest

from triage.errors import LabError
from triage.lab.server import shapes

# hidden, layers, full layers, query heads, KV heads (sliding, full), window, shared, experts
PUBLISHED = {
    "E2B": (1536, 35, 7, 8, (1, 1), 512, 20, None),
    "E4B": (2560, 42, 7, 8, (2, 2), 512, 18, None),
    "26B-A4B": (2816, 30, 5, 16, (8, 2), 1024, 0, 128),
    "31B": (5376, 60, 10, 32, (16, 4), 1024, 0, None),
}


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_true_shape_has_the_published_dimensions_and_no_weights(tmp_path, name):
    folder = shapes.write_model(tmp_path / "model", name, small=False)
    config = config_of(folder)
    hidden, layers, full, q_heads, kv_heads, window, shared, experts = PUBLISHED[name]
    assert config["architectures"] == ["Gemma4ForCausalLM"]
    assert (config["hidden_size"], config["num_hidden_layers"]) == (hidden, layers)
    assert config["layer_types"].count("full_attention") == full
    assert config["layer_types"][-1] == "full_attention"
    assert config["num_attention_heads"] == q_heads
    assert (config["swa_num_key_value_heads"], config["num_key_value_heads"]) == kv_heads
    assert (config["swa_head_dim"], config["head_dim"]) == (256, 512)
    assert (config["swa_v_head_dim"], config["v_head_dim"]) == (256, 512)
    assert (config["sliding_window"], config["num_kv_shared_layers"]) == (window, shared)
    assert config["num_experts"] == experts
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_head_limit_changes_the_full_layers_heads_alone_and_is_said(tmp_path, name):
    true = config_of(shapes.write_model(tmp_path / "true", name, small=False))
    limited = config_of(shapes.write_model(tmp_path / "256", name, small=False, head_dim_limit=256))
    differ = {key for key in true if true[key] != limited[key]}
    assert differ == {"head_dim", "global_head_dim", "v_head_dim"}
    said = shapes.notes(name, assistant=False, head_dim_limit=256)
    assert said and "global_head_dim is 256 instead of 512" in said[0]
    assert shapes.notes(name, assistant=False, head_dim_limit=None) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_assistant_reads_what_its_target_wrote(name):
    # Its layers read the target's keys and values: heads, sizes and window must be the target's.
    shape = shapes.find(name)
    target, assistant = shapes.target_config(shape), shapes.assistant_config(shape)
    text = assistant["text_config"]
    assert assistant["backbone_hidden_size"] == target["hidden_size"]
    assert text["vocab_size"] == target["vocab_size"]
    assert (text["head_dim"], text["global_head_dim"]) == (256, 512)
    assert text["num_key_value_heads"] == target["swa_num_key_value_heads"]
    assert text["num_global_key_value_heads"] == target["num_key_value_heads"]
    assert text["sliding_window"] == target["sliding_window"]
    assert text["layer_types"] == ["sliding_attention"] * 3 + ["full_attention"]
    for heads in shape.kv_heads:
        assert text["num_attention_heads"] % heads == 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_small_shape_keeps_what_decides_addresses(name):
    true, small = shapes.find(name), shapes.shrunk(shapes.find(name))
    for kept in ("q_heads", "kv_heads", "head_dim", "window", "full_every", "k_eq_v"):
        assert getattr(small, kept) == getattr(true, kept)
    assert bool(small.kv_shared) == bool(true.kv_shared)
    assert bool(small.experts) == bool(true.experts)
    assert bool(small.per_layer) == bool(true.per_layer)
    # layers that share keys and values find both kinds among those before them
    before = small.layer_types[: small.layers - small.kv_shared]
    assert {"sliding_attention", "full_attention"} == set(before)


@pytest.mark.parametrize(
    ("name", "billions"), [("E2B", 4.6), ("E4B", 7.5), ("26B-A4B", 25.2), ("31B", 30.7)]
)
def test_the_guess_of_the_weights_is_near_the_published_size(name, billions):
    assert shapes.parameters(shapes.find(name)) / 1e9 == pytest.approx(billions, rel=0.05)


def test_the_pools_are_sized_by_all_layers_as_sglang_does():
    # E4B: 35 sliding layers (2 heads of 256) and 7 full (2 heads of 512), 18 of them share
    pools = shapes.pool_bytes(shapes.find("E4B"), full_tokens=1000, swa_ratio=0.5)
    assert pools == 4 * (35 * 500 * 2 * 256 + 7 * 1000 * 2 * 512)


@pytest.mark.parametrize("name", ["e4b", "E4B", "gemma-4-E4B", "gemma-4-26B", "26b-a4b"])
def test_a_shape_is_found_by_any_of_its_names(name):
    assert shapes.find(name).name in ("E4B", "26B-A4B")


def test_an_unknown_shape_is_refused_with_those_that_are_known():
    with pytest.raises(LabError, match=r"no shape 'E8B' .*known: E2B, E4B, 26B-A4B, 31B"):
        shapes.find("E8B")
