"""The seeded weights: SGLang's loader takes every one, and one wrong page changes the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests import prepared
from triage.lab import bootstrap, versions
from triage.lab.server import checkpoint, shapes

CHILD = Path(__file__).with_name("loader_child.py")


@pytest.mark.parametrize("release", ["0.5.14", pytest.param("0.5.18", marks=pytest.mark.slow)])
def test_sglangs_own_loader_takes_every_tensor_and_misses_none(tmp_path, release):
    if release not in versions.available():
        pytest.skip(f"SGLang {release} is not unpacked here")
    done = prepared.python(CHILD, tmp_path, "E4B", "26B-A4B", version=release)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [one["model"] for one in found] == [
        f"{shape} {what}" for shape in ("E4B", "26B-A4B") for what in ("target", "assistant")
    ]
    for one in found:
        assert one["ignored"] == [], one["model"]
        assert one["not set"] == [], one["model"]
        assert one["parameters"] > 40
        assert one["head_dims"] == [256, 512]  # SGLang reads both sizes from our fields


@pytest.mark.parametrize("release", ["0.5.14", pytest.param("0.5.18", marks=pytest.mark.slow)])
def test_sglang_loads_the_laguna_and_gives_it_two_pools(tmp_path, release):
    if release not in versions.available():
        pytest.skip(f"SGLang {release} is not unpacked here")
    done = prepared.python(CHILD, tmp_path, "laguna", version=release)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    assert found["ignored"] == [] and found["not set"] == []
    assert found["head_dims"] == [128]
    # THEN SGLang keeps an SWA pool for it, with three of four layers
    assert found["hybrid"] and found["sliding"] == [0, 1, 2, 4, 5, 6] and found["full"] == [3, 7]


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    config = shapes.assistant_config(shapes.shrunk(shapes.find("E2B")))
    written = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        path = checkpoint.write_checkpoint(tmp_path / name, config, seed=seed)
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


PAGE, PROMPT_PAGES, TOKENS = 64, 5, 16


def test_one_foreign_page_of_keys_and_values_changes_most_tokens(tmp_path):
    # GIVEN transformers' own Gemma-4 with our weights, two prompts of five pages in its cache
    model = transformers_model(tmp_path)
    draw = torch.Generator().manual_seed(1)
    prompts = torch.randint(10, 4090, (2, PAGE * PROMPT_PAGES), generator=draw)
    sound, fed = greedy(model, prompts)
    # WHEN one page of the first is replaced by the second's, and the sound tokens are fed
    wrong, _ = greedy(model, prompts, exchange=2, feed=fed)
    # THEN most of the tokens that follow differ
    changed = sum(ours != theirs for ours, theirs in zip(sound, wrong, strict=True))
    assert changed >= TOKENS * 2 // 3, f"{changed} of {TOKENS} tokens changed"
    # and the model has something to say: hardly a token comes twice
    assert len(set(sound)) >= TOKENS * 3 // 4


def transformers_model(directory: Path):
    """Hugging Face's Gemma-4 in float32, reading the config and weights that SGLang reads."""
    bootstrap.stand_in_for_torchvision()
    from safetensors.torch import load_file
    from transformers import Gemma4TextConfig
    from transformers.models.gemma4.modeling_gemma4 import Gemma4ForCausalLM

    folder = shapes.write_model(directory, "E4B", small=True)
    config = json.loads((folder / "config.json").read_text())
    swa = {name: config.pop(name) for name in list(config) if name.startswith("swa_")}
    config.pop("v_head_dim")
    # Its base fields are those of sliding layers, as in the published config.json.
    config["head_dim"] = swa["swa_head_dim"]
    config["num_key_value_heads"] = swa["swa_num_key_value_heads"]
    model = Gemma4ForCausalLM(Gemma4TextConfig(**config)).eval()
    weights = {
        name: value.float() for name, value in load_file(folder / "model.safetensors").items()
    }
    absent, unread = model.load_state_dict(weights, strict=False)
    assert absent == ["lm_head.weight"]  # tied to the embedding
    # Projections of layers that share keys and values: SGLang has them, transformers does not.
    assert all(".k_" in name or ".v_" in name for name in unread), unread
    model.tie_weights()
    return model


@torch.no_grad()
def greedy(model, prompts, exchange=None, feed=None):
    """TOKENS greedy tokens of the first row, and what was fed to both rows at each step.

    exchange: this page of the first row's cache becomes the second row's, in every layer.
    """
    out = model(prompts, use_cache=True)
    cache, token = out.past_key_values, out.logits[:, -1].argmax(-1)
    if exchange is not None:
        page = slice(exchange * PAGE, (exchange + 1) * PAGE)
        for layer in cache.layers:
            for entries in (layer.keys, layer.values):
                entries[0, :, page] = entries[1, :, page]
    said, fed = [], []
    for step in range(TOKENS):
        given = token if feed is None else feed[step]
        fed.append(given)
        out = model(given[:, None], past_key_values=cache, use_cache=True)
        cache, token = out.past_key_values, out.logits[:, -1].argmax(-1)
        said.append(int(token[0]))
    return said, fed
