"""FA3's SWA page table is translated from page ids instead of from slots."""

from contextlib import contextmanager

import torch
from triage.lab.patching import replaced

NAME = "fa3_swa_page_ids"
REFERENCE = "https://github.com/sgl-project/sglang/pull/16267"
SUBSYSTEM = "fa3 backend"
WHAT = "With page_size > 1 the full-to-SWA mapping, which is by slot, is indexed with the page ids of the page table."
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "The sliding layers' page table holds wrong SWA pages: the mapping was looked up with page ids, not slots.",
    "keywords": ["swa", "page table", "page id", "translate", "mapping", "wrong page"],
}
WORKLOAD = {"backend": "fa3", "draft": "none", "requests": 4, "prompt_tokens": 90, "output_tokens": 40}


@contextmanager
def plant(harmed):
    from sglang.srt.layers.attention.flashattention_backend import FlashAttentionBackend

    def make(original):
        def init_forward_metadata(self, forward_batch):
            original(self, forward_batch)
            metadata = self.forward_metadata
            if self.page_size > 1 and metadata.swa_page_table is not None:
                right = metadata.swa_page_table
                wrong = self.token_to_kv_pool.translate_loc_from_full_to_swa(metadata.page_table).to(torch.int32)
                metadata.swa_page_table = wrong
                for row, length in enumerate(metadata.cache_seqlens_int32.tolist()):
                    pages = -(-length // self.page_size)
                    if not torch.equal(wrong[row, :pages], right[row, :pages]):
                        harmed(f"row {row}: SWA pages {wrong[row, :pages].tolist()}, right {right[row, :pages].tolist()}")

        return init_forward_metadata

    with replaced(FlashAttentionBackend, "init_forward_metadata", make):
        yield
