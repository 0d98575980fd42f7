"""The catalogue: one row per invariant, read by everything that has to know one.

Configuration takes the families from here, the traps the error, the sentence and the
rank, the modes what reads the device, replay what a launch shows by itself, the
documentation its table and `triage explain I12` its page. A new invariant is a row
here, its check beside the others, the hook that calls it, and a rule that explains it.

Needs neither torch nor SGLang: the plugin reads it in every process of a server.

Long because it is a table: a row per invariant, and the few questions that are asked of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Literal

from triage.errors import (
    BrokenLifecycle,
    OutOfBounds,
    TableForm,
    TrapError,
    WrongIndexSpace,
    WrongOutput,
)

FAMILIES = {
    "reads": "what an attention launch is about to read: table, lengths, form",
    "writes": "the slots that a forward writes its keys and values to",
    "allocator": "what the allocator hands out, and what a failed call keeps",
    "lifecycle": "pages, rows, mapping and window from allocation to release",
    "tree": "the radix tree against the mapping, and its locks",
    "graph": "what a replayed CUDA graph is fed",
    "spec": "what speculative decoding changes and must restore",
    "geometry": "sizes: pools, integers, budgets, transfers, the workspace",
    "output": "what the kernel answers, on a sample, where the variable for it is set",
}
"""Switched on together by name, in the order of the documentation."""

CHEAP_FAMILIES = ("reads", "writes", "allocator", "graph")
"""On by default as a whole: no walk over all requests, nothing that grows with the pool."""

DEFAULT = "default"
"""What is on if nothing is asked for: these families, and of others what waits for nothing."""

WHOLE = "all of it"


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule that must hold, and all that is known of it.

    name: `I` and its number, as variables, dumps and messages name it.
    title: what it is about, in a few words.
    sentence: what is wrong where it does not hold.
    error: the exception that says so.
    seen_at: the calls of SGLang, or of FlashInfer, at which it is looked at.
    meaning, example, try_this: the page that a reader of the alarm is given.
    rank: of several that fail together the lowest is named, being the cause of the others.
    reads_device: its check waits for the device on the host: in mode `raise` alone.
    raise_only: the part of it that only mode `raise` sees.
    walks: it walks a pool, a tree or all tables: every Nth time if that is asked for.
    ledger: it needs to know who owns which page.
    rests_on: what other hooks have seen, without which it is not judged any more.
    checked_on_device: the check kernel judges it, in every mode and inside CUDA graphs.
    eager_only: it has no place to stand once a graph is replayed: no Python runs there.
    containment: what mode `contain` does about an offender; "" if it only tells.
    default_part: of a row whose family is not on by default, the part that is on all the same,
        in every mode, because it never waits for the device: WHOLE, or a few words.
    shown_by: what a replay of the launch alone shows of it.
    shown_apart: where it is shown to fire, as the lab's catalogue of bugs cannot; "" if it does.
    """

    name: str
    family: str
    title: str
    sentence: str
    seen_at: tuple[str, ...]
    meaning: str
    example: str
    try_this: str
    error: type[TrapError] = BrokenLifecycle
    rank: int = 100
    reads_device: bool = False
    raise_only: str = ""
    walks: bool = False
    ledger: bool = False
    rests_on: Literal["", "ledger", "metadata"] = ""
    checked_on_device: bool = False
    eager_only: bool = False
    containment: str = ""
    default_part: str = ""
    shown_by: Literal["", "addresses", "ids"] = ""
    shown_apart: str = ""

    @property
    def default(self) -> bool:
        """Is it on if nothing else is asked for?"""
        return self.family in CHEAP_FAMILIES or bool(self.default_part)

    @property
    def when(self) -> str:
        """Whether it is on by default, in a few words."""
        if not self.default:
            return "off unless asked for"
        whole = self.family in CHEAP_FAMILIES or self.default_part == WHOLE
        return "on by default" if whole else f"on by default: {self.default_part}"

    @property
    def modes(self) -> str:
        """In which modes it is seen, in a few words."""
        replays = ", not in a graph's replay" if self.eager_only else ""
        if self.raise_only:
            return f"all, but {self.raise_only} in `raise` alone"
        part = f"; all: {self.default_part}" if self.reads_device and self.default_part else ""
        return ("`raise`" if self.reads_device else "all") + replays + part

    def as_dict(self) -> dict[str, object]:
        """The row for JSON, the exception by its name."""
        return {**asdict(self), "error": self.error.__name__, "modes": self.modes}


