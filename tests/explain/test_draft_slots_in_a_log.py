"""A server that ended on an H200: 128 slots of a prefill for a draft's graph of 32 requests."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner

from triage.cli import main
from triage.explain.cause import Confidence
from triage.explain.together import Input, Report, together
from triage.importers.recognise import read_log

FRAMES = """\
  File "/site/sglang/srt/managers/scheduler.py", line 3199, in run_batch
    batch_result = self.model_worker.forward_batch_generation(
  File "/site/sglang/srt/speculative/frozen_kv_mtp_worker_v2.py", line 451, in draft
    self.cuda_graph_runner.execute(forward_batch)
  File "/site/sglang/srt/speculative/frozen_kv_mtp_cuda_graph_runner.py", line 398, in execute
    self.frozen_kv_mtp_worker._init_frozen_kv_metadata_replay_cuda_graph(
  File "/site/sglang/srt/speculative/frozen_kv_mtp_worker_v2.py", line 351, in \
_init_frozen_kv_metadata_replay_cuda_graph
    self.draft_attn_backend.init_forward_metadata_out_graph(fb_view)
"""
HOOKS = """\
  File "/site/sglang/srt/plugins/hook_registry.py", line 390, in wrapper
    return hook(original_fn, *args, **kwargs)
  File "/site/triage/sglang/binding/shell.py", line 65, in shelled
    return around(call, *args, **kwargs)
  File "/site/triage/sglang/launch/metadata.py", line 52, in around_graph
    result = original(backend, *args, **kwargs)
  File "/site/triage/sglang/binding/shell.py", line 183, in __call__
    result = self.original(*args, **kwargs)
"""
FILL = """\
  File "/site/sglang/srt/layers/attention/trtllm_mha_backend.py", line 645, in \
init_forward_metadata_out_graph
    self.cuda_graph_swa_out_cache_loc[:n].copy_(
"""
ENDS = (
    "RuntimeError: The size of tensor a ({}) must match the size of tensor b ({}) at "
    "non-singleton dimension 0\n"
)


def log(frames: str, room: int = 32, slots: int = 128) -> str:
    head = "[2026-11-30 21:40:55] Scheduler hit an exception: Traceback (most recent call last):\n"
    return head + frames + ENDS.format(room, slots)


def report_of(text: str) -> Report:
    seen = read_log(io.BytesIO(text.encode()), "server.log").observations
    return together([Input("server.log", "a log", observations=seen)])


@pytest.mark.parametrize(
    "frames",
    [FRAMES + FILL, FRAMES + HOOKS + FILL, HOOKS * 16 + FRAMES + HOOKS + FILL],
    ids=["stock", "hooked", "hooked in many places"],
)
def test_it_is_named_by_its_place_and_sizes_with_its_fix(frames):
    report = report_of(log(frames))
    ((_, explained),) = report.explanations
    (cause,) = explained.named
    assert (cause.key, cause.confidence) == ("draft-carries-prefill-slots", Confidence.HIGH)
    assert "128 slots" in cause.evidence[0] and "the 32 of" in cause.evidence[0]
    assert report.status == "named" and not report.missing and not report.next


OTHERS = {
    "fewer slots than room": log(FRAMES + FILL, 128, 32),
    "another backend's metadata": log(FRAMES + FILL.replace("trtllm_mha", "triton")),
    "a target's replay": log(FRAMES.replace("frozen_kv_mtp", "eagle") + FILL),
    "another function of the backend": log(FRAMES + FILL.replace("out_graph", "in_graph")),
    "another dimension": log(FRAMES + FILL).replace("dimension 0", "dimension 1"),
    "another error": log(FRAMES + FILL).replace("RuntimeError", "ValueError"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_any_other_exception_stays_unknown(other):
    report = report_of(OTHERS[other])
    assert report.observations and report.status == "unknown" and not report.explanations


def test_the_command_prints_cause_confidence_and_fix():
    output = CliRunner().invoke(main, ["explain", "-"], input=log(FRAMES + FILL)).output
    assert "an exception that is known: RuntimeError" in output
    assert "(high confidence)" in output and "slotless-draft" in output
    assert "cause unknown" not in output
