"""Which flags a GPU needs, by table, and that SGLang's own parser knows them."""

from __future__ import annotations

import pytest

from tests import prepared
from triage.errors import LabError
from triage.lab import versions
from triage.lab.server import flags


def attention_of(capability, **more):
    chosen = flags.choose(capability, mtp=True, draft_path="/draft", **more)
    return {flag.name: flag.value for flag in chosen if "attention" in flag.name}


@pytest.mark.parametrize("capability", [(10, 0), (10, 3)])
def test_trtllm_gen_runs_every_forward_where_it_exists(capability):
    assert attention_of(capability) == {"--attention-backend": "trtllm_mha"}


@pytest.mark.parametrize("capability", [(9, 0), (12, 0), (12, 1)])
def test_elsewhere_triton_prefills_and_xqa_decodes_and_drafts(capability):
    assert attention_of(capability) == {
        "--prefill-attention-backend": "triton",
        "--decode-attention-backend": "trtllm_mha",
        "--speculative-draft-attention-backend": "trtllm_mha",
    }


def test_triton_runs_everything_on_any_gpu_if_asked_for():
    assert attention_of((7, 5), attention="triton") == {"--attention-backend": "triton"}


def test_flashinfers_own_backend_runs_everything_of_another_model():
    chosen = attention_of((9, 0), attention=flags.FLASHINFER)
    assert chosen == {"--attention-backend": "flashinfer"}


@pytest.mark.parametrize(
    ("capability", "attention", "flashinfer", "limit"),
    [
        ((9, 0), "trtllm_mha", "0.6.12", 256),
        ((9, 0), "trtllm_mha", None, 256),
        ((12, 0), "trtllm_mha", "0.7.1", 256),
        ((12, 0), "trtllm_mha", "0.7.2", None),
        ((9, 0), "triton", "0.6.12", None),
        ((10, 0), "trtllm_mha", "0.6.12", None),
    ],
)
def test_heads_are_limited_where_xqa_takes_no_larger_ones(capability, attention, flashinfer, limit):
    assert flags.head_dim_limit(capability, attention, flashinfer) == limit


def test_what_the_user_gives_wins_in_every_spelling():
    chosen = flags.choose((9, 0), mtp=False)
    given = ["--page-size=32", "--attention-backend", "triton", "--disable-cuda-graph"]
    line = flags.command_line(chosen, given)
    assert line[-4:] == given
    assert "--page-size" not in line
    assert "--decode-attention-backend" not in line
    assert {flag.name for flag in flags.replaced(chosen, given)} == {
        "--page-size",
        "--prefill-attention-backend",
        "--decode-attention-backend",
    }


def test_a_flag_of_ours_is_left_out_and_one_that_is_not_ours_is_told():
    chosen = flags.choose((9, 0), mtp=True)
    name = "--speculative-draft-attention-backend"
    left = flags.without(chosen, [name])
    assert [flag for flag in chosen if flag.name != name] == left != chosen
    with pytest.raises(LabError, match=r"cannot leave out '--page-sizes' \(did you mean"):
        flags.without(chosen, ["--page-sizes"])


def test_every_flag_has_a_reason_and_true_sizes_are_served_with_dummy_weights():
    for mtp in (False, True):
        chosen = flags.choose((9, 0), mtp=mtp, small=False)
        assert all(flag.why for flag in chosen)
        assert flags.Flag("--load-format", "dummy", "there are no weights of this size") in chosen
    assert "--load-format" not in {flag.name for flag in flags.choose((9, 0), mtp=True)}


def test_other_gpus_and_backends_are_refused_with_those_that_would_do():
    with pytest.raises(LabError, match=r"does not run on sm_89 \(it does on sm_100, sm_103, sm_90"):
        flags.choose((8, 9), mtp=False)
    with pytest.raises(LabError, match="no attention backend 'fa3'; known: trtllm_mha, triton"):
        flags.choose((9, 0), mtp=False, attention="fa3")


@pytest.mark.parametrize("release", ["0.5.12.post1", "0.5.23"])
def test_sglangs_own_parser_knows_every_flag(release):
    if release not in versions.available():
        pytest.skip(f"SGLang {release} is not unpacked here")
    chosen = flags.choose((9, 0), mtp=True, draft_path="/d", small=False, sglang=release)
    line = flags.command_line(chosen, ["--model-path", "/m"])
    done = prepared.python("-m", "triage.lab.server_flags", "--server", *line, version=release)
    assert done.returncode == 0, done.stdout + done.stderr
