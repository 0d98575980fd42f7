"""From what a check or the ledger found to a class of defect, where one value tells it.

These faults have no launch: the finding says which page, row or attribute, and what
happened to it before. The rule: a class stands beside each `Found`, and nothing here reads
a sentence. Where the class takes more than the kind (whose the page is, which value the
entry has), a function below decides on the values that came with it. Long because it is one
table: a row a class, and the class of each kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from triage.dump.sections import Dump
from triage.evidence import Evidence
from triage.explain.cause import Cause, Citation, Confidence
from triage.invariants.found import Found

_SGLANG = "https://github.com/sgl-project/sglang"


@dataclass(frozen=True, slots=True)
class FoundClass:
    """One class of defect and what only it leaves."""

    key: str
    name: str
    refuted_by: str
    fix: str
    links: tuple[str, ...] = ()
    confidence: Confidence = Confidence.HIGH


_FAILED_ALLOC = FoundClass(
    "failed-alloc-leak",
    "an allocation that failed kept pages",
    "free counts of both pools that a failed call leaves alone",
    "give back what the other side took before returning None",
)
_LEFT_WITH_A_REQUEST = FoundClass(
    "leak",
    "a request was released and its pages were not (leak)",
    "a radix tree or a transfer that holds those pages",
    "free the request's row up to what was allocated, not to what was committed",
    (f"{_SGLANG}/pull/12224",),
)
_HELD_BY_NOBODY = FoundClass(
    "leak",
    "pages are held that no request and no tree names (leak)",
    "a transfer or a host cache that holds those pages",
    "free a request's row up to what was allocated; where a row is clamped, look at its width",
    (f"{_SGLANG}/pull/33581",),
)
_NOT_RECORDED = FoundClass(
    "allocation-not-recorded",
    "slots that were allocated for a request are not in its kv_allocated_len: its row is "
    "overwritten by the next allocation of the same positions, and they leak",
    "a record that is brought up to date later in the same step",
    "set kv_allocated_len to the new length where the slots are allocated, at any page size",
    (f"{_SGLANG}/pull/13826",),
)
_COUNTS_SHORT = FoundClass(
    "leak",
    "tokens of the pool are neither free nor cached nor any request's (leak)",
    "a holder beside requests and the tree, as a transfer or a session",
    "free a request's row up to what was allocated; CHECKS=all names the page and the step",
    (f"{_SGLANG}/pull/12224",),
    confidence=Confidence.MEDIUM,
)
_COUNTED_TWICE = FoundClass(
    "page-owned-twice",
    "pages of the pool stand in two places: free and in use, or with two owners",
    "a request whose cached prefix is shorter in its own record than in the tree",
    "CHECKS=all names the page, and the call that freed it or gave it twice",
    confidence=Confidence.MEDIUM,
)
_NOT_COME_BACK = FoundClass(
    "leak",
    "a page was freed and never came back to the free list",
    "a staging list that the audit does not read",
    "look at what the free group held when it ended",
)
_OUTLIVES = FoundClass(
    "stale-mapping",
    "the mapping outlives the page it belongs to",
    "a mapping that is 0 on the whole page after the call",
    "clear the mapping by page, as the pages are freed",
    (f"{_SGLANG}/pull/27779",),
)
_MAPPING_LOST = FoundClass(
    "stale-mapping",
    "the mapping lost a page that is still held",
    "an SWA page that was freed by the same call",
    "clear the mapping of the pages that are freed, and of no other",
    (f"{_SGLANG}/pull/27779",),
)
_MAPPING_DISAGREES = FoundClass(
    "stale-mapping",
    "the mapping and the pools disagree about a page",
    "a mapping that was written after the audit began",
    "find what changed one without the other: a deferred free, a recovery, a load-back",
    (f"{_SGLANG}/issues/36081", f"{_SGLANG}/pull/25385"),
)
_GROUP_VIEW = FoundClass(
    "free-group-view",
    "a free group kept a view of the request table, which was rewritten before it ended",
    "an allocator that copies what it defers",
    "clone the slots when a free is deferred",
)
_DUMMY_FREED = FoundClass(
    "dummy-page-freed",
    "the dummy page 0 was freed: the next request gets it, and writes where padding does",
    "slots that are all inside the pool",
    "drop the slots without an SWA peer before they are freed",
    (f"{_SGLANG}/pull/38519",),
)
_NOBODYS_FREED = FoundClass(
    "illegal-free",
    "a page was freed that the pool does not have",
    "slots that are all inside the pool",
    "find where the freed slots come from: they are of another pool, or of none",
)
_NEVER_ALLOCATED = FoundClass(
    "never-allocated-freed",
    "a page was freed that nobody had been given",
    "an allocation of the page that the ledger did not hear of",
    "find where the freed slots come from: another row, another pool, or an id that was not "
    "made by an allocation",
)
_FREED_TWICE = FoundClass(
    "double-free",
    "a page was freed twice",
    "an allocation of the page between the two frees",
    "find the second caller: the evidence names the call that freed it first",
    (f"{_SGLANG}/pull/18694",),
)
_ROW_USES_FREED = FoundClass(
    "freed-page",
    "a page is used by a request after it was freed (use after free)",
    "an allocation of the page after that free",
    "find who freed it while a row still named it: the evidence names the call",
)
_FREED_UNDER = FoundClass(
    "freed-page",
    "a page is freed while the row of another request still names it (use after free to come)",
    "a row whose request has ended, and that is only not cleared",
    "do not free what a lock protects: look at what the call took from the tree",
    (f"{_SGLANG}/pull/29352",),
)
_LOCKED_PREFIX_FREED = FoundClass(
    "locked-prefix-freed",
    "an insert revives a cached prefix and frees the full pages that a running request reads there",
    "a node that no request locks: then the row that names the page is what is wrong",
    "SGLANG_TRIAGE_FIXES=keep-locked-prefix, or SGLang 0.5.15 and later",
    (f"{_SGLANG}/pull/29352",),
)
_REVIVING = (
    "SWARadixCache._insert_helper",
    "SWAComponent.update_component_on_insert_overlap",
)
"""Where SGLang's trees revive a node whose SWA side was evicted."""
_ROW_USES_UNKNOWN = FoundClass(
    "page-of-nobody",
    "a request's row names a page that nobody was given",
    "an allocation of the page that the ledger did not hear of",
    "find what wrote the row: compare it with what the request's allocations returned",
)
_ALIAS = FoundClass(
    "page-owned-twice",
    "one page is in the rows of two requests, or twice in one",
    "a prefix that both took from a tree, at the same position",
    "compare the rows with what each allocation returned",
)
_ALIAS_NO_PREFIX = FoundClass(
    "page-owned-twice",
    "two requests that share no prefix hold one page",
    "a prefix that both took from a tree the ledger does not know",
    "compare what the tree matched with what was written into both rows",
)
_FREE_AND_HELD = FoundClass(
    "page-owned-twice",
    "a page is free and held at once: the next request gets it too",
    "a free of the page that the ledger did not hear of",
    "find what put the page back, or never took it off the free list",
)
_HANDED_OUT_HELD = FoundClass(
    "page-owned-twice",
    "a page was handed out while somebody held it",
    "a free of the page that the ledger did not hear of",
    "find what put the page back, or never took it off the free list",
)
_SLOT_TWICE = FoundClass(
    "page-owned-twice",
    "one call of the allocator handed a slot out twice",
    "a caller that passed the same request twice",
    "look for a page that is in the free list twice",
)
_LISTED_TWICE = FoundClass(
    "double-free",
    "a page is in the free list twice: two requests will get it",
    "a list that is made unique before it is used",
    "find the second free of the page: arm the ledger, which names both calls",
    confidence=Confidence.MEDIUM,
)
_LISTED_ILLEGAL = FoundClass(
    "illegal-allocation",
    "the free list names a page that the pool does not hand out",
    "a bound that forgets the dummy page: legal pages are 1 to size / page size",
    "find what put it there: the last free, or the list as it was first made",
    (f"{_SGLANG}/pull/38519",),
)
_ROW_RELEASED = FoundClass(
    "double-release",
    "a request's row was released twice, or while it is used",
    "a new owner of the row between the two releases",
    "release in one place: finish, retract and abort may meet there",
    (f"{_SGLANG}/pull/18694",),
)
_ROW_LEFT = FoundClass(
    "row-left-while-running",
    "a request that is still being prefilled gave its row of the request table back, and another "
    "request may overwrite it while it is in use",
    "a retraction or an end of the request between the two",
    "keep the row from the first chunk of a prompt to the request's end",
    (f"{_SGLANG}/pull/17850",),
)
_ROW_GIVEN = FoundClass(
    "row-owned-twice",
    "one row of the request table was given to two requests",
    "a release of the row that the ledger did not hear of",
    "find what put the row back into the free list while it was held",
)
_TRANSLATION = FoundClass(
    "stale-translation",
    "a translation is not what the mapping says now (cached?)",
    "a mapping rewritten between the call and the check",
    "drop whatever remembers translated slots when the mapping changes",
    (f"{_SGLANG}/pull/25889",),
)
_MAPPING_OTHER = FoundClass(
    "stale-mapping",
    "a slot was handed out whose mapping names another page than the one it was given",
    "a mapping written between the call and the check",
    "write the mapping of every slot that alloc returns, in the same call and only there",
    (f"{_SGLANG}/pull/25385",),
)
_MAPPING_MISSING = FoundClass(
    "mapping-not-written",
    "a slot was handed out without a mapping, though it was given an SWA page",
    "a mapping written between the call and the check",
    "write the mapping of every slot that alloc returns, in the same call",
    (f"{_SGLANG}/pull/25385",),
)
_CONTINUES_EVICTED = FoundClass(
    "freed-page",
    "a request goes on in a page whose SWA side is gone: new tokens get the dummy page",
    "a page that the request does not continue",
    "find who freed or evicted the page while the request held it (`whose hand`)",
)
_WRITE_ELSEWHERE = FoundClass(
    "foreign-write",
    "a token is written to a slot that is not its own",
    "a request index of 0 for that token: padding may write the dummy page",
    "compare the write slots with the mapping at the moment they were translated",
)
_PADDING = FoundClass(
    "padded-row",
    "padding of a CUDA graph carries an earlier replay's rows",
    "a batch size that covers those rows",
    "fill padded rows with request 0, the fill length and slot 0 before the replay",
    (f"{_SGLANG}/issues/24361",),
)
_PADDING_ROW_LEFT = FoundClass(
    "padded-row",
    "a padded row of a draft's graph points at an old request row, whose pages are freed or "
    "somebody else's",
    "a batch size that covers that row",
    "fill padded rows with request 0 before each replay, of a draft's graph too",
    (f"{_SGLANG}/pull/26292",),
)
_METADATA = FoundClass(
    "stale-metadata",
    "a forward goes on with the metadata of another",
    "a copy of the batch that shares nothing with it and is launched second",
    "build metadata for every forward, also where the batch looks the same",
    (f"{_SGLANG}/pull/25889",),
)
_UNORDERED = FoundClass(
    "unordered-refill",
    "a graph's metadata are refilled while the graph that reads them still runs",
    "a refill that another graph's replay reads, and not this one's",
    "let the stream that refills wait for the event behind the graph's last replay",
    (f"{_SGLANG}/issues/31023",),
)
_DRAFT_LEFT = FoundClass(
    "stale-draft-input",
    "a draft's graph is replayed with what another replay left in its buffers",
    "a runner that fills the buffer inside its graph",
    "copy the forward's tensor into the buffer before each replay",
    (f"{_SGLANG}/pull/32555",),
)
_DRAFT_OUTSIDE = FoundClass(
    "draft-input-illegal",
    "a draft's graph is replayed with a value that its batch cannot have",
    "a table or a pool that was made again with another size",
    "look at what the verify step hands on: lengths, accepted tokens, slots",
)
_SPEC_ROWS = FoundClass(
    "speculative-rows-lost",
    "speculative state and the batch have different numbers of rows",
    "rows that are looked up later by an index of the batch",
    "filter and merge every tensor of the draft's input with the batch",
)
_SHORT_SUM = FoundClass(
    "draft-sum-too-small",
    "seq_lens_sum of a draft does not count every row of the padded batch: its kv_indices are "
    "cut too short",
    "a sum that is at least that of the lengths",
    "add the fill value of each padded row to seq_lens_sum, where the batch is padded",
    (f"{_SGLANG}/pull/26880",),
)
_OTHER_VIEW = FoundClass(
    "draft-graph-of-another-view",
    "a draft's graph recorded its metadata for another view than it runs under: its lengths, or "
    "its tables, are those of another kind of step",
    "the same spec_info, mode and pool in front of the capture and inside of it",
    "record the metadata inside of the view under which the draft runs",
    (f"{_SGLANG}/pull/26743",),
)
_NARROW = FoundClass(
    "narrow-table",
    "the page table has fewer columns than a row needs",
    "a table that is made as wide as the longest row",
    "size the table by the request table's width, and mask the store by the table's",
    (f"{_SGLANG}/pull/35985",),
)
_WINDOW_SHORT = FoundClass(
    "decode-window-short",
    "decode leaves out the oldest key of the sliding window, which prefill of the same layer reads",
    "a model whose sliding_window_size counts the query's own token",
    "gather sliding_window_size + 1 slots in a decode, and size the graph's buffer by them",
    (f"{_SGLANG}/pull/32087", f"{_SGLANG}/issues/34354"),
)
_BUFFER = FoundClass(
    "buffer-too-small",
    "a buffer of one mode or batch size is used for a larger one",
    "a buffer that was made again for this size",
    "size the buffer by the largest batch and the tokens that its mode adds",
)
_REQUEST_TABLE = FoundClass(
    "request-table-too-small",
    "the request table has no room for a request",
    "a table that was made again with more rows or columns",
    "size it by the context and the tokens that a last step adds",
    (f"{_SGLANG}/pull/26972",),
)
_PADDING_ROW = FoundClass(
    "padding-row-given",
    "row 0 of the request table, which padding reads, was given to a request",
    "a release whose padded rows of a graph point at another row than 0",
    "keep row 0 back: the free rows begin at 1",
    (f"{_SGLANG}/pull/24243",),
)
_EVICTED_EARLY = FoundClass(
    "freed-page",
    "the SWA side of a token is gone while a query can see it (use after free)",
    "an eviction frontier at or before the start of the oldest query's window",
    "find what evicts ahead of the window: the length it was passed, or the window's",
    (f"{_SGLANG}/pull/22470",),
)
_FRONTIER_STALE = FoundClass(
    "stale-eviction-frontier",
    "SWA slots that a request has or will get count as evicted: they are never evicted, and leak",
    "an eviction of those very slots after they were allocated",
    "set swa_evicted_seqlen back to 0 where a retraction gives the slots back",
    (f"{_SGLANG}/pull/18059",),
)
_TREE_LIVE = FoundClass(
    "tree-and-mapping-disagree",
    "a live tree node lost its SWA pages, or a tombstone kept them",
    "a deferred free that has not been settled",
    "mark the node in the call that frees its SWA side",
    (f"{_SGLANG}/pull/12224",),
)
_TREE_TOMBSTONE = FoundClass(
    "tree-and-mapping-disagree",
    "a live tree node lost its SWA pages, or a tombstone kept them",
    "a deferred free that has not been settled",
    "free the SWA side in the call that marks the node",
    (f"{_SGLANG}/pull/12224",),
)
_TREE_EVICTED = FoundClass(
    "tree-and-mapping-disagree",
    "the tree makes a live node of tokens whose SWA side is evicted",
    "SWA slots that the request got anew for those tokens",
    "hand the request's swa_evicted_seqlen to the insert, and keep it below what is inserted",
    (f"{_SGLANG}/pull/22470", f"{_SGLANG}/pull/29350"),
)
_NOT_MATCHED = FoundClass(
    "page-owned-twice",
    "pages are a running request's own and the unlocked tree's at once: the match behind the "
    "insert refuses them",
    "a lock that the request takes on those nodes later",
    "leave a whole window of live SWA at the end of the key: compute the frontier from the key",
    (f"{_SGLANG}/pull/34870",),
)
_NOT_ALLOCATED = FoundClass(
    "cached-not-allocated",
    "a request's tokens are cached beyond what was allocated and computed for it: the tree takes "
    "stale entries of its row, slots of nobody or of another request",
    "slots that were written into the row and not counted in kv_allocated_len",
    "where a chunk is not admitted, set the request's range back to what it holds",
    (f"{_SGLANG}/pull/24275",),
)
_LOCKS = FoundClass(
    "lock-imbalance",
    "locks of the tree were taken and not given back, or given back twice",
    "a request that is between its two locks",
    "pair every inc_lock_ref with one dec_lock_ref of the same node",
)
_LOCK_MISSING = FoundClass(
    "lock-imbalance",
    "a node of the tree has fewer locks than requests that hold it: it may be evicted under them",
    "a request that has released its lock and keeps its row",
    "find the dec_lock_ref that was called twice, or of another node",
)
_LOCK_LEFT = FoundClass(
    "lock-imbalance",
    "a node of the tree keeps a lock that no request holds: it is never evicted",
    "a host cache, a transfer or a session that holds it",
    "find the path that ends a request and does not call dec_lock_ref",
)
_DRAFT_POOL = FoundClass(
    "draft-pool-too-small",
    "a draft's pool has fewer rows than its allocator hands out",
    "an allocator of the draft's own",
    "size the draft's pool by the allocator that it shares",
    (f"{_SGLANG}/issues/25103",),
)
_STALE = FoundClass(
    "stale-swa-state",
    "a backend was built without the SWA state of the pool that it reads",
    "a release, or a fix, that moves the state when the pool is swapped in",
    "SGLANG_TRIAGE_FIXES=state-swap",
    (f"{_SGLANG}/issues/26957", f"{_SGLANG}/pull/26966"),
)
_TRANSLATED = FoundClass(
    "own-pool-draft-translated",
    "a draft with its own pool was built with the SWA mapping of the target's",
    "a draft whose pool is the target's",
    "SGLANG_TRIAGE_FIXES=draft-own-pool",
    (f"{_SGLANG}/issues/25103", f"{_SGLANG}/pull/27491"),
)
_SWA_POOL = FoundClass(
    "swa-pool-too-small",
    "the SWA pool cannot hold one request: it is smaller than the sliding window and a page",
    "an SWA side as large as the full one, or a context shorter than the window",
    "raise --swa-full-tokens-ratio, or the token budget",
    (f"{_SGLANG}/pull/37610",),
)
_OVERFLOW = FoundClass(
    "offset-overflow",
    "an index times its stride does not fit the integer that holds it",
    "a kernel that widens before it multiplies",
    "widen the index, or the type of the table",
)
_NOT_RESTORED = FoundClass(
    "state-not-restored",
    "speculative state is not what it was before the step",
    "the same object in place after the step",
    "restore in a finally clause what the step swapped",
)
_TRANSFER = FoundClass(
    "unequal-transfer",
    "the two index lists of a transfer have different lengths",
    "a side that is empty, which means that there is nothing to transfer",
    "build both lists from one range of tokens",
)
_TRANSFER_IDS = FoundClass(
    "transfer-of-wrong-slots",
    "a transfer names slots that its pool does not have, or that nobody holds there",
    "an allocation of those slots that the hooks did not hear",
    "compare the node's host_value with what the host pool's alloc returned for it",
)
_TRANSFER_LIST = FoundClass(
    "transfer-list",
    "the index list of a transfer is not made of whole pages, once each",
    "a pool whose page is another than the one the list was cut by",
    "look at what cut the list: it has to be cut at page boundaries and joined once",
)
_BACKUP = FoundClass(
    "storage-backup-incomplete",
    "the backup to storage misses host pages that were copied for it: a node was split meanwhile",
    "a second backup that stores the rest",
    "take key and host slots as they were when the copy was queued, over the whole split chain",
    (f"{_SGLANG}/pull/16946",),
)
_PREBUILT = FoundClass(
    "prebuilt-slots",
    "a prebuilt batch names other write slots than its requests' own, as those of a shared prefix",
    "a row that was rewritten after the batch was made",
    "take out_cache_loc from the row behind the prefix, not from its start",
    (f"{_SGLANG}/pull/24230",),
)
_TRANSFER_FREED = FoundClass(
    "freed-in-transfer",
    "host slots were freed while a transfer still reads or writes them",
    "an acknowledgement of that transfer before the free",
    "hold the node's lock, or its host reference, until the transfer is acknowledged",
)
_HOST_RELEASED_TWICE = FoundClass(
    "host-page-released-twice",
    "host pages of HiCache are released a second time (double free): another node or prefetch "
    "that gets them loses them",
    "an alloc of these slots between the two releases that went around HostKVCache",
    "let one place release what a transfer did not use: the one that ends it",
    (f"{_SGLANG}/pull/13501",),
)
_TREE_TOKENS_AS_OWN = FoundClass(
    "freed-page",
    "a prefix cache is about to free pages that its own tree holds (use after free to come)",
    "an insert that moved the request's mark after this moment",
    "move cache_protected_len with each insert of the request's tokens",
    (f"{_SGLANG}/issues/38319",),
)
_FREED_WHILE_SENT = FoundClass(
    "freed-in-transfer",
    "a request's pages were given back while they are being sent to another server",
    "a sender that was aborted, or came to its end, before the release",
    "end or abort the sender before the row is released, or release it from the queue of transfers",
)
_BUDGET = FoundClass(
    "budget-too-small",
    "admission sets aside less than the pages that an extend takes",
    "a page size of 1",
    "round the tokens up to whole pages when they are reserved",
)
_WORKSPACE = FoundClass(
    "dirty-workspace",
    "split-K counters are not zero between launches",
    "a FlashInfer release that keeps its counters elsewhere",
    "give each stream a workspace of its own, zeroed once",
    ("https://github.com/flashinfer-ai/flashinfer/issues/3864",),
)
_SLOTS = FoundClass(
    "slots-as-pages",
    "slots are passed where page ids belong",
    "a page size of 1",
    "divide by the page size where the table is built",
    (f"{_SGLANG}/pull/38187",),
)
_TWICE = FoundClass(
    "divided-twice",
    "page ids are divided by the page size once more",
    "rows whose ids are right by another mapping",
    "divide once, where the table is built",
    (f"{_SGLANG}/pull/38187",),
)

