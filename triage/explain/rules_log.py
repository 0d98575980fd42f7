"""From an exception that a log tells to a class of defect, where its place and sizes tell it.

Here is no launch and no release: the innermost functions of SGLang and the values of the
message are all there is. A class is named only where no other known defect ends at that place
with such values; any other exception stays unknown.
"""

from __future__ import annotations

from triage.dump.observation import Failure, Observation
from triage.explain.cause import Cause, Confidence

_REPLAYS_A_DRAFT = ("frozen_kv_mtp_worker_v2.py", "_init_frozen_kv_metadata_replay_cuda_graph")
_FILLS_SLOTS = (
    ("trtllm_mha_backend.py", "init_forward_metadata_out_graph"),
    ("flashinfer_backend.py", "init_forward_metadata_out_graph"),
)


def told_by_a_log(seen: Observation) -> Cause | None:
    """The class of the exception `seen`, None where its place and values tell none."""
    if seen.failure is not Failure.EXCEPTION or seen.values.get("type") != "RuntimeError":
        return None
    return _prefill_slots_in_a_draft(seen)


def _prefill_slots_in_a_draft(seen: Observation) -> Cause | None:
    places = [_place(frame) for frame in seen.values.get("frames") or ()]
    sizes = list(seen.values.get("sizes") or ())
    if _REPLAYS_A_DRAFT not in places[:-1] or places[-1] not in _FILLS_SLOTS or len(sizes) != 2:
        return None
    room, slots = sizes
    if slots <= room:
        return None
    return Cause(
        key="draft-carries-prefill-slots",
        name="a frozen-KV draft's batch still names the slots of its prefill, more than its "
        "largest graph has requests",
        confidence=Confidence.HIGH,
        evidence=(
            f"a draft's graph is made ready, and {slots} slots to write to are copied into "
            f"the {room} of its largest graph",
            "a frozen-KV draft writes nothing: no slots of its own stand there",
        ),
        refuted_by=("SGLang 0.5.15.post1 or later, whose draft's batch names no slots",),
        fix="SGLANG_TRIAGE_FIXES=slotless-draft, or SGLang 0.5.15.post1 and later",
        links=("https://github.com/sgl-project/sglang/pull/29616",),
    )


def _place(frame: str) -> tuple[str, str]:
    """(file, function) of `path/file.py:line function`, without folder and line."""
    path, _, function = frame.rpartition(" ")
    return path.rpartition(":")[0].rpartition("/")[2], function
