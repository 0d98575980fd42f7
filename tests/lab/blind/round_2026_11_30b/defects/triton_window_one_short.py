"""Triton backend: the sliding-window decode buffer is one key short."""

from contextlib import contextmanager

import torch
from triage.lab.patching import replaced

NAME = "triton_window_one_short"
REFERENCE = "https://github.com/sgl-project/sglang/pull/32087"
SUBSYSTEM = "triton backend (sliding-window decode metadata)"
WHAT = (
    "update_sliding_window_buffer caps the decode window at sliding_window_size tokens, but that is a radius (window "
    "- 1, both ends included): each decode step past the window drops the oldest key that the query may still see."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Decode on the sliding layers reads one KV slot too few: sliding_window_size keys instead of "
    "sliding_window_size + 1, the oldest one in the window is missing.",
    "keywords": ["one token short", "one key", "too few", "missing", "oldest", "off by one", "window"],
}

WORKLOAD = {"backend": "triton", "draft": "none", "prompt_tokens": 60, "output_tokens": 16, "requests": 3}


def _decodes():
    """The window builder is asked for a decode batch when the caller's forward mode says so."""
    import sys

    frame = sys._getframe(2)
    while frame is not None:
        batch = frame.f_locals.get("forward_batch")
        if batch is not None and hasattr(batch, "forward_mode"):
            return batch.forward_mode.is_decode_or_idle() and batch.spec_info is None
        frame = frame.f_back
    return False


@contextmanager
def plant(harmed):  # it is in the release as it stands: observe only
    from sglang.srt.layers.attention import triton_backend

    def make(original):
        def update_sliding_window_buffer(indptr, rows, window, seq_lens, *rest, **named):
            result = original(indptr, rows, window, seq_lens, *rest, **named)
            if _decodes():
                short = (result[2] < torch.clamp(seq_lens, max=window + 1)).nonzero()
                if len(short):
                    at = int(short[0])
                    harmed(
                        f"request {at} of the batch, {int(seq_lens[at])} tokens, window radius {window}: "
                        f"{int(result[2][at])} keys are gathered, {window + 1} are in the window"
                    )
            return result

        return update_sliding_window_buffer

    with replaced(triton_backend, "update_sliding_window_buffer", make):
        yield


@contextmanager
def corrected():
    from sglang.srt.layers.attention import triton_backend

    def make(original):
        def update_sliding_window_buffer(indptr, rows, window, seq_lens, *rest, **named):
            return original(indptr, rows, window + bool(_decodes()), seq_lens, *rest, **named)

        return update_sliding_window_buffer

    with replaced(triton_backend, "update_sliding_window_buffer", make):
        yield