CLASS_OF: dict[str, FoundClass] = {
    Found.REFILLED_WHILE_READ: _UNORDERED,
    Found.LEAKED_BY_FAILED_ALLOC: _FAILED_ALLOC,
    Found.LEAKED_BY_REQUEST: _LEFT_WITH_A_REQUEST,
    Found.HELD_BY_NOBODY: _HELD_BY_NOBODY,
    Found.ALLOCATED_NOT_RECORDED: _NOT_RECORDED,
    Found.COUNTS_SHORT: _COUNTS_SHORT,
    Found.COUNTED_TWICE: _COUNTED_TWICE,
    Found.MISSING_FROM_FREE_LIST: _NOT_COME_BACK,
    Found.LEFT_MAPPED: _OUTLIVES,
    Found.UNMAPPED_HELD_PAGE: _MAPPING_LOST,
    Found.MAPPING_STALE: _MAPPING_DISAGREES,
    Found.MAPPING_LEAVES_ITS_PAGE: _MAPPING_DISAGREES,
    Found.SWA_PAGE_SHARED: _MAPPING_DISAGREES,
    Found.SWA_PAGE_NOT_MAPPED: _MAPPING_DISAGREES,
    Found.SWA_PAGE_NOT_HELD: _MAPPING_DISAGREES,
    Found.GROUP_KEPT_A_VIEW: _GROUP_VIEW,
    Found.FREED_DUMMY: _DUMMY_FREED,
    Found.FREED_ILLEGAL: _NOBODYS_FREED,
    Found.NEVER_ALLOCATED: _NEVER_ALLOCATED,
    Found.FREED_TWICE: _FREED_TWICE,
    Found.USED_AFTER_FREE: _ROW_USES_FREED,
    Found.PADDING_READS_FREED: _PADDING_ROW_LEFT,
    Found.FREED_UNDER_A_REQUEST: _FREED_UNDER,
    Found.FREED_WHILE_LOCKED: _LOCKED_PREFIX_FREED,
    Found.USED_NEVER_ALLOCATED: _ROW_USES_UNKNOWN,
    Found.USED_ILLEGAL: _ROW_USES_UNKNOWN,
    Found.ALIASED_POSITIONS: _ALIAS,
    Found.ALIASED_WITHOUT_PREFIX: _ALIAS_NO_PREFIX,
    Found.LISTED_AND_HELD: _FREE_AND_HELD,
    Found.HANDED_OUT_HELD: _HANDED_OUT_HELD,
    Found.SLOT_REPEATED: _SLOT_TWICE,
    Found.LISTED_TWICE: _LISTED_TWICE,
    Found.LISTED_DUMMY: _LISTED_ILLEGAL,
    Found.LISTED_ILLEGAL: _LISTED_ILLEGAL,
    Found.ROW_RELEASED_TWICE: _ROW_RELEASED,
    Found.ROW_NEVER_GIVEN: _ROW_RELEASED,
    Found.ROW_GIVEN_TWICE: _ROW_GIVEN,
    Found.ROW_LEFT_WHILE_RUNNING: _ROW_LEFT,
    Found.STALE_TRANSLATION: _TRANSLATION,
    Found.CONTINUES_EVICTED_PAGE: _CONTINUES_EVICTED,
    Found.WRITE_OUTSIDE_POOL: _WRITE_ELSEWHERE,
    Found.WRITE_NOT_MAPPED_SLOT: _WRITE_ELSEWHERE,
    Found.WRITE_NOT_OWN_SLOT: _WRITE_ELSEWHERE,
    Found.PADDING_NOT_INERT: _PADDING,
    Found.LEFT_OF_ANOTHER_REPLAY: _DRAFT_LEFT,
    Found.DRAFT_INPUT_OUTSIDE: _DRAFT_OUTSIDE,
    Found.SPEC_ROWS_NOT_THE_BATCHES: _SPEC_ROWS,
    Found.SUM_BELOW_LENGTHS: _SHORT_SUM,
    Found.RECORDED_FOR_ANOTHER_VIEW: _OTHER_VIEW,
    Found.METADATA_OF_ANOTHER_FORWARD: _METADATA,
    Found.METADATA_OF_ANOTHER_SIZE: _METADATA,
    Found.WINDOW_ONE_SHORT: _WINDOW_SHORT,
    Found.TABLE_TOO_NARROW: _NARROW,
    Found.BUFFER_TOO_SMALL: _BUFFER,
    Found.NO_SUCH_ROW: _REQUEST_TABLE,
    Found.ROW_TOO_SHORT: _REQUEST_TABLE,
    Found.FRONTIER_NOT_ALIGNED: _EVICTED_EARLY,
    Found.FRONTIER_IN_WINDOW: _EVICTED_EARLY,
    Found.COMMITTED_NOT_ALLOCATED: _EVICTED_EARLY,
    Found.WINDOW_NOT_MAPPED: _EVICTED_EARLY,
    Found.FRONTIER_NOT_RESET: _FRONTIER_STALE,
    Found.FRONTIER_PAST_PREFIX: _FRONTIER_STALE,
    Found.LIVE_NODE_NOT_MAPPED: _TREE_LIVE,
    Found.TOMBSTONE_MAPPED: _TREE_TOMBSTONE,
    Found.LIVE_NODE_EVICTED: _TREE_EVICTED,
    Found.INSERTED_NOT_MATCHED: _NOT_MATCHED,
    Found.CACHED_NOT_ALLOCATED: _NOT_ALLOCATED,
    Found.LOCK_NEGATIVE: _LOCKS,
    Found.LOCK_SWA_ABOVE_FULL: _LOCKS,
    Found.LOCK_BELOW_CHILDREN: _LOCKS,
    Found.LOCK_BELOW_HOLDERS: _LOCK_MISSING,
    Found.HOLDER_OUTSIDE_TREE: _LOCK_MISSING,
    Found.LOCK_ABOVE_HOLDERS: _LOCK_LEFT,
    Found.POOL_TOO_SMALL: _DRAFT_POOL,
    Found.SWA_POOL_BELOW_FLOOR: _SWA_POOL,
    Found.OFFSET_OVERFLOW: _OVERFLOW,
    Found.TRANSFER_UNEQUAL: _TRANSFER,
    Found.TRANSFER_OUTSIDE_POOL: _TRANSFER_IDS,
    Found.TRANSFER_NOT_HELD: _TRANSFER_IDS,
    Found.TRANSFER_REPEATED: _TRANSFER_LIST,
    Found.TRANSFER_TORN_PAGE: _TRANSFER_LIST,
    Found.FREED_IN_TRANSFER: _TRANSFER_FREED,
    Found.HOST_RELEASED_TWICE: _HOST_RELEASED_TWICE,
    Found.FREED_WHILE_SENT: _FREED_WHILE_SENT,
    Found.TREE_TOKENS_AS_OWN: _TREE_TOKENS_AS_OWN,
    Found.BACKUP_INCOMPLETE: _BACKUP,
    Found.PREBUILT_NOT_OWN_SLOT: _PREBUILT,
    Found.BUDGET_TOO_SMALL: _BUDGET,
    Found.STATE_NOT_RESTORED: _NOT_RESTORED,
    Found.WORKSPACE_DIRTY: _WORKSPACE,
    Found.SLOT_AS_PAGE: _SLOTS,
    Found.DIVIDED_TWICE: _TWICE,
}
"""The class of each kind that tells it alone."""

