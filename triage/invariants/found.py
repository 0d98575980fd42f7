"""What a check or the ledger found, as a value: one `Found` per kind of contradiction.

The failure: an explanation that reads sentences. A message that says "freed, but it was
never allocated" and one that says "freed, but it is free since ..." begin alike, and the
first was explained as the second. The rule: whoever finds something says what it is by a
value of this list, the sentence is made from it last, and explanations compare values.

The value travels in a dump as text (`Evidence.kind`, `Violation.kind`); the empty text means
that the writer did not record it. Values are never reused for another meaning.
Imports nothing of ours, needs neither torch nor SGLang.
"""

from __future__ import annotations

from enum import StrEnum


class Found(StrEnum):
    """What was found; the invariant that it breaks stands in the comments."""

    # The table and the lengths of a launch: I1, I2, I12, I26, I22, I13
    PAGE_OUTSIDE_POOL = "page outside the pool"
    WRONG_PAGE = "not the page that the request table names"
    WRONG_SLOT = "not the slot that the request table names"
    NO_SUCH_REQUEST = "request index outside the request table"
    ILLEGAL_LENGTH = "length that no row can have"
    ILLEGAL_QUERIES = "more queries than tokens"
    LENGTH_NOT_THE_BATCHES = "length that is not the batch's plus what the mode adds"
    ILLEGAL_OFFSETS = "query offsets that do not cut the query tensor"
    SLOTS_OF_ANOTHER_LENGTH = "slot stream of another length than the row"
    WINDOW_ONE_SHORT = "decode's window a key shorter than the layer's"
    TABLE_TOO_NARROW = "table narrower than a row needs"
    BUFFER_TOO_SMALL = "buffer smaller than what is written"
    FORM_NOT_READ = "form that the kernel does not read"
    STATE_OF_ANOTHER_POOL = "SWA state taken from another pool than is read"
    SLOT_AS_PAGE = "slot where a page id belongs"
    DIVIDED_TWICE = "page id divided by the page size once more"

    # What a forward writes, and the rows of the request table: I3, I20
    WRITE_OUTSIDE_POOL = "write outside the pool"
    WRITE_NOT_MAPPED_SLOT = "write to another SWA slot than the mapping names"
    WRITE_NOT_OWN_SLOT = "write to another slot than the request's row names"
    PREBUILT_NOT_OWN_SLOT = "prebuilt batch with other slots than the request's row names"
    ROW_LEAVES_ITS_PAGE = "row whose slots of one page lie apart"
    ROW_NOT_AS_WRITTEN = "row that does not hold what was written into it"

    # What the allocator hands out: I20, I8
    SLOT_OUTSIDE_POOL = "slot handed out that the pool does not have"
    SLOT_REPEATED = "slot handed out twice in one call"
    CONTINUES_EVICTED_PAGE = "goes on in a page whose SWA side is gone"
    LAST_LOC_PLACE = "goes on at another place in the page than the request's length says"
    LAST_LOC_EARLIER = "goes on behind an earlier slot of its own row"
    LAST_LOC_NOT_IN_ROWS = "goes on behind a slot that no row has at that position"
    MAPPING_NOT_OF_ALLOCATION = "mapping of a new slot is not what the SWA side returned"

    # Pages over time, by the ledger: I4, I5, I6, I7, I17
    HANDED_OUT_ILLEGAL = "handed out, a page that the pool does not hand out"
    FREED_DUMMY = "freed, the dummy page 0"
    FREED_ILLEGAL = "freed, a page that the pool does not have"
    USED_ILLEGAL = "used, a page that the pool does not have"
    HANDED_OUT_HELD = "handed out while held"
    NEVER_ALLOCATED = "freed, never allocated"
    FREED_TWICE = "freed twice"
    USED_AFTER_FREE = "use after free"
    PADDING_READS_FREED = "use after free, by a padded row of a graph"
    USED_NEVER_ALLOCATED = "used, never allocated"
    LISTED_AND_HELD = "in the free list and held"
    MISSING_FROM_FREE_LIST = "freed and not in the free list"
    ALIASED_POSITIONS = "alias"
    ALIASED_WITHOUT_PREFIX = "alias without a common prefix"
    LISTED_TWICE = "in the free list twice"
    LISTED_DUMMY = "free list names the dummy page 0"
    LISTED_ILLEGAL = "free list names a page that the pool does not have"
    LEAKED_BY_REQUEST = "released without its pages"
    LEAKED_BY_FAILED_ALLOC = "failed allocation that kept pages"
    HELD_BY_NOBODY = "held, and named by no request and no tree"
    ALLOCATED_NOT_RECORDED = "slots of a request that its record does not count"
    COUNTS_SHORT = "fewer tokens free, cached and held than the pool has"
    COUNTED_TWICE = "more tokens free, cached and held than the pool has"
    FREED_UNDER_A_REQUEST = "freed while the row of another request names it"
    FREED_WHILE_LOCKED = "freed by an insert while a lock keeps its node"
    GROUP_KEPT_A_VIEW = "free group that kept a view"

    # Rows over time: I17
    ROW_GIVEN_TWICE = "row given out while held"
    ROW_RELEASED_TWICE = "row released twice"
    ROW_NEVER_GIVEN = "row released, never given out"
    ROW_LEFT_WHILE_RUNNING = "row given back by a request that goes on"

    # The mapping: I4, I6, I9
    MAPPING_STALE = "mapping of a page that is not held, or to none of the pool"
    MAPPING_LEAVES_ITS_PAGE = "mapping that does not take a page onto a page"
    SWA_PAGE_SHARED = "two full pages mapped to one SWA page"
    SWA_PAGE_NOT_MAPPED = "SWA page held and not mapped"
    SWA_PAGE_NOT_HELD = "SWA page mapped and not held"
    LEFT_MAPPED = "mapping left behind by a free"
    UNMAPPED_HELD_PAGE = "mapping lost though the page was not freed"
    STALE_TRANSLATION = "translation that the mapping does not give now"

    # Graphs and metadata: I10, I11
    PADDING_NOT_INERT = "padding that names something"
    METADATA_OF_ANOTHER_FORWARD = "metadata of another forward"
    METADATA_OF_ANOTHER_SIZE = "metadata for another number of rows"

    # Order on streams, and what a kernel answers: I18, I28
    REFILLED_WHILE_READ = "refilled while the graph that reads it ran"
    OUTPUT_WRONG = "output that the pages that were read do not give"
    # What a draft is fed: I29
    DRAFT_INPUT_OUTSIDE = "draft's input outside its range"
    LEFT_OF_ANOTHER_REPLAY = "draft's input that another replay left"
    SPEC_ROWS_NOT_THE_BATCHES = "speculative state with another number of rows than the batch"
    SUM_BELOW_LENGTHS = "sum of a draft's lengths below the lengths of its rows"
    RECORDED_FOR_ANOTHER_VIEW = "graph that records other metadata than were prepared for it"

    # Requests and windows: I14, I15
    NO_SUCH_ROW = "row outside the request table"
    ROW_TOO_SHORT = "more tokens than the row has columns"
    FRONTIER_NOT_ALIGNED = "eviction frontier inside a page"
    FRONTIER_IN_WINDOW = "eviction frontier inside a window"
    COMMITTED_NOT_ALLOCATED = "more tokens committed than allocated"
    WINDOW_NOT_MAPPED = "token in the window without an SWA slot"
    FRONTIER_NOT_RESET = "eviction frontier kept over a retraction"
    FRONTIER_PAST_PREFIX = "eviction frontier past what was held before this extend"

    # The tree: I16
    LIVE_NODE_NOT_MAPPED = "live node without its SWA pages"
    TOMBSTONE_MAPPED = "tombstone with SWA pages"
    LIVE_NODE_EVICTED = "live node of tokens whose SWA side their request has evicted"
    INSERTED_NOT_MATCHED = "cached for a running request and not protected for it"
    CACHED_NOT_ALLOCATED = "cached tokens of a request that has no slots for them"
    LOCK_NEGATIVE = "lock count below 0"
    LOCK_SWA_ABOVE_FULL = "SWA lock count above the full one"
    LOCK_BELOW_CHILDREN = "lock count that is not the sum of its children and requests"
    LOCK_BELOW_HOLDERS = "lock count below the requests that hold it"
    LOCK_ABOVE_HOLDERS = "lock count above the requests that hold it"
    HOLDER_OUTSIDE_TREE = "request whose last node is not in the tree"

    # Sizes, transfers, state: I19, I21, I23, I24, I25, I27
    POOL_TOO_SMALL = "pool smaller than its allocator"
    SWA_POOL_BELOW_FLOOR = "SWA pool smaller than one request needs"
    OFFSET_OVERFLOW = "offset past its integer"
    TRANSFER_UNEQUAL = "transfer of unequal lists"
    TRANSFER_OUTSIDE_POOL = "transfer that names a slot its pool does not have"
    TRANSFER_REPEATED = "transfer that names a slot twice"
    TRANSFER_TORN_PAGE = "transfer of a part of a page"
    TRANSFER_NOT_HELD = "transfer of a host slot that nobody holds"
    FREED_IN_TRANSFER = "host slot freed while a transfer reads or writes it"
    HOST_RELEASED_TWICE = "host slot released by somebody who does not hold it any more"
    TREE_TOKENS_AS_OWN = "tokens of the tree that a request counts as its own"
    FREED_WHILE_SENT = "row given back while its keys are sent to another server"
    BACKUP_INCOMPLETE = "storage backup of less than was copied to the host for it"
    BUDGET_TOO_SMALL = "budget below the pages needed"
    STATE_NOT_RESTORED = "state not restored"
    WORKSPACE_DIRTY = "split-K counters not zero"