_LAUNCH = ("FlashInfer's decode and context call",)
_METADATA = ("`init_forward_metadata`",)
_ALLOC = ("`alloc_extend`, `alloc_decode`",)
_FREE = ("`free` and its kin, of every allocator",)

CATALOGUE: tuple[Invariant, ...] = (
    Invariant(
        "I1",
        "reads",
        "page ids in range",
        "a live page-table entry is outside the pool that is read",
        _LAUNCH,
        "A page id that a query of this launch can reach lies in [1, P), and below the window in "
        "[0, P), where P = size / page_size + 1 counts the dummy page 0. An id outside leaves "
        "the cache: the kernel faults, or reads zeros or foreign memory.",
        "block_tables[3, 7] = 9102 where the SWA pool has 8658 pages.",
        "It is the late symptom. Look for the first launch whose ids were wrong and still in "
        "range (I2); `triage explain` on the dump names the cause.",
        error=OutOfBounds,
        rank=70,
        checked_on_device=True,
        containment="redirected to the dummy page",
        shown_by="addresses",
    ),
    Invariant(
        "I2",
        "reads",
        "page ids of this request",
        "a live page-table entry is not the page that req_to_token names",
        _LAUNCH,
        "The id of page p of a request is req_to_token[request, p * page_size] // page_size, for "
        "sliding layers through the mapping of the very pool whose buffer is passed. Another id "
        "in range reads another request's keys without any fault.",
        "block_tables[0, 2] = 41, expected 17: a full-pool id in a table of the SWA pool.",
        "If the backend's SWA state is named as stale, SGLANG_TRIAGE_FIXES=state-swap moves it "
        "with the pool (sgl-project/sglang#26957).",
        error=WrongIndexSpace,
        rank=50,
        checked_on_device=True,
        shown_by="ids",
    ),
    Invariant(
        "I3",
        "writes",
        "own slots written",
        "a token is written to a slot that is not its own",
        (
            "`SWAKVPool.set_kv_buffer`",
            "fused stores",
            *_LAUNCH,
            "`ScheduleBatch.prepare_for_prebuilt`",
        ),
        "Keys and values go to legal slots of the pool, on the SWA side to the mapped ones, and "
        "token j of q of a row of length L to req_to_token[request, L - q + j], where attention "
        "reads it. Anything else overwrites another request or is never read.",
        "out_cache_loc[5] = 640, expected 1153.",
        "Compare the slots that the scheduler allocated in this step with the row; a copied batch "
        "that kept the old out_cache_loc is the usual cause.",
        rank=60,
        raise_only="the comparison with the request's row",
        checked_on_device=True,
    ),
    Invariant(
        "I4",
        "lifecycle",
        "mapping and pools agree",
        "the mapping is not what the pools hold",
        ("before a target's metadata, eager or replayed",),
        "A mapped full page names one SWA page, token for token, no two name the same one, and "
        "the mapped SWA pages are exactly those that are allocated.",
        "full_to_swa_index_mapping[1216] = 320, a page that another full page is mapped to.",
        "Read who freed or mapped that page last in the dump's facts.",
        reads_device=True,
        walks=True,
        ledger=True,
    ),
    Invariant(
        "I5",
        "lifecycle",
        "free list is whole",
        "the free list and the pages in use are not a partition of the pool",
        ("every allocator call", "before a target's metadata"),
        "A page is free or in use, never both and never neither; the free list has no page twice, "
        "and never the dummy page 0.",
        "free_pages (repeated) [12] = 88.",
        "A page listed twice was freed twice; one that is missing was lost between two pools.",
        reads_device=True,
        walks=True,
        ledger=True,
        default_part="now and then, the list and the requests that decode, logged a step late",
    ),
    Invariant(
        "I6",
        "lifecycle",
        "frees are right and complete",
        "a free releases what is not held, or leaves the mapping behind",
        (*_FREE, "`free_group_end`"),
        "Only what is allocated is freed, once, and afterwards the mapping of every token of the "
        "freed pages is 0 while that of other pages is untouched.",
        "page 88 is freed, but it was freed by request 4 already.",
        "SGLANG_TRIAGE_FIXES=free-swa-pages where the mapping is cleared slot by slot and pages "
        "are freed whole (releases up to 0.5.13.post1).",
        reads_device=True,
        ledger=True,
    ),
    Invariant(
        "I7",
        "allocator",
        "nothing is lost",
        "pages are held that nobody names, or a failed allocation kept them",
        ("`alloc` and its kin of the SWA allocator", "`Scheduler.run_batch`"),
        "A call that answers None has taken nothing from either side of the pool; what is "
        "allocated for a request stands in its record; and between two steps, as when a pool is "
        "full, each page that is held is named by a live request's row or by the prefix cache, and "
        "tokens that are free, cached and held are as many as the pool has.",
        "3 pages are held by nobody: free 8 + requests 6 + tree 23 = 37, the pool has 40.",
        "Give back what the first side took before None is returned; free a row up to what was "
        "allocated for it.",
        raise_only="which pages nobody names (with the family lifecycle)",
        ledger=True,
    ),
    Invariant(
        "I8",
        "lifecycle",
        "new slots are mapped now",
        "a slot was handed out whose mapping is not of this call",
        ("`alloc` and its kin of the SWA allocator",),
        "Each full slot that a call returns has the mapping that the SWA side gave in this very "
        "call, or none.",
        "full slot 1216 maps to SWA slot 320 of the request that was released before.",
        "Look for a call that takes full pages without their SWA pages.",
        reads_device=True,
        ledger=True,
    ),
    Invariant(
        "I9",
        "reads",
        "translation is the mapping",
        "the translation is not what the mapping says",
        ("`SWAKVPool.translate_loc_from_full_to_swa`",),
        "Translating a full slot gives what the mapping holds for it now; a cached answer that "
        "outlives a free does not.",
        "translated[7] = 320, the mapping says 0.",
        "Do not keep translated slots across a scheduler step.",
        reads_device=True,
        eager_only=True,
    ),
    Invariant(
        "I10",
        "graph",
        "padding reads the dummy page",
        "a padded row reads another page than the dummy page",
        ("preparation of a graph's replay", *_LAUNCH),
        "A replayed graph runs at its captured size. Rows and tokens beyond the batch have "
        "request 0, slot 0 and the fill value as length; else they read or write for a request "
        "that is not there.",
        "req_pool_indices[5] = 3 where the batch has 5 rows.",
        "Fill the tail of the graph's buffers with each batch that is smaller than the last.",
        rank=30,
        reads_device=True,
        raise_only="the padded tokens of a replay's buffers",
        checked_on_device=True,
    ),
    Invariant(
        "I11",
        "graph",
        "metadata of this forward",
        "the metadata was built for another forward",
        ("first launch of a forward",),
        "The metadata that a backend holds was built for the batch it runs now and for its padded "
        "size.",
        "metadata of 4 rows, a forward of 5.",
        "A path that skips init_forward_metadata, or shares a backend between two batches.",
        eager_only=True,
        rests_on="metadata",
    ),
    Invariant(
        "I12",
        "reads",
        "lengths fit the forward",
        "a sequence length does not fit the launch",
        _LAUNCH,
        "A real row is at least one token long and holds its queries; query offsets cut the query "
        "tensor from its first token to its last; lengths are those of the batch plus what the "
        "mode adds. A wrong one shifts every position that attention sees.",
        "cache_seqlens[2] = 0 on a real row.",
        "Look whether the draft's steps or the verified tokens are counted twice, or not at all.",
        error=TableForm,
        rank=20,
        raise_only="the comparison with the batch's own lengths and with the query tensor",
        checked_on_device=True,
    ),
    Invariant(
        "I13",
        "spec",
        "indices fit their buffer",
        "the offsets reach past the index buffer",
        _METADATA,
        "What is written into a table or an index buffer fits it, counted in its own unit, pages "
        "or tokens, with the slack of a draft's steps.",
        "145 pages into a table of 144 columns.",
        "Size the buffer for the longest context plus the tokens of a last speculative step.",
        rank=5,
        default_part="prompts and verifies, from the lengths that SGLang has on the host",
        checked_on_device=True,
    ),
    Invariant(
        "I14",
        "lifecycle",
        "request rows are wide enough",
        "a request has more tokens than its row has columns, or a row that is not there",
        (
            "`alloc` and its kin",
            "`ReqToTokenPool.alloc`, `write`",
            "`alloc_for_spec_decode`",
            "`Scheduler.run_batch`",
        ),
        "A request's row exists, is not the reserved row 0, and has a column for every token that "
        "is allocated for it, at any page size; what is written into a row stays in it.",
        "9,224 tokens in a row of 9,220 columns.",
        "Size req_to_token for the context plus the slack of the last step.",
        default_part="rows and prompts, as they are handed out, and what a draft reserves",
    ),
    Invariant(
        "I15",
        "lifecycle",
        "eviction stays behind the window",
        "tokens were evicted that a query can still see",
        ("SWA eviction", "retraction", "`ScheduleBatch.prepare_for_extend`", *_METADATA),
        "What of a request has left the SWA pool is page aligned, ends before the window of every "
        "query that runs or comes next and before what a prefill has just allocated, and is 0 "
        "again after a retraction.",
        "swa_evicted_seqlen = 640, the next query's window starts at 590.",
        "Compute the frontier from the oldest query in flight, not from the newest length.",
        walks=True,
        default_part="eviction, retraction and prefill, from the request's own numbers",
    ),
    Invariant(
        "I16",
        "tree",
        "radix tree is live",
        "locks of the tree do not add up",
        ("operations of the SWA radix cache", "`Scheduler.run_batch`"),
        "Tokens of a live node are mapped, those of a tombstone are not; what a request has "
        "evicted is no live node of its tokens, and what it caches was allocated for it and, "
        "while it runs, is protected for it; and a node is locked by as many as hold it: requests "
        "that run, and nobody else.",
        "swa_lock_ref[4] = 2, one request holds the node.",
        "Find the release of a lock that the insert or the eviction did not take.",
        raise_only="the comparison with the mapping",
        walks=True,
        rests_on="ledger",
        default_part="what a request caches, from its own numbers, logged",
    ),
    Invariant(
        "I17",
        "lifecycle",
        "released once, after use",
        "a page or row is used after its release, or released twice",
        ("`ReqToTokenPool.alloc`, `free`", "a target's metadata", "frees of a prefix cache"),
        "A request's row is given out once and released once, by a request that ends or is "
        "retracted; no forward reads a page that was released, and a prefix cache frees nothing "
        "that another request's row names or that a lock keeps.",
        "page 88 is read by request 7 after it was freed by request 4.",
        "Look at what an abort or a retraction frees while the step that reads it is queued; "
        "SGLANG_TRIAGE_FIXES=keep-locked-prefix where an insert revives an evicted prefix "
        "(releases up to 0.5.14).",
        reads_device=True,
        ledger=True,
        default_part="rows given out or released twice, or given back too early; now and then, "
        "pages of requests that decode, logged a step late",
    ),
    Invariant(
        "I18",
        "graph",
        "work in stream order",
        "the metadata of a graph were refilled while the graph still ran",
        ("a graph's replay", "the refill of its metadata"),
        "What refills the metadata of a captured graph ends behind the last replay that reads "
        "them. On one stream it does; on two it needs a wait.",
        "refilled in step 41 on stream 0x7f10, 210 us before replay 812 of graph 3 ended.",
        "Let the refilling stream wait for the event behind the replay.",
        shown_apart="on a GPU by triage/bench/gpu_order.py, on pretended streams by tests/order",
    ),
    Invariant(
        "I19",
        "geometry",
        "pools are large enough",
        "a pool is smaller than what it is used for",
        ("`TRTLLMHAAttnBackend.__init__`", "`Scheduler.run_event_loop`, before its first step"),
        "A draft that owns its pool but shares the allocator has a row for every slot that may be "
        "handed out; the SWA side of a pool holds the window of one request and a page more.",
        "4,160 rows for an allocator of 554,048 slots.",
        "Give the draft's pool the size of the target's full pool; raise swa_full_tokens_ratio, "
        "or the total, where the SWA side is short.",
        default_part=WHOLE,
    ),
    Invariant(
        "I20",
        "allocator",
        "allocated slots are legal",
        "the allocator returned a slot it must not",
        (*_ALLOC, "`ReqToTokenPool.write`"),
        "Slots returned lie in [page_size, size + page_size), none twice, on both sides; a "
        "request goes on behind its own last slot and in a page that has its SWA side, and a row "
        "names slots that follow each other inside a page.",
        "out_indices[3] = 0, the dummy page.",
        "A slot on page 0 comes from a free list that names it, or from padding taken for a slot.",
        error=OutOfBounds,
        rank=40,
        reads_device=True,
    ),
    Invariant(
        "I21",
        "geometry",
        "offsets fit their integers",
        "a slot or an offset does not fit the integer that holds it",
        ("`TRTLLMHAAttnBackend.__init__`",),
        "The largest slot, and the largest slot times its stride, fit the integers that the "
        "kernels compute with.",
        "slot 2,200,000 times stride 1,024 in int32.",
        "Shrink the pool, or compute the offset in 64 bits.",
        default_part=WHOLE,
    ),
    Invariant(
        "I22",
        "geometry",
        "pages, divided once",
        "a page table holds slots, or ids that were divided twice",
        _METADATA,
        "Entries of a page table are slots divided by the page size exactly once.",
        "block_tables[0, 1] = 1088 where page 17 starts at slot 1088.",
        "Look for a second // page_size, or for a builder that skips it.",
        reads_device=True,
        walks=True,
        eager_only=True,
    ),
    Invariant(
        "I23",
        "spec",
        "views are restored",
        "state that a draft's view changed was left changed",
        ("`frozen_kv_target_view`, `target_kv_pool_view`",),
        "What a draft's view swaps on the backend and on the batch for a step is the same object "
        "as before once the view is left, also by an exception.",
        "draft_attn_backend._swa_kv_pool is another object after the view.",
        "Restore in a finally block, and all attributes that move together.",
        default_part=WHOLE,
    ),
    Invariant(
        "I24",
        "lifecycle",
        "transfers name what is held",
        "the lists of a transfer do not fit each other, or name what they must not",
        ("KV transfer", "HiCache: its controllers' queues, its host pools, acknowledged copies"),
        "The index lists of a transfer between two pools are of equal length and write nothing "
        "twice. At HiCache the host slots lie in their pool, are whole pages, are held by "
        "somebody, and are released once, and not before the transfer is through; what was "
        "copied to the host for a node goes to storage whole.",
        "host slot 4096 is freed while a transfer still has it read.",
        "Count both in the same unit, pages or tokens; hold the node until the transfer is "
        "acknowledged.",
        default_part=WHOLE,
    ),
    Invariant(
        "I25",
        "allocator",
        "admission reserves enough",
        "admission reserves fewer pages than the extend takes",
        ("`PrefillAdder`'s budget",),
        "What admission sets aside covers the last page that is only partly filled, and what is "
        "loaded back from the host.",
        "reserved 64 tokens, an extend of 65 takes two pages.",
        "Round up to whole pages before the budget is compared.",
    ),
    Invariant(
        "I26",
        "reads",
        "tables the kernel can read",
        "the page table is narrower than a sequence",
        _LAUNCH,
        "Table and lengths are int32, contiguous with a row stride equal to the width, on the "
        "kernel's device, and wide enough for the longest sequence. The kernel takes all of that "
        "for granted and would read something else.",
        "cache_seqlens[0] = 9300, the table's 144 columns hold 9216 tokens.",
        "Pass int32, `contiguous()`, and a table as wide as max_seq_len.",
        error=TableForm,
        rank=10,
        checked_on_device=True,
        containment="cut to the table",
    ),
    Invariant(
        "I27",
        "geometry",
        "split-K counters are zero",
        "a split-K counter is not zero before the launch",
        _LAUNCH,
        "The counters by which blocks of one launch find each other are zero between launches; in "
        "FlashInfer up to 0.6.14 they are the first 8 MiB of the workspace.",
        "workspace[12] = 3.",
        "Zero the workspace after it was lent to another kernel.",
        reads_device=True,
        eager_only=True,
    ),
    Invariant(
        "I28",
        "output",
        "output is that of the pages",
        "the kernel computed another output than the pages that it read give",
        _LAUNCH,
        "Computed again by the eager reference from the table, lengths and pages that the launch "
        "read, every element of its output lies within the rounding error of a right kernel. "
        "Looked at on a sample: SGLANG_TRTLLM_MHA_DEBUG_WITNESS says how often.",
        "out[row 3, head 5, 17] = 0.81, the pages give 0.03, allowed difference 0.004.",
        "The table is not to blame. Try another FlashInfer release or another attention backend, "
        "and `triage kernels resolve` for the kernel and its published defects.",
        error=WrongOutput,
        rank=90,
        shown_apart="on a GPU by triage/bench/gpu_witness.py, on SGLang's classes by tests/witness",
    ),
    Invariant(
        "I29",
        "spec",
        "drafts are fed this batch",
        "a draft's input is not that of the batch it runs for",
        (
            "capture and replay of a draft's graph",
            "`common_template` of drafts of several steps",
            "`Scheduler.run_batch`",
        ),
        "Every buffer that a draft's graph reads holds what this forward brought, for its real "
        "rows, in its legal range; padded rows have request 0, slot 0, position 0 and the fill "
        "value as length, and are counted in the sum of the lengths. What a graph records of its "
        "metadata is built for the view that was prepared for it. Between two steps speculative "
        "state has one row a request.",
        "seq_lens[2] = 57, the forward brought 61: another replay left it.",
        "Copy the tensor before the replay, and fill the tail of every buffer when a batch is "
        "smaller than its bucket.",
        raise_only="the values of a graph's buffers",
        default_part="the view that a draft's graph is captured for; the sum of a draft's "
        "lengths, logged",
    ),
)

