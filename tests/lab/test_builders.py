"""SGLang's Triton, FA3 and FlashInfer metadata builders, driven by the lab's scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests import prepared
from triage.cli import main
from triage.dump.file import read_dump

CHILD = Path(__file__).with_name("builders_child.py")
BACKENDS = ("triton", "fa3", "flashinfer")


@pytest.fixture(scope="module", params=["raise", "contain"])
def played(request, tmp_path_factory):
    """Every case in one process of its own: SGLang's hooks stay bound."""
    directory = tmp_path_factory.mktemp("dumps")
    done = prepared.python(CHILD, directory, request.param, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return {"mode": request.param, **json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("which", ["", ", page 1"], ids=["draft and verify", "page size 1"])
def test_a_sound_builder_is_silent(played, backend, which):
    # WHEN prefill, decode, verify and a draft's steps run under a server's traps
    seen = played[f"{backend}{which}"]
    assert seen["trapped"] is None and seen["first wrong"] is None and seen["audit"] is None
    # THEN every forward was judged, identity included, once for all layers of an index space
    assert seen["launches"] > 50 and 10 < seen["judged"] < seen["launches"] / 2
    assert seen["not covered"] == 0 and seen["not identified"] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_full_pool_ids_in_the_window_are_stopped_at_the_first_wrong_launch(played, backend):
    # GIVEN a builder that leaves full-pool ids in what the sliding layers read
    seen, untrapped = played[f"{backend}, defect"], played[f"{backend}, defect, no trap"]
    # THEN the trap names the identity and the pool
    assert seen["trapped"][:2] == ["I2", "swa"]
    if played["mode"] == "raise":
        # AND stands before the launch at which the lab's oracle sees the first wrong id
        assert untrapped["first wrong"] == seen["launches"] + 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_dump_of_such_a_launch_explains_and_replays(played, backend):
    if played["mode"] != "raise":
        pytest.skip("mode contain has the offenders, and no table of slots")
    path = played[f"{backend}, defect"]["dump"]
    # THEN the explanation is right
    told = CliRunner().invoke(main, ["explain", path])
    assert "full-pool ids in an SWA layer" in told.output
    # AND a kernel over the recorded tables reads what it should not
    replayed = CliRunner().invoke(main, ["replay", path, "--kernel", "triton"])
    assert replayed.exit_code == 1 and "triton     REPRODUCED" in replayed.output
    assert read_dump(Path(path)).fault.invariant == "I2"


def test_the_defect_of_trtllm_mha_leaves_triton_sound(played):
    seen = played["triton, defect of trtllm_mha"]
    assert seen["trapped"] is None and seen["first wrong"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("smoke", "--backend", "fa3"), "fa3 with a frozen-KV draft is served by no SGLang"),
        (("smoke", "--reinject", "full-ids-in-window"), "--backend triton or fa3"),
        (("smoke", "--backend", "flashinfer"), "drives flashinfer without a draft"),
        (("smoke", "--backend", "fa2"), "'fa2' is not one of"),
    ],
)
def test_what_no_server_would_run_is_refused_with_the_reason(arguments, says, tmp_path):
    answer = CliRunner().invoke(main, ["lab", "run", *arguments, "--dir", str(tmp_path)])
    assert answer.exit_code == 2
    assert says in answer.output
