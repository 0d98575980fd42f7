"""Which launches the page-table checks see on a GPU, with a server's flags."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from triage.sglang.launch.coverage import not_checked, served, served_by, uncovered

MTP = ("--speculative-algorithm", "EAGLE")


def seen(flags: tuple[str, ...], arch: str) -> dict[str, bool]:
    return {each.kind: each.seen for each in served(flags, arch).launches}


@pytest.mark.parametrize("arch", ["sm_100", "sm_103"])
def test_on_blackwell_every_launch_is_seen(arch):
    assert all(seen((), arch).values())


def test_on_hopper_prefill_and_target_verify_run_through_triton_and_are_seen():
    served_by_kind = {each.kind: each.backend for each in served((), "sm_90").launches}
    assert served_by_kind == {
        "prefill": "triton",
        "decode": "trtllm_mha",
        "target verify": "triton",
        "draft decode": "trtllm_mha",
        "draft extend": "triton",
    }
    assert all(seen((), "sm_90").values())


@pytest.mark.parametrize("backend", ["trtllm_mha", "triton", "fa3", "fa4", "flashinfer"])
def test_the_backends_that_hooks_stand_at_are_seen_and_no_other(backend):
    assert all(seen(("--attention-backend", backend), "sm_100").values())
    assert not any(seen(("--attention-backend", "torch_native"), "sm_100").values())


def test_flags_that_sglang_refuses_on_this_gpu_are_said_to_be():
    flags = ("--attention-backend", "trtllm_mha")
    assert "trtllm_mha for prefill on sm_90" in served(flags, "sm_90").refused
    assert "trtllm_mha for prefill on sm_80" in served(flags, "sm_80").refused
    assert not served(flags, "sm_100").refused and not served((), "sm_90").refused
    mixed = ("--prefill-attention-backend", "triton", "--decode-attention-backend", "trtllm_mha")
    assert not served(mixed, "sm_90").refused and not served(flags, "unknown").refused


def test_the_flags_decide_where_they_say_something():
    flags = ("--attention-backend", "aiter", *MTP, "--speculative-draft-attention-backend=fa3")
    found = seen(flags, "sm_100")
    assert not found["prefill"] and not found["target verify"] and found["draft extend"]
    assert served(flags, "sm_100").launches[-1].backend == "fa3"

    flags = (
        "--decode-attention-backend",
        "trtllm_mha",
        *MTP,
        "--speculative-attention-mode=decode",
    )
    assert seen(flags, "sm_90")["target verify"]


def test_a_server_without_a_draft_has_no_draft_launches():
    assert list(seen(("--attention-backend", "trtllm_mha"), "sm_100")) == ["prefill", "decode"]


def test_flags_that_are_sglangs_own_business_are_passed_over():
    found = served(("--port", "1", "--disable-cuda-graph", "--model-path", "m"), "sm_100")
    assert not found.graphs
    assert found.assumed


def test_what_waits_for_the_device_is_left_out_but_in_mode_raise():
    enabled = frozenset({"I1", "I9", "I10", "I11"})
    reads = frozenset({"I9", "I10"})

    assert not_checked("raise", enabled, reads) == ([], ["I9", "I11"])
    assert not_checked("contain", enabled, reads) == (["I9", "I10"], ["I11"])


def test_a_running_server_says_each_launch_and_check_that_its_mode_leaves_out():
    # GIVEN the resolved flags of a server whose prefill and verify go to a backend unknown to us
    flags = SimpleNamespace(
        attention_backend=None,
        prefill_attention_backend="aiter",
        decode_attention_backend="trtllm_mha",
        speculative_algorithm="FROZEN_KV_MTP",
        speculative_attention_mode="prefill",
        speculative_draft_attention_backend="trtllm_mha",
        disable_cuda_graph=False,
    )
    enabled = frozenset({"I1", "I9", "I10"})
    said = uncovered(served_by(flags, "sm_90"), "raise", enabled, frozenset({"I9", "I10"}))
    # THEN the launches that pass us by are named with who serves them, and so is I9 in graphs
    assert [sentence.split(":")[0] for sentence in said] == [
        "prefill launches",
        "target verify launches",
        "I9 in CUDA graphs",
    ]
    assert "aiter serves them" in said[1]
    # AND another mode leaves out what would read back
    said = uncovered(served_by(flags, "sm_90"), "contain", enabled, frozenset({"I9", "I10"}))
    assert said[-1] == "I9, I10: mode contain reads nothing back, they would"
    # AND flags that are not known at all are answered from the GPU
    assert uncovered(served_by(None, "sm_100"), "raise", frozenset(), frozenset()) == []


def test_flags_that_build_pools_of_another_class_are_named():
    # GIVEN a server with SGLang's unified pool WHEN its flags are read THEN that flag is named
    assert served(("--enable-unified-memory",), "sm_100").pools == ("--enable-unified-memory",)
    assert served((), "sm_100").pools == ()
