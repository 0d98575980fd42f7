"""The classes of defect that explanations name: one page each, for who is handed the name.

The key is what `Cause.key` says. A page tells what it means, an example, how it comes about,
what to try, and which invariants see it. A test keeps the list whole. Long because it is one
table: a row a class.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from triage.invariants import catalogue
from triage.invariants.catalogue import Invariant

_SGLANG = "https://github.com/sgl-project/sglang"
_FLASHINFER = "https://github.com/flashinfer-ai/flashinfer"


@dataclass(frozen=True, slots=True)
class DefectClass:
    """One class. `seen_by` are invariants whose page goes on where this one ends."""

    key: str
    means: str
    example: str
    comes_about: str
    try_this: str
    seen_by: tuple[str, ...]
    links: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _class(
    key: str,
    means: str,
    example: str,
    comes_about: str,
    try_this: str,
    seen_by: str,
    links: tuple[str, ...] = (),
) -> DefectClass:
    return DefectClass(key, means, example, comes_about, try_this, tuple(seen_by.split()), links)


CLASSES: dict[str, DefectClass] = {
    each.key: each
    for each in (
        _class(
            "stale-swa-state",
            "A backend reads one KV pool and translates by the SWA state of another.",
            "A draft worker swaps in the target's hybrid pool; its _swa_kv_pool stays None, so SWA "
            "layers get full-pool ids: page 10742 of a pool of 8658 pages.",
            "A pool is swapped on an object that cached what it derived from the old one.",
            "SGLANG_TRIAGE_FIXES=state-swap",
            seen_by="I2 I1",
            links=(f"{_SGLANG}/issues/26957",),
        ),
        _class(
            "full-ids-in-swa-layer",
            "An SWA layer's table holds full-pool ids, and the backend's SWA state is right.",
            "A graph replay copies the full table into the SWA layer's buffer.",
            "The table is chosen per layer at one place and filled at another.",
            "Compare _get_layer_page_table with what the graph's buffers are filled from.",
            seen_by="I2 I1",
            links=(f"{_SGLANG}/issues/24617",),
        ),
        _class(
            "own-pool-draft-translated",
            "A draft that owns its pool gets ids of the target's mapping.",
            "An EAGLE draft with one pool is translated because the target's is hybrid.",
            "Translation is decided by the target's model, not by the pool that is read.",
            "SGLANG_TRIAGE_FIXES=draft-own-pool",
            seen_by="I2 I1",
            links=(f"{_SGLANG}/pull/27491",),
        ),
        _class(
            "slots-as-pages",
            "Token slots stand where page ids belong.",
            "Id 4096 where page 64 of 64 tokens was due.",
            "The division by the page size is left out on one path.",
            "Divide once, where the table is built.",
            seen_by="I22 I1 I2",
            links=(f"{_SGLANG}/pull/38187",),
        ),
        _class(
            "divided-twice",
            "Page ids are divided by the page size once more.",
            "Id 1 where page 64 was due; ids this small look like the dummy page.",
            "A helper that divides is called on what was divided already.",
            "Divide once, where the table is built.",
            seen_by="I22 I1 I2",
            links=(f"{_SGLANG}/pull/38187",),
        ),
        _class(
            "misread-table",
            "The kernel reads the table's or the lengths' memory as what it is not.",
            "An int64 table is read as int32: every second id is 0.",
            "FlashInfer's launcher takes bare pointers; a sliced or wide tensor passes.",
            "Pass .to(torch.int32).contiguous().",
            seen_by="I26",
        ),
        _class(
            "narrow-table",
            "A row is longer than the table is wide: the kernel reads another row or past the end.",
            "40 columns of 16 tokens for a row of 700 tokens.",
            "The width is taken from another batch, or without the draft tokens.",
            "Size the table for the longest row, its draft tokens included.",
            seen_by="I26 I13",
            links=(f"{_SGLANG}/pull/35985",),
        ),
        _class(
            "allocation-not-recorded",
            "Slots were allocated for a request, and its kv_allocated_len does not count them.",
            "48 tokens are allocated for a decode step of a draft, the request's record says 37.",
            "The record is brought up to date for one page size and not for another.",
            "Record the new length where the slots are allocated.",
            seen_by="I7",
            links=(f"{_SGLANG}/pull/13826",),
        ),
        _class(
            "cached-not-allocated",
            "Tokens of a request are cached that have no slots: the tree takes stale row entries.",
            "96 tokens go to the tree, 48 are allocated: the row's rest is an earlier request's.",
            "A chunk is declined, and the range that was to be prefilled is taken as prefilled.",
            "Set the range back where the chunk is declined.",
            seen_by="I16",
            links=(f"{_SGLANG}/pull/24275",),
        ),
        _class(
            "decode-window-short",
            "A decode reads one key fewer of its sliding window than a prefill of the same layer.",
            "511 slots a row where the window reaches 511 tokens back from the query: 512 keys.",
            "sliding_window_size leaves the query's own token out, and the decode counts it in.",
            "Gather sliding_window_size + 1 slots. Nothing faults; answers differ a little.",
            seen_by="I12",
            links=(f"{_SGLANG}/pull/32087",),
        ),
        _class(
            "buffer-too-small",
            "What is written does not fit the buffer that a graph or a mode brought.",
            "70 slots into a swa_out_cache_loc of 64.",
            "A buffer of one mode or batch size is used for another.",
            "Size it by the largest batch and what its mode adds.",
            seen_by="I13",
        ),
        _class(
            "freed-page",
            "A page is used after it was freed: its content is somebody else's, or soon will be.",
            "The SWA window is evicted up to token 480 while the next query sees 470.",
            "Eviction or a free runs ahead of the last forward that reads the page.",
            "Find who freed it: the finding names the call.",
            seen_by="I15 I17 I16",
            links=(f"{_SGLANG}/pull/22470",),
        ),
        _class(
            "locked-prefix-freed",
            "An insert frees the full pages of a cached prefix while a running request reads them.",
            "Page 1 is token 0 of request 1, and is freed by _insert_helper for request 3.",
            "SGLang up to 0.5.14 revives an evicted window without asking who locks the node.",
            "SGLANG_TRIAGE_FIXES=keep-locked-prefix, or SGLang 0.5.15 and later.",
            seen_by="I17",
            links=(f"{_SGLANG}/pull/29352",),
        ),
        _class(
            "page-owned-twice",
            "Two requests, or two positions of one, hold the same page.",
            "Page 31 is column 4 of request 2 and column 9 of request 7.",
            "A page is handed out while held, freed twice, or a row goes on behind another's slot.",
            "Compare the rows with what each allocation returned; arm lifecycle.",
            seen_by="I5 I20",
            links=(f"{_SGLANG}/issues/38840",),
        ),
        _class(
            "double-free",
            "A page was freed twice: it is in the free list twice, and two requests get it.",
            "Page 16 was freed by free_swa and again when its request finished.",
            "Two paths end a request: finish, retract, abort, the tree.",
            "Find the second caller: the finding names the first.",
            seen_by="I6",
            links=(f"{_SGLANG}/pull/18694",),
        ),
        _class(
            "never-allocated-freed",
            "A page was freed that nobody had been given.",
            "Page 300 is freed; the allocator has handed out pages 1 to 40.",
            "The freed slots are of another pool, of another row, or not slots at all.",
            "Find where the freed slots come from.",
            seen_by="I6",
        ),
        _class(
            "illegal-free",
            "A page was freed that its pool does not have.",
            "Page 9000 of a pool of 8658.",
            "Full-pool slots are given to the SWA allocator, or the other way round.",
            "Find where the freed slots come from.",
            seen_by="I6",
        ),
        _class(
            "dummy-page-freed",
            "The dummy page 0 was freed: it will be handed out, and padding writes into it.",
            "free_swa of tokens whose SWA side was evicted, which map to 0.",
            "Slots without an SWA peer are not dropped before they are freed.",
            "Drop them: SGLANG_TRIAGE_FIXES=free-swa-pages where it applies.",
            seen_by="I6",
            links=(f"{_SGLANG}/pull/38519",),
        ),
        _class(
            "page-of-nobody",
            "A request's row names a page that nobody was given.",
            "Column 3 of request 5 is page 77, never allocated.",
            "The row was written with something that is no allocation's result.",
            "Find what wrote the row.",
            seen_by="I17",
        ),
        _class(
            "leak",
            "Pages belong to nobody and are not free: the pool shrinks until it is full.",
            "64 tokens of the SWA pool are in no part of the balance.",
            "A request is released up to what was committed, not to what was allocated.",
            "Arm lifecycle: it names the call that took each page.",
            seen_by="I7 I5",
            links=(f"{_SGLANG}/pull/12224",),
        ),
        _class(
            "failed-alloc-leak",
            "An allocation said no and kept pages of one of the pools.",
            "alloc_decode gets full slots, finds no SWA page and returns None without giving back.",
            "Two pools are taken from one after the other.",
            "Give back what the first side took before returning None.",
            seen_by="I7",
            links=(f"{_SGLANG}/issues/38840",),
        ),
        _class(
            "stale-mapping",
            "The full-to-SWA mapping does not say what the pools hold.",
            "Slot 512 still maps to SWA page 7, which was freed.",
            "The mapping is cleared by token and pages are freed whole, or one side is forgotten.",
            "Clear and write it by page, in the call that moves the page.",
            seen_by="I4 I6 I8",
            links=(f"{_SGLANG}/pull/27779",),
        ),
        _class(
            "mapping-not-written",
            "A slot was handed out with an SWA page and without a mapping to it.",
            "full_to_swa[640] is 0 after alloc_extend gave SWA page 12.",
            "One of the ways to allocate does not write the mapping.",
            "Write the mapping of every slot that alloc returns, in that call.",
            seen_by="I8",
            links=(f"{_SGLANG}/pull/25385",),
        ),
        _class(
            "stale-translation",
            "Translated slots are used that the mapping does not give now.",
            "out_cache_loc_swa of the last forward is used again.",
            "A translation is remembered over a change of the mapping.",
            "Drop it when the mapping changes.",
            seen_by="I9 I3",
            links=(f"{_SGLANG}/pull/25889",),
        ),
        _class(
            "free-group-view",
            "A free group freed other slots than it was given.",
            "A row of req_to_token is freed in a group and rewritten before the group ends.",
            "The group keeps the caller's tensor, not a copy.",
            "Clone the slots when a free is deferred.",
            seen_by="I6",
        ),
        _class(
            "illegal-allocation",
            "The allocator hands out, or will, what its pool does not have.",
            "The free list begins with page 0.",
            "A bound that forgets the dummy page, or a free of what was never a page.",
            "Look at the last free before it.",
            seen_by="I20 I5",
            links=(f"{_SGLANG}/pull/38519",),
        ),
        _class(
            "wrong-last-loc",
            "A request goes on behind a slot that is not its last one.",
            "last_loc is slot 256, at place 0 of its page, where place 3 was due.",
            "last_loc is read before the row is written, or at another position.",
            "Take it at length - 1 of the request's own row.",
            seen_by="I20",
        ),
        _class(
            "row-written-wrongly",
            "A row of req_to_token does not hold what belongs there.",
            "The slot of token 40 is written at position 41.",
            "The position counts the new token, or the row was written over.",
            "Compare positions and slots of the store.",
            seen_by="I20",
        ),
        _class(
            "double-release",
            "A request's row was given back twice, or while a forward uses it.",
            "Finish and abort of one request both free row 5.",
            "Two paths end a request.",
            "Release in one place.",
            seen_by="I17",
            links=(f"{_SGLANG}/pull/18694",),
        ),
        _class(
            "row-owned-twice",
            "One row of the request table was given to two requests.",
            "Row 5 is handed out while request 5 runs.",
            "The row was in the free list while held.",
            "Find what put it back.",
            seen_by="I17",
        ),
        _class(
            "other-requests-row",
            "A row of the page table is that of another request, or of none.",
            "Row 2 holds every page of row 1.",
            "The table is built by batch position, or from an earlier batch.",
            "Check the request indices it was built from, and that it was built for this batch.",
            seen_by="I2",
        ),
        _class(
            "exchanged-pages",
            "Two requests read each other's page: two entries of the table are exchanged.",
            "Row 2 names the page of row 5 at column 7, and row 5 that of row 2.",
            "Entries of the table are swapped between its building and the launch.",
            "Find what writes single entries of the table after it is built.",
            seen_by="I2",
        ),
        _class(
            "foreign-part-of-row",
            "A part of a row is another request's.",
            "The last four pages of row 2 are row 1's.",
            "A neighbour's row was written too far, or the row kept a longer batch's end.",
            "Compare the width and the length that the row was built for.",
            seen_by="I2 I14",
        ),
        _class(
            "padded-row",
            "A padding row of a CUDA graph names something.",
            "Rows 61 to 63 of a graph for 64 hold the requests of the last replay.",
            "The graph's buffers are filled to the batch and not behind it.",
            "Fill padding with request 0, the fill length and slot 0.",
            seen_by="I10",
            links=(f"{_SGLANG}/issues/24361",),
        ),
        _class(
            "stale-metadata",
            "A forward runs with the attention metadata of another.",
            "Forward 91 uses what forward 90 built.",
            "The batch looks the same, so metadata is not built again.",
            "Build it for every forward.",
            seen_by="I11",
            links=(f"{_SGLANG}/pull/25889",),
        ),
        _class(
            "lengths-disagree",
            "Lengths or query offsets are not what the forward mode makes them.",
            "target_verify with lengths that lack the draft tokens.",
            "Two conventions for seq_lens meet: with and without this forward's tokens.",
            "Check what this mode adds to seq_lens.",
            seen_by="I12",
        ),
        _class(
            "foreign-write",
            "A token's key and value are written into a slot that is not its own.",
            "out_cache_loc names slot 256, the row of its request slot 257.",
            "Write slots are of another forward, or not translated.",
            "Compare them with the mapping when they are translated.",
            seen_by="I3",
        ),
        _class(
            "request-table-too-small",
            "The request table has no row, or no column, for a request.",
            "257 tokens in a row of 256 columns.",
            "Sized by the context without what the last step adds.",
            "Size it by the context and that.",
            seen_by="I14",
            links=(f"{_SGLANG}/pull/26972",),
        ),
        _class(
            "row-left-while-running",
            "A request that goes on gave its row of the request table back.",
            "A prompt comes in two chunks; between them its row is free, and the request that gets "
            "it writes over what the queued forward of the first chunk reads.",
            "Rows were given back between chunks and taken anew, which overlap scheduling forbids.",
            "Keep the row from the first chunk to the end or the retraction.",
            seen_by="I17",
            links=(f"{_SGLANG}/pull/17850",),
        ),
        _class(
            "stale-eviction-frontier",
            "SWA slots that a request holds count as evicted: it never evicts them, and a tree "
            "takes them for gone.",
            "swa_evicted_seqlen = 96 of a request that begins at token 0 after a retraction.",
            "The number outlives the slots that it was about: a retraction gave them back.",
            "Set it to 0 with the slots; or look at what was restored over it.",
            seen_by="I15",
            links=(f"{_SGLANG}/pull/18059",),
        ),
        _class(
            "prebuilt-slots",
            "A decode server's prebuilt batch names write slots that are not its requests' own.",
            "out_cache_loc begins with slot 16, which is token 0's, of the cached prefix; the "
            "transferred part begins at token 32.",
            "The slots are read from the start of the row, not from behind the cached prefix.",
            "Slice the row from the prefix's length on.",
            seen_by="I3",
            links=(f"{_SGLANG}/pull/24230",),
        ),
        _class(
            "storage-backup-incomplete",
            "Pages that were copied to the host for a node never reach the storage behind it.",
            "96 host slots were copied for a node, 64 go to storage.",
            "The node was split while the copy ran; by then it is the rear part alone.",
            "Store what was copied: walk the split chain up to the length at the start.",
            seen_by="I24",
            links=(f"{_SGLANG}/pull/16946",),
        ),
        _class(
            "padding-row-given",
            "Row 0 of the request table, which padded rows of a graph read, is a request's.",
            "ReqToTokenPool.alloc returns [0].",
            "The free rows begin at 0, or row 0 was freed as if it had been handed out.",
            "Keep it back: the free rows begin at 1.",
            seen_by="I14",
            links=(f"{_SGLANG}/pull/24243",),
        ),
        _class(
            "tree-and-mapping-disagree",
            "The radix tree counts a node as live whose SWA pages are gone, or keeps a dead one's.",
            "A tombstone's slots are still mapped.",
            "A node is marked in one call and its pages freed in another.",
            "Do both in one call.",
            seen_by="I16",
            links=(f"{_SGLANG}/pull/12224",),
        ),
        _class(
            "lock-imbalance",
            "Locks of the tree do not add up.",
            "A node is locked by three requests, two of which have ended.",
            "inc_lock_ref without its dec_lock_ref, or twice.",
            "Pair them on the same node.",
            seen_by="I16",
        ),
        _class(
            "stale-draft-input",
            "A draft's graph runs on values that another replay left in its buffers.",
            "positions[3] is that of the batch before: nobody copied it.",
            "Buffers are filled by hand, one copy a tensor, and shared by name between runners.",
            "Copy every tensor that the graph reads, or zero it.",
            seen_by="I29",
            links=(f"{_SGLANG}/pull/32555",),
        ),
        _class(
            "draft-input-illegal",
            "A draft's graph runs on a value that no batch can have.",
            "A count of 5 accepted tokens after a step that drafted 4.",
            "The verify step hands on lengths or slots of another layout.",
            "Compare what verify returned with what the next draft was given.",
            seen_by="I29",
        ),
        _class(
            "speculative-rows-lost",
            "Speculative state has more or fewer rows than the batch has requests.",
            "hidden_states of 3 rows for 2 requests: one had finished.",
            "A tensor was added to the draft's input and not to its filter or its merge.",
            "Filter and merge every tensor with the batch.",
            seen_by="I29",
        ),
        _class(
            "unwritten-slots-read",
            "A launch reads slots of tokens that its own forward writes only after it.",
            "A prefill of 32 tokens behind a prefix of 32 reads 64 slots of the cache.",
            "The tokens of an extend go through a ragged kernel, and the paged one is planned for "
            "the whole length.",
            "Plan the paged wrapper over the prefix alone.",
            seen_by="I2",
            links=(f"{_SGLANG}/pull/26513",),
        ),
        _class(
            "draft-sum-too-small",
            "The sum of a draft's lengths does not count every row of its padded batch.",
            "seq_lens_sum is 75 for the lengths 20, 37, 18 and a padded 1.",
            "A batch is padded for a graph, and one of its numbers is not.",
            "Add the fill value of each padded row to the sum, and take it off again after it.",
            seen_by="I29",
            links=(f"{_SGLANG}/pull/26880",),
        ),
        _class(
            "draft-graph-of-another-view",
            "What a draft's graph records of its metadata is not what was prepared for it.",
            "Recorded with a spec_info, a length of 40 becomes 41: slot 41 was never written.",
            "The capture leaves the view that nulls spec_info and swaps the pool.",
            "Record the metadata inside of that view.",
            seen_by="I29",
            links=(f"{_SGLANG}/pull/26743",),
        ),
        _class(
            "swa-pool-too-small",
            "The SWA side of the pool cannot hold one request.",
            "48 SWA slots for a window of 47 and a page of 16: every request waits.",
            "A small budget times swa_full_tokens_ratio, and no floor.",
            "Raise --swa-full-tokens-ratio, or the token budget.",
            seen_by="I19",
            links=(f"{_SGLANG}/pull/37610",),
        ),
        _class(
            "draft-pool-too-small",
            "A draft's pool has fewer rows than its allocator hands out.",
            "A draft pool of 30,000 rows under an allocator of 69,000 slots.",
            "The draft shares the target's allocator and sizes its pool alone.",
            "Size it by the allocator.",
            seen_by="I19",
            links=(f"{_SGLANG}/issues/25103",),
        ),
        _class(
            "offset-overflow",
            "An index times its stride does not fit the integer that holds it.",
            "Slot 70,000 times 65,536 in int32.",
            "A narrow type that sufficed for smaller pools.",
            "Widen before multiplying.",
            seen_by="I21",
        ),
        _class(
            "state-not-restored",
            "What a speculative step changes for its duration is not restored.",
            "The target's backend keeps the draft's pool after an exception.",
            "The restoring code is not in a finally clause.",
            "Put it there.",
            seen_by="I23",
        ),
        _class(
            "unequal-transfer",
            "The two index lists of a transfer have different lengths.",
            "4 pages read, 3 written.",
            "They are built from two ranges of tokens.",
            "Build both from one.",
            seen_by="I24",
        ),
        _class(
            "transfer-list",
            "The index list of a transfer is not made of whole pages, once each.",
            "Host slots 0 to 9 are written where a page has 16.",
            "The list was cut by another page size, or joined twice.",
            "Cut it at page boundaries and join it once.",
            seen_by="I24",
        ),
        _class(
            "transfer-of-wrong-slots",
            "A transfer names slots that its pool does not have, or that nobody holds there.",
            "Host slot 70,000 of a host pool of 65,536.",
            "The slots are of another pool, or of a node whose host copy was given back.",
            "Compare the node's host_value with what the host pool's alloc returned for it.",
            seen_by="I24",
        ),
        _class(
            "freed-in-transfer",
            "Host slots were freed while a transfer still reads or writes them.",
            "Host slot 4096 is freed while a load back to the device reads it.",
            "A node is evicted from the host before its transfer is acknowledged.",
            "Hold the node's lock, or its host reference, until then.",
            seen_by="I24",
        ),
        _class(
            "host-page-released-twice",
            "Host pages of HiCache were released by two, or by one that held them no more.",
            "A prefetch that ends early puts its unused pages onto the release queue twice.",
            "The part that is not filled is released where the read stops, and by its caller.",
            "Let one place release what a transfer did not use.",
            seen_by="I24",
            links=(f"{_SGLANG}/pull/13501",),
        ),
        _class(
            "budget-too-small",
            "Admission reserves less than the pages that an extend takes.",
            "17 tokens reserved where two pages of 16 are taken.",
            "Tokens are counted where pages are taken.",
            "Round up to whole pages.",
            seen_by="I25",
        ),
        _class(
            "dirty-workspace",
            "The split-K counters at the head of the workspace are not zero.",
            "A second stream uses one workspace.",
            "The workspace is shared, or another kernel wrote into it.",
            "One workspace for each stream, zeroed once.",
            seen_by="I27",
            links=(f"{_FLASHINFER}/issues/3864",),
        ),
        _class(
            "known-kernel-defect",
            "A sound table, a fault of this launch's own kernel, and a published defect of it.",
            "Pages of 256 tokens with FlashInfer before 0.6.17.",
            "The call meets the conditions of a published issue.",
            "Try another FlashInfer release, or another backend for the layer.",
            seen_by="",
        ),
        _class(
            "kernel-wrong-output",
            "The kernel answered something else than the pages that it read give.",
            "Head dimension 512 and six queries a row: every row but the first gets another's.",
            "The kernel is wrong, or was given a workspace or an output that others write to.",
            "Try another FlashInfer release, or another backend for the layer.",
            seen_by="I28",
            links=(f"{_FLASHINFER}/pull/4382", f"{_FLASHINFER}/issues/3864"),
        ),
        _class(
            "query-read-as-packed",
            "Every row of a decode but the first attends with other numbers than its queries.",
            "Queries of 4 heads of 256 lie 2,048 elements apart, and XQA reads them 1,024 apart.",
            "trtllm_mha hands XQA a slice of the fused QKV: SGLang 0.5.12.post1 to 0.5.15.post1.",
            "SGLANG_TRIAGE_FIXES=packed-query, or a release that makes the queries contiguous.",
            seen_by="I28",
            links=(f"{_SGLANG}/pull/31667",),
        ),
        _class(
            "draft-carries-prefill-slots",
            "A frozen-KV draft's batch names the slots of its prefill, which do not fit its graph.",
            "The first request's prompt has 128 tokens, the draft's largest graph 32 requests.",
            "The draft writes nothing and sets no out_cache_loc: 0.5.14 leaves the target's there.",
            "SGLANG_TRIAGE_FIXES=slotless-draft, or SGLang 0.5.15.post1 and later.",
            seen_by="",
            links=(f"{_SGLANG}/pull/29616",),
        ),
        _class(
            "unordered-refill",
            "A graph's table or lengths are written while the graph that reads them runs.",
            "The next step's plan refills on a stream of its own, 200 us before the replay ends.",
            "Metadata are prepared on another stream that does not wait for the last replay.",
            "Let that stream wait for the event behind the replay, or prepare on the replay's own.",
            seen_by="I18",
            links=(f"{_SGLANG}/issues/31023",),
        ),
    )
}


def find(name: str) -> DefectClass | None:
    """The class of that key, whatever its case; None if there is none."""
    return CLASSES.get(name.strip().lower().replace("_", "-").replace(" ", "-"))


def seen_by(invariant: str) -> tuple[DefectClass, ...]:
    """The classes that `invariant` sees: how its alarm comes about."""
    return tuple(each for each in CLASSES.values() if invariant in each.seen_by)


def invariant_page(row: Invariant) -> str:
    """The page of an invariant: what it means, and the classes that break it."""
    lines = [catalogue.page(row)]
    causes = seen_by(row.name)
    for index, each in enumerate(causes):
        label = "How it comes about:" if index == 0 else ""
        lines.append(
            f"{label}\n" * bool(label) + f"  {each.comes_about}  (triage explain {each.key})"
        )
    links = dict.fromkeys(link for each in causes for link in each.links)
    lines += [f"{'See:' if index == 0 else '':<16}{link}" for index, link in enumerate(links)]
    return "\n".join(lines)


def invariant_as_dict(row: Invariant) -> dict[str, Any]:
    """The same for JSON."""
    causes = seen_by(row.name)
    return {
        **row.as_dict(),
        "classes": [{"key": each.key, "comes_about": each.comes_about} for each in causes],
        "links": list(dict.fromkeys(link for each in causes for link in each.links)),
    }


def page(found: DefectClass) -> str:
    """The page as text."""
    parts = [
        (found.key, found.means),
        ("example", found.example),
        ("how it comes about", found.comes_about),
        ("try", found.try_this),
        ("seen by", ", ".join(found.seen_by)),
        ("see", "\n  ".join(found.links)),
    ]
    return "\n".join(f"{label}\n  {text}" for label, text in parts if text)
