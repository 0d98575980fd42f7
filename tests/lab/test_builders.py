"""SGLang's Triton and FA3 metadata builders, driven by the lab's scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main

CHILD = Path(__file__).with_name("builders_child.py")


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Every case in one process of its own: SGLang's hooks stay bound."""
    directory = tmp_path_factory.mktemp("dumps")
    done = prepared.python(CHILD, directory, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", ["triton", "fa3"])
@pytest.mark.parametrize("which", ["", ", page 1"], ids=["draft and verify", "page size 1"])
def test_a_sound_builder_is_silent(played, backend, which):
    seen = played[f"{backend}{which}"]
    assert seen["trapped"] is None and seen["first wrong"] is None and seen["books"] is None
    assert seen["launches"] > 50 and seen["judged"] > 10


@pytest.mark.parametrize(
    ("backend", "tensor"), [("triton", "window_kv_indices"), ("fa3", "block_tables")]
)
def test_full_pool_ids_in_the_window_are_stopped_at_the_first_wrong_launch(played, backend, tensor):
    # GIVEN a builder that leaves full-pool ids in what the sliding layers read
    # THEN the trap names the identity, the pool and the tensor that holds them
    assert played[f"{backend}, defect"]["trapped"] == ["I2", "swa", tensor]
    # AND it stands before the launch at which the lab's oracle sees the first wrong id
    before = played[f"{backend}, defect"]["launches"]
    assert played[f"{backend}, defect, no trap"]["first wrong"] == before + 1


def test_the_defect_of_trtllm_mha_leaves_triton_sound(played):
    seen = played["triton, defect of trtllm_mha"]
    assert seen["trapped"] is None and seen["first wrong"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("smoke", "--backend", "fa3"), "fa3 with a frozen-KV draft is served by no SGLang"),
        (("smoke", "--reinject", "full-ids-in-window"), "--backend triton or fa3"),
        (("smoke", "--backend", "fa2"), "'fa2' is not one of"),
    ],
)
def test_what_no_server_would_run_is_refused_with_the_reason(arguments, says, tmp_path):
    answer = CliRunner().invoke(main, ["lab", "run", *arguments, "--dir", str(tmp_path)])
    assert answer.exit_code == 2
    assert says in answer.output
