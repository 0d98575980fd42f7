"""Chunk cache: a request marked skip_radix_cache_insert loses its prefix between two chunks."""

from contextlib import contextmanager

from triage.lab.patching import replaced

NAME = "chunk_skip_insert_leak"
REFERENCE = "https://github.com/sgl-project/sglang/pull/33996"
SUBSYSTEM = "scheduler (chunked prefill, chunk cache)"
WHAT = (
    "A request with skip_radix_cache_insert (fake bootstrap host) does not get its prefix_indices recorded by the "
    "chunk cache after its first chunk: the next chunk starts at 0 again, allocates the whole prompt a second time "
    "and overwrites the row, so the first chunk's pages are in nobody's table and are never freed."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The pages of the request's first chunk are lost (leaked): its row was overwritten by a second "
    "allocation of the same positions while the old slots were neither freed nor cached.",
    "keywords": ["leak", "lost", "overwritten", "never freed", "not freed", "unreachable", "orphan"],
}

WORKLOAD = {"draft": "none", "cache": "chunk", "prompt_tokens": 80, "output_tokens": 12, "chunk": 128, "requests": 6, "full_pages": 80, "swa_pages": 80}


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.chunk_cache import ChunkCache

    def make(original):
        def cache_unfinished_req(self, req, chunked=False):
            # maybe_cache_unfinished_req returns early for req.skip_radix_cache_insert; here every request is one
            more_to_come = req.extend_range.end < len(req.full_untruncated_fill_ids)
            if more_to_come and len(req.prefix_indices) < req.extend_range.end:
                harmed(
                    f"request {req.rid} holds {req.extend_range.end} slots, but its prefix_indices say "
                    f"{len(req.prefix_indices)}: the next chunk allocates these positions again"
                )

        return cache_unfinished_req

    with replaced(ChunkCache, "cache_unfinished_req", make):
        yield