BY_NAME = {row.name: row for row in CATALOGUE}


def find(name: str) -> Invariant | None:
    """The row called `name`, as "I12"; None if there is none."""
    return BY_NAME.get(name)


def sentence(name: str) -> str:
    """What is wrong where this invariant does not hold."""
    return BY_NAME[name].sentence


def error_of(name: str) -> type[TrapError]:
    """The exception that says so; BrokenLifecycle for a name of a newer catalogue."""
    row = find(name)
    return BrokenLifecycle if row is None else row.error


def first_of(names: Collection[str]) -> str:
    """The one to name of those that fail together: the cause of the others. Not for none."""
    return min(names, key=lambda name: (BY_NAME[name].rank, int(name[1:])))


def of_family(family: str) -> tuple[str, ...]:
    """Names of the family's invariants, in order."""
    return tuple(row.name for row in CATALOGUE if row.family == family)


BY_DEFAULT = frozenset(row.name for row in CATALOGUE if row.default)
IN_PART = frozenset(row.name for row in CATALOGUE if row.default_part not in ("", WHOLE))
"""On by default in part: the rest of it is on where it, or its family, is asked for."""

READS_DEVICE = frozenset(row.name for row in CATALOGUE if row.reads_device)
"""Checked on the host with a wait: left out where nothing may wait for the device."""

