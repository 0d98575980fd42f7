"""Defects that released wheels have as they are: nothing is re-injected.

Each says on which SGLang it can be played by looking at the code, so that a
release that has it fixed drops out by itself.

Long because each bug is a few lines of SGLang and the words about it; one family a file.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from triage.lab.bugs.bug import SGLANG, SMALL, Bug, Harmed, small
from triage.lab.patching import replaced
from triage.lab.runtime import Geometry

if TYPE_CHECKING:
    from triage.lab.rig import Bench


def _allocator() -> Any:
    from triage.sglang.binding.names import swa_allocator_class

    return swa_allocator_class()


def source(function: Any) -> str:
    return inspect.getsource(inspect.unwrap(function))


# -- applicability ----------------------------------------------------------------------


def _translates_every_draft() -> str:
    from sglang.srt.layers.attention.flashinfer_backend import FlashInferAttnBackend
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    resolved = any(
        hasattr(owner, "_resolve_swa_kv_pool")
        for owner in (FlashInferAttnBackend, TRTLLMHAAttnBackend)
    )
    return "fixed: a draft with its own pool is told apart" if resolved else ""


def own_pool_is_told_apart() -> str:
    """For other entries with an EAGLE draft: on this release it is wrong by itself."""
    return "" if _translates_every_draft() else "see eagle-draft-translated"


def _frees_by_token() -> str:
    page_wise = hasattr(_allocator(), "_expand_to_full_pages")
    return "fixed: the mapping is cleared by page" if page_wise else ""


def keeps_no_margin() -> str:
    try:
        from sglang.srt.mem_cache.common import free_swa_out_of_window_slots as evict
    except ImportError:
        return "this release keeps a page of margin behind the window"
    keeps = margin_without_a_tree(source(evict))
    return "this release keeps a page of margin behind the window" if keeps else ""


def margin_without_a_tree(text: str) -> bool:
    """Does eviction keep a page with the radix cache off too, as the lab plays it?

    The switch is named `drop_page_margin` in 0.5.14 and `is_chunk_cache` after it.
    """
    switches = ("drop_page_margin", "is_chunk_cache")
    return "- page_size" in text and not any(name in text for name in switches)


def _fills_a_fixed_width() -> str:
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    fills = hasattr(TRTLLMHAAttnBackend, "_fill_page_table_device")
    return "" if fills else "this release gathers the table on the host, as wide as needed"


def _resolves_at_group_end() -> str:
    free_swa = source(_allocator().free_swa)
    if "swa_free_group" not in free_swa:
        return "free_swa does not take part in free groups"
    at_call = "swa_free_group.append(swa_indices)" in free_swa
    return "fixed: the mapping is read when free_swa is called" if at_call else ""


def _frees_segments_unfiltered() -> str:
    if not hasattr(_allocator(), "free_swa_segment"):
        return "this release has no segment frees"
    pages = source(_allocator()._free_swa_pages_none_cuda)
    return "" if "swa_tokens[swa_tokens > 0]" not in pages else "fixed"


def _keeps_a_view() -> str:
    free = source(_allocator().free)
    if "self.free_group.append(free_index)" in free:
        return ""
    return "fixed: the free group owns a copy"


def _keeps_locked_prefixes() -> str:
    try:
        from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache
    except ImportError:
        return "this release has no SWARadixCache"
    keeps = hasattr(SWARadixCache, "_recover_tombstone_keeping_locked_full")
    return "fixed: a locked node keeps its full slots" if keeps else ""


def _leaves_less_than_a_window() -> str:
    from sglang.srt.environ import envs

    name = "SGLANG_OPT_UNIFIED_CACHE_FREE_OUT_OF_WINDOW_SLOTS"
    if not hasattr(envs, name) or not getattr(envs, name).get():
        return "this release keeps what a prefill leaves behind the window until it decodes"
    from sglang.srt.mem_cache.common import free_swa_out_of_window_slots as evict

    return "fixed: the window is rounded up to whole pages" if "ceil_align" in source(evict) else ""


def _with_room_behind(harmed: Harmed) -> AbstractContextManager[None]:
    """Give SGLang's table builder tables with room behind them.

    It writes past the end of the last row; on a CPU that is the heap, and the lab
    has to survive to report it. What is written there counts as harm.
    """
    from sglang.srt.layers.attention import trtllm_mha_backend

    def make(build: Any) -> Any:
        def build_trtllm_mha_page_table(**arguments: Any) -> None:
            names = [n for n in ("page_table", "swa_page_table") if arguments.get(n) is not None]
            tables = {name: arguments[name] for name in names}
            roomy = {name: torch.full((len(t) + 2, t.shape[1]), -7) for name, t in tables.items()}
            roomy = {name: table.to(torch.int32) for name, table in roomy.items()}
            build(**{**arguments, **{name: t[:-2] for name, t in roomy.items()}})
            for name, table in tables.items():
                table.copy_(roomy[name][:-2])
                if bool((roomy[name][-2:] != -7).any()):
                    harmed()

        return build_trtllm_mha_page_table

    return replaced(trtllm_mha_backend, "build_trtllm_mha_page_table", make)


@contextmanager
def _freed_while_read(harmed: Harmed) -> Iterator[None]:
    """Behind each insert of the tree: is a page free that the row of a running request names?

    Looks at SGLang's own requests and lists, and at nothing of ours.
    """
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    def make(original: Any) -> Any:
        def _insert_helper(self: Any, *args: Any, **kwargs: Any) -> Any:
            inserted = original(self, *args, **kwargs)
            full, rows = self.token_to_kv_pool_allocator.full_attn_allocator, self.req_to_token_pool
            listed = [part for part in (full.free_pages, full.release_pages) if part is not None]
            free = set(torch.cat(listed).tolist())
            taken = set(range(1, rows.size + 1)) - set(rows.free_slots)
            readers = [
                row
                for row in taken
                if free & set((rows.req_to_token[row] // self.page_size).unique().tolist())
            ]
            if len(readers) > 1:  # the one that is inserted has duplicates, which are freed
                harmed()
            return inserted

        return _insert_helper

    with replaced(SWARadixCache, "_insert_helper", make):
        yield


# -- scripts ------------------------------------------------------------------------------


def _fill_swa_then_decode(bench: Bench) -> None:
    """Two requests at the end of a page, one SWA page left, one decode of both.

    With no page left at all the released kernel reads an empty free list before it
    is looked at, which on a CPU ends the process.
    """
    allocator, page = bench.runtime.token_to_kv_pool_allocator, bench.runtime.geometry.page_size
    zero, one_page, none = torch.tensor([0]), torch.tensor([page]), torch.tensor([-1])
    last = []
    while allocator.swa_available_size() > page:
        slots = allocator.alloc_extend(zero, zero, one_page, one_page, none, page)
        last.append(slots[-1:])
    longer = torch.tensor([page + 1, page + 1])
    assert allocator.alloc_decode(longer, longer, torch.cat(last[-2:])) is None


def _recover_inside_a_group(bench: Bench) -> None:
    """A tombstone is recovered in the group that also evicts it, as the radix caches do."""
    allocator, page = bench.runtime.token_to_kv_pool_allocator, bench.runtime.geometry.page_size
    zero, tokens = torch.tensor([0]), torch.tensor([2 * page])
    slots = allocator.alloc_extend(zero, zero, tokens, tokens, torch.tensor([-1]), 2 * page)
    old, new = slots[:page], slots[page:]
    allocator.free_group_begin()
    allocator.free_swa(old)
    # The SWA side of `new` becomes that of `old`, the full side of `new` goes back.
    recovered = allocator.full_to_swa_index_mapping[new]
    allocator.full_to_swa_index_mapping[new] = 0
    allocator.set_full_to_swa_mapping(old, recovered)
    allocator.full_attn_allocator.free(new)
    bench.audit.held -= set((new // page).tolist())
    allocator.free_group_end()
    bench.check_books("after the group")


def _segment_of_a_tombstone(bench: Bench) -> None:
    allocator, page = bench.runtime.token_to_kv_pool_allocator, bench.runtime.geometry.page_size
    zero, tokens = torch.tensor([0]), torch.tensor([2 * page])
    slots = allocator.alloc_extend(zero, zero, tokens, tokens, torch.tensor([-1]), 2 * page)
    allocator.free_swa_segment(slots[:page], start_pos=0)
    # The node's first page is a tombstone now; evicting the node hands over both pages.
    allocator.free_swa_segment(slots, start_pos=0)


def _row_reused_inside_a_group(bench: Bench) -> None:
    """The caller passes a view of its request row, and the row is rewritten before the end."""
    runtime = bench.runtime
    allocator, page = runtime.token_to_kv_pool_allocator, runtime.geometry.page_size
    table = runtime.req_to_token_pool.req_to_token
    zero, tokens = torch.tensor([0]), torch.tensor([page])
    for row in (1, 2):
        slots = allocator.alloc_extend(zero, zero, tokens, tokens, torch.tensor([-1]), page)
        table[row, :page] = slots.to(torch.int32)
    allocator.free_group_begin()
    allocator.free(table[1, :page])
    table[1, :page] = table[2, :page]
    allocator.free_group_end()
    bench.check_books("after the group")


AT_THE_WALL = small(
    geometry=Geometry(
        page_size=16,
        swa_pages=34,
        full_pages=40,
        window=48,
        num_layers=6,
        full_every=3,
        kv_shared_layers=2,
        context_len=144,
        max_requests=3,
    ),
    prompt_tokens=112,
    output_tokens=30,  # SGLang ends a request at context_len - 2
    requests=3,
)

RELEASED = (
    Bug(
        "eagle-draft-translated",
        "an EAGLE draft with its own pool is translated through the target's mapping",
        f"{SGLANG}/pull/27491",
        ("I2", "I1"),
        scenario=small(draft="eagle"),
        released=True,
        applies=_translates_every_draft,
        cause="own-pool-draft-translated",
        fix="draft-own-pool",
    ),
    Bug(
        "free-swa-by-token",
        "free_swa clears the mapping by token while pages are freed whole",
        f"{SGLANG}/pull/27779",
        ("I6", "I4"),
        scenario=small(keeps_rejected=False),
        overlap=False,  # no worker that releases rejected tokens runs under overlap
        released=True,
        fix="free-swa-pages",
        applies=_frees_by_token,
        cause="stale-mapping",
    ),
    Bug(
        "failed-decode-keeps-pages",
        "alloc_decode that fails on the SWA side keeps the full pages it took",
        "found here by reading: present up to 0.5.23",
        ("I7",),
        play=_fill_swa_then_decode,
        released=True,
        cause="failed-alloc-leak",
    ),
    Bug(
        "window-edge-evicted",
        "without overlap the frozen-KV draft's oldest visible page is evicted already",
        "found here: present from 0.5.14 to 0.5.23",
        ("I15", "I1"),
        scenario=small(requests=3, output_tokens=60, mean_accept=1.4),
        overlap=False,
        released=True,
        applies=keeps_no_margin,
        cause="freed-page",
    ),
    Bug(
        "leaf-shorter-than-the-window",
        "unified cache: a prefill's leaf keeps less than a window that is no whole number of "
        "pages, is not matched, and its request frees it again under the tree",
        "found here by the soak: 0.5.18, fixed in 0.5.23",
        ("I16", "I6"),
        scenario=small(
            cache="unified",
            geometry=replace(SMALL.geometry, window=24, kv_shared_layers=0),
            prompt_tokens=72,
            output_tokens=2,
            requests=1,
            chunk=80,
        ),
        released=True,
        applies=_leaves_less_than_a_window,
        cause="page-owned-twice",
    ),
    Bug(
        "locked-prefix-freed",
        "an insert that revives an evicted prefix frees the full pages that another request reads",
        f"{SGLANG}/pull/29352",
        ("I17", "I16"),
        inject=_freed_while_read,
        scenario=small(
            draft="none",
            cache="swa-radix",
            geometry=replace(
                SMALL.geometry,
                window=16,
                swa_pages=22,
                full_pages=60,
                num_layers=3,
                kv_shared_layers=0,
            ),
            prompt_tokens=160,
            requests=14,
            chunk=256,
        ),
        released=True,
        applies=_keeps_locked_prefixes,
        cause="locked-prefix-freed",
        fix="keep-locked-prefix",
    ),
    Bug(
        "table-row-overrun",
        "near the context limit a verify fills and reads past the page table's row",
        f"found here: trtllm_mha's form of {SGLANG}/pull/35985, from 0.5.14 to 0.5.23",
        ("I13", "I26"),
        inject=_with_room_behind,
        scenario=AT_THE_WALL,
        released=True,
        applies=_fills_a_fixed_width,
        cause="narrow-table",
    ),
    Bug(
        "mapping-read-at-group-end",
        "free_swa in a free group reads the mapping only when the group ends",
        f"{SGLANG}/issues/36081",
        ("I4", "I5", "I6"),
        play=_recover_inside_a_group,
        released=True,
        applies=_resolves_at_group_end,
        cause="stale-mapping",
    ),
    Bug(
        "tombstone-frees-the-dummy-page",
        "free_swa_segment of a slot without SWA peer frees page 0",
        f"{SGLANG}/pull/38519",
        ("I6", "I5"),
        play=_segment_of_a_tombstone,
        released=True,
        applies=_frees_segments_unfiltered,
        cause="dummy-page-freed",
    ),
    Bug(
        "free-group-keeps-a-view",
        "a free group keeps the caller's view of req_to_token and frees what it holds later",
        "found here by reading: up to 0.5.15.post1, a copy is kept in 0.5.18",
        ("I5", "I6"),
        play=_row_reused_inside_a_group,
        released=True,
        applies=_keeps_a_view,
        cause="free-group-view",
    ),
)