JUDGED_ELSEWHERE = frozenset(
    {
        Found.PAGE_OUTSIDE_POOL,
        Found.WRONG_PAGE,
        Found.WRONG_SLOT,
        Found.NO_SUCH_REQUEST,
        Found.ILLEGAL_LENGTH,
        Found.ILLEGAL_QUERIES,
        Found.LENGTH_NOT_THE_BATCHES,
        Found.ILLEGAL_OFFSETS,
        Found.SLOTS_OF_ANOTHER_LENGTH,
        Found.FORM_NOT_READ,
        Found.SLOT_OUTSIDE_POOL,
        Found.HANDED_OUT_ILLEGAL,
        Found.LAST_LOC_EARLIER,
        Found.LAST_LOC_PLACE,
        Found.LAST_LOC_NOT_IN_ROWS,
        Found.ROW_LEAVES_ITS_PAGE,
        Found.ROW_NOT_AS_WRITTEN,
        Found.STATE_OF_ANOTHER_POOL,
        Found.MAPPING_NOT_OF_ALLOCATION,
        Found.OUTPUT_WRONG,
    }
)
"""Kinds whose class takes more than the kind: the launch (`RULES`) or `rules_fault` tell it."""


def found_by_a_check(dump: Dump) -> Cause | None:
    """The class of what a check or the ledger found, where the kind alone tells it."""
    fault = dump.fault
    known = _mapping_class(fault) or _tree_class(fault) or _row_class(fault)
    known = known or _state_class(fault) or CLASS_OF.get(fault.found)
    if known is None or padding_may_write(fault):
        return None
    lines = fault.headline().splitlines()
    return Cause(
        key=known.key,
        name=known.name,
        confidence=Confidence.MEDIUM if freed_by_strangers(fault) else known.confidence,
        evidence=tuple(line.strip() for line in lines),
        refuted_by=(known.refuted_by,),
        fix=known.fix,
        links=known.links,
        rows=citations(fault),
        not_recorded=(UNLOOKED,)
        if known is _WRITE_ELSEWHERE and found_by_the_device(fault)
        else (),
    )