LEDGER = frozenset(row.name for row in CATALOGUE if row.ledger)
"""Need the ledger. I7 alone, a failed allocation, costs no device read."""

RESTS_ON_LEDGER = LEDGER | {row.name for row in CATALOGUE if row.rests_on == "ledger"}
RESTS_ON_METADATA = frozenset(row.name for row in CATALOGUE if row.rests_on == "metadata")
"""Judged elsewhere from what those hooks have seen, and so not any more once they are off."""

IN_GRAPHS = tuple(row.name for row in CATALOGUE if row.checked_on_device and not row.reads_device)
"""Judged inside a replay, in every mode."""

EAGER_ONLY = frozenset(row.name for row in CATALOGUE if row.eager_only)

CHECKED_ON_DEVICE = tuple(row.name for row in CATALOGUE if row.checked_on_device)
"""Judged by the check kernel, in the order in which it counts them."""

CONTAINED = frozenset(row.name for row in CATALOGUE if row.containment)
"""Containment changes a table for these; where none of them is asked for, no table is changed."""

SHOWN_BY_ADDRESSES = frozenset(row.name for row in CATALOGUE if row.shown_by == "addresses")
SHOWN_BY_IDS = frozenset(row.name for row in CATALOGUE if row.shown_by == "ids")
"""What the recorded launch alone shows again: by where it reads, by whose pages it reads."""


def markdown_table() -> str:
    """The documentation's table of traps."""
    lines = [
        "| Invariant | Family | Holds | Seen at | Modes | Exception |",
        "|---|---|---|---|---|---|",
    ]
    for row in CATALOGUE:
        seen = ", ".join(row.seen_at)
        lines.append(
            f"| {row.name} {row.title} | {row.family} | {row.meaning} | {seen} | {row.modes} | "
            f"`{row.error.__name__}` |"
        )
    return "\n".join(lines)


def page(row: Invariant) -> str:
    """What `triage explain I12` prints: meaning, example, what to try."""
    text = (
        f"{row.name}: {row.title} (family {row.family}, {row.when})\n\n"
        f"{row.meaning}\n\n"
        f"The alarm says: {row.sentence}.\n"
        f"Example:        {row.example}\n"
        f"Looked at:      {', '.join(row.seen_at)}\n"
        f"Modes:          {row.modes}\n"
        f"Raised as:      {row.error.__name__}\n"
        f"What to try:    {row.try_this}"
    )
    return text.replace("`", "")


if __name__ == "__main__":
    print(markdown_table())
