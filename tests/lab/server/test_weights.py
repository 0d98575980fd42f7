"""Real weights in the place of a made model, and plans for a GPU that is not here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.errors import LabError
from triage.lab.server.machine import CannotServe, elsewhere
from triage.lab.server.session import Wish, plan


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(1000))
    return folder


def test_a_checkpoint_is_served_as_it_is_and_nothing_is_made(checkpoint, tmp_path):
    found = plan(
        Wish("E4B", tmp_path, mtp=True, weights=checkpoint, draft_weights=checkpoint),
        elsewhere("sm_100"),
    )

    assert found.model == found.draft == checkpoint
    words = found.server_flags
    assert words[words.index("--speculative-draft-model-path") + 1] == str(checkpoint)
    assert "--load-format" not in words
    assert str(checkpoint) in found.sentences()[0]
    assert not found.notes


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"small": True}, "leave it out"),
        ({"mtp": True}, "--draft-weights PATH"),
        ({"weights": Path("/nowhere")}, "/nowhere holds no config.json"),
        ({"weights": None, "draft_weights": Path("/nowhere")}, "without --weights"),
    ],
    ids=["small", "no draft", "no checkpoint", "a draft alone"],
)
def test_weights_that_cannot_be_served_are_refused_in_one_sentence(
    checkpoint, tmp_path, wish, reason
):
    with pytest.raises(LabError, match=reason):
        plan(Wish("E4B", tmp_path, **{"weights": checkpoint, **wish}), elsewhere("sm_100"))


def test_memory_is_asked_for_the_files_of_a_checkpoint(checkpoint, tmp_path):
    here = elsewhere("sm_90")
    gpu = here.gpu.__class__("small", (9, 0), 2**30, 2**30)
    full = here.__class__(gpu, here.sglang, here.flashinfer)
    asked = {}
    for name, weights in (("files", checkpoint), ("made", None)):
        with pytest.raises(CannotServe) as refused:
            plan(Wish("E4B", tmp_path, weights=weights), full)
        asked[name] = float(re.search(r"needs about ([\d.]+)", str(refused.value))[1])
    # a checkpoint of a kilobyte leaves what every server needs beside it
    assert 1 < asked["files"] < asked["made"] - 5


@pytest.mark.parametrize("arch", ["90", "sm_x", "sm_", "gfx942"])
def test_an_architecture_that_is_none_is_refused(arch):
    with pytest.raises(LabError, match="is no GPU architecture"):
        elsewhere(arch)


def test_a_plan_for_another_gpu_starts_nothing():
    ran = CliRunner().invoke(main, ["lab", "serve", "E4B", "--arch", "sm_100"])
    assert ran.exit_code == 2
    assert "only with --dry-run" in ran.output

    ran = CliRunner().invoke(
        main, ["lab", "serve", "E4B", "--small", "--arch", "sm_100", "--dry-run"]
    )
    assert ran.exit_code == 0
    assert "trtllm-gen runs every forward on sm_100" in ran.output
