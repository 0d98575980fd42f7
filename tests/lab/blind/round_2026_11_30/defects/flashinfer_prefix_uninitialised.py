"""FlashInfer's paged wrapper reads, next to the ragged one, slots of the extend tokens not written yet."""

from contextlib import contextmanager

from triage.lab.patching import replaced

NAME = "flashinfer_prefix_uninitialised"
REFERENCE = "https://github.com/sgl-project/sglang/pull/26513"
SUBSYSTEM = "flashinfer backend (sliding window, prefix)"
WHAT = (
    "update_sliding_window plans the paged wrapper over window + extend tokens although, with the ragged wrapper, the"
    " extend tokens' KV is written only after it has run: it reads stale slots of earlier owners."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The sliding paged wrapper's kv range goes past the prefix: it reads KV slots that have not been written yet.",
    "keywords": ["not been written", "unwritten", "not written", "past the prefix", "uninitialised", "stale", "length", "prefix"],
}
WORKLOAD = {
    "backend": "flashinfer",
    "draft": "none",
    "cache": "swa-radix",
    "requests": 4,
    "prompt_tokens": 100,
    "output_tokens": 12,
    "chunk": 32,
}


def edited(function, *pairs):
    """The released function with a few of its lines put back to their earlier form."""
    import __future__
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(function))
    for released, earlier in pairs:
        assert source.count(released) == 1, (source.count(released), released)
        source = source.replace(released, earlier)
    scope = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__} before the fix>", "exec", flags, True), function.__globals__, scope)
    return scope[function.__name__]


@contextmanager
def plant(harmed):
    from sglang.srt.layers.attention.flashinfer_backend import FlashInferIndicesUpdaterPrefill

    def make(original):
        earlier = edited(
            original,
            ("    if wrapper_id == 0:\n            if use_ragged:", "    if wrapper_id == 0:\n            if False:"),
        )

        def update_sliding_window(self, req_pool_indices, seq_lens, seq_lens_cpu, seq_lens_sum, prefix_lens, *args, **more):
            use_ragged = args[1] if len(args) > 1 else more["use_ragged"]
            if use_ragged and prefix_lens is not None and (prefix_lens > 0).any():
                harmed(f"lengths {seq_lens.tolist()} are read, only prefixes {prefix_lens.tolist()} are written")
            return earlier(self, req_pool_indices, seq_lens, seq_lens_cpu, seq_lens_sum, prefix_lens, *args, **more)

        return update_sliding_window

    with replaced(FlashInferIndicesUpdaterPrefill, "update_sliding_window", make):
        yield


def drive(lab):
    bench = lab.bench()
    bench.runtime.target_backend.is_multimodal = False  # a text model: the ragged wrapper is used beside the paged one
    bench.driver.run(lambda done, total: None)
    lab.step()
