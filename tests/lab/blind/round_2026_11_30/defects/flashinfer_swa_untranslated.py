"""FlashInfer's sliding wrapper is planned with full-pool indices."""

from contextlib import ExitStack, contextmanager

from triage.lab.patching import replaced

NAME = "flashinfer_swa_untranslated"
REFERENCE = "https://github.com/sgl-project/sglang/pull/27737"
SUBSYSTEM = "flashinfer backend"
WHAT = (
    "FlashInfer decides by the wrong object (allocator type instead of the active KV pool) whether to translate, and"
    " plans the sliding-window wrapper with full-pool KV indices."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The sliding wrapper's kv_indices are full-pool slots, not SWA slots: sliding layers read other requests' KV.",
    "keywords": ["swa", "kv_indices", "translate", "full", "wrong slot", "index space"],
}
WORKLOAD = {"backend": "flashinfer", "draft": "none", "requests": 4, "prompt_tokens": 90, "output_tokens": 40}


@contextmanager
def plant(harmed):
    from sglang.srt.layers.attention import flashinfer_backend as module

    def make(original):
        def call_begin_forward(self, *args, **more):
            if more.get("use_sliding_window_kv_pool", False):
                more["use_sliding_window_kv_pool"] = False
                harmed("the sliding wrapper is planned with full-pool slots")
            return original(self, *args, **more)

        return call_begin_forward

    with ExitStack() as stack:
        stack.enter_context(replaced(module.FlashInferIndicesUpdaterDecode, "call_begin_forward", make))
        stack.enter_context(replaced(module.FlashInferIndicesUpdaterPrefill, "call_begin_forward", make))
        yield
