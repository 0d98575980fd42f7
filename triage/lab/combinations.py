"""What a drawn lifecycle may be: the combinations one release can play, known defects left out.

A combination is one combination of draft or prefix cache, page size and backend. Where a
release is known to be wrong (the catalogue has it), the combination or its setting is
left out and said, so that everything the machine reports is news.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

TOKEN_WISE = ("0.5.12.post1", "0.5.13.post1")
"""Releases that clear the mapping of a freed page by token (`free-swa-by-token`)."""

SHORT_LEAVES = ("0.5.18",)
"""Releases whose unified cache frees a prefill of a window of broken pages under the tree
(`leaf-shorter-than-the-window`)."""

PAGE_SIZES = (16, 32, 64)


class Combination(NamedTuple):
    """kind: a draft ("frozen", "eagle", "ngram", "none") or a cache of the ScheduleBatch driver.

    "radix" is the tree of a pool of one kind: no window, no mapping.
    """

    kind: str
    page: int
    backend: str

    @property
    def draft(self) -> str:
        return self.kind if self.kind in ("frozen", "eagle", "ngram") else "none"

    @property
    def radix(self) -> str:
        """Prefix cache: "on", "off" through SGLang's own classes, or "none" (pool driver)."""
        trees = {"swa-radix": "on", "unified": "on", "radix": "on", "chunk": "off"}
        return trees.get(self.kind, "none")

    @property
    def pool(self) -> str:
        """ "swa", SGLang's hybrid of full and sliding layers, or "mha", a pool of one kind."""
        return "mha" if self.kind == "radix" else "swa"

    @property
    def cache(self) -> str:
        return "" if self.radix == "none" else self.kind


def combinations(version: str, *, swa_radix: bool) -> tuple[Combination, ...]:
    """Every combination this SGLang plays: trtllm_mha has no pages of one, FA3 no frozen-KV draft.

    FlashInfer's verification is known to be wrong over a window, FA3's of a tree is not driven.

    swa_radix: whether the release has SWARadixCache (up to 0.5.18).
    """
    kinds = ["none", "frozen", "eagle", "ngram", "unified", "chunk", "radix"]
    if swa_radix:
        kinds.append("swa-radix")
    found = []
    for kind in kinds:
        for backend in ("trtllm_mha", "triton", "fa3", "flashinfer"):
            if kind in ("frozen", "ngram") and backend == "fa3":
                continue
            if kind in ("frozen", "eagle", "ngram") and backend == "flashinfer":
                continue
            if kind == "eagle" and backend == "trtllm_mha" and version == "0.5.12.post1":
                continue
            pages = PAGE_SIZES if backend == "trtllm_mha" else (*PAGE_SIZES, 1)
            found += [Combination(kind, page, backend) for page in pages]
    return tuple(found)


def of_release(version: str) -> tuple[Combination, ...]:
    """`combinations` of the SGLang of this process, its release being `version`."""
    has_swa_radix = find_spec("sglang.srt.mem_cache.swa_radix_cache") is not None
    return combinations(version, swa_radix=has_swa_radix)


def pads(combination: Combination, version: str) -> bool:
    """Whether the lab draws a captured graph's padded inputs for this combination."""
    return combination.backend == "trtllm_mha" and version != "0.5.12.post1"


def breaks_pages(combination: Combination, version: str) -> bool:
    """Whether the lab draws windows that are no whole number of pages for this combination."""
    return combination.kind != "unified" or combination.page == 1 or version not in SHORT_LEAVES


def left_out(version: str) -> list[str]:
    """Sentences about what the catalogue has as live defects of this release."""
    known = ["frozen-KV draft without overlap: the page at the window's edge is evicted (I1)"]
    known.append("a verification through FlashInfer: its window begins with the row (I1)")
    if version in TOKEN_WISE:
        known.append("pages of rejected tokens freed: their mapping is cleared by token (I6)")
    if version == "0.5.12.post1":
        known.append("padded graph inputs: request rows of the batch before stay (I10)")
        known.append("EAGLE draft with its own pool: translated through the target's mapping (I2)")
    if version in SHORT_LEAVES:
        known.append("unified cache, a window of broken pages: freed under the tree (I16)")
    return known