UNLOOKED = "what the allocator handed out, and when it was translated (mode raise looks at both)"


def found_by_the_device(fault: Evidence) -> bool:
    """Was it found by the device checker, where the checks that wait for the device are off?"""
    return isinstance(fault.facts.get("step"), int)


def _mapping_class(fault: Evidence) -> FoundClass | None:
    """A slot mapped to another page than it was given, or to none."""
    if fault.found != Found.MAPPING_NOT_OF_ALLOCATION:
        return None
    return _MAPPING_OTHER if fault.violations and fault.violations[0].value else _MAPPING_MISSING


def _row_class(fault: Evidence) -> FoundClass | None:
    """A row that the table has, and that no request may have: a larger table helps nobody."""
    if fault.found != Found.NO_SUCH_ROW or not fault.violations:
        return None
    return _PADDING_ROW if fault.violations[0].value == 0 else None


def _state_class(fault: Evidence) -> FoundClass | None:
    """A backend that was built with the SWA state of another pool than it reads."""
    if fault.found != Found.STATE_OF_ANOTHER_POOL:
        return None
    return _TRANSLATED if fault.facts.get("own_pool") is True else _STALE


def _tree_class(fault: Evidence) -> FoundClass | None:
    """Pages freed under a request by an insert that brought others for the same prefix.

    An insert that frees what its own request's row names takes the tree's pages for
    duplicates, which is another mistake.
    """
    if fault.found != Found.FREED_UNDER_A_REQUEST or not fault.pages:
        return None
    by_insert = any(
        event.kind == "freed" and any(frame.endswith(_REVIVING) for frame in event.frames)
        for event in fault.pages[0].events[:1]
    )
    foreign = fault.facts.get("which names them too") is False
    return _LOCKED_PREFIX_FREED if by_insert and foreign else None


def padding_may_write(fault: Evidence) -> bool:
    """A token whose own slot would be in the dummy page is padding, or its request is lost."""
    first = fault.violations[0] if fault.violations else None
    writes = (Found.WRITE_NOT_MAPPED_SLOT, Found.WRITE_NOT_OWN_SLOT)
    return first is not None and fault.found in writes and first.expected == 0


def freed_by_strangers(fault: Evidence) -> bool:
    """Does an alias explain the second free as well as a second call would?"""
    before = fault.facts.get("freed before as pages of")
    now = fault.facts.get("freed now with pages of")
    if not isinstance(before, list) or not isinstance(now, list):
        return False
    known = [
        {owner for owner in owners if isinstance(owner, int) and owner >= 0}
        for owners in (before, now)
    ]
    return bool(known[0] and known[1]) and not known[0] & known[1]


def citations(fault: Evidence) -> tuple[Citation, ...]:
    """The offenders of the invariant that the fault names, as many as were kept."""
    return tuple(
        Citation.of(each) for each in fault.violations if each.invariant == fault.invariant
    )
