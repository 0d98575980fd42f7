"""Rules about sizes, padding, metadata, windows and trees: the check's own evidence is the witness.

As in `rules_books`: these faults have no launch, and one class stands for each kind of
contradiction.
"""

from __future__ import annotations

from triage.dump.sections import Dump
from triage.explain.cause import Cause
from triage.explain.rules_books import Kind, always, finding, named, shown, summary
from triage.invariants.ledger import USED_AFTER_FREE

_SGLANG = "https://github.com/sgl-project/sglang"


_KINDS = (
    Kind(
        "I8",
        lambda fault: bool(fault.violations) and fault.violations[0].value != 0,
        "stale-mapping",
        "a slot was handed out whose mapping names another page than the one it was given",
        "a mapping written between the call and the check",
        "write the mapping of every slot that alloc returns, in the same call and only there",
        (f"{_SGLANG}/pull/25385",),
    ),
    Kind(
        "I8",
        always,
        "mapping-not-written",
        "a slot was handed out without a mapping, though it was given an SWA page",
        "a mapping written between the call and the check",
        "write the mapping of every slot that alloc returns, in the same call",
        (f"{_SGLANG}/pull/25385",),
    ),
    Kind(
        "I10",
        always,
        "padded-row",
        "padding of a CUDA graph carries an earlier replay's rows",
        "a batch size that covers those rows",
        "fill padded rows with request 0, the fill length and slot 0 before the replay",
        (f"{_SGLANG}/issues/24361",),
    ),
    Kind(
        "I11",
        always,
        "stale-metadata",
        "a forward goes on with the metadata of another",
        "a copy of the batch that shares nothing with it and is launched second",
        "build metadata for every forward, also where the batch looks the same",
        (f"{_SGLANG}/pull/25889",),
    ),
    Kind(
        "I13",
        summary("page table"),
        "narrow-table",
        "the page table has fewer columns than a row needs",
        "a table that is made as wide as the longest row",
        "size the table by the request table's width, and mask the store by the table's",
        (f"{_SGLANG}/pull/35985",),
    ),
    Kind(
        "I14",
        always,
        "request-table-too-small",
        "the request table has no room for a request",
        "a table that was made again with more rows or columns",
        "size it by the context and the tokens that a last step adds",
        (f"{_SGLANG}/pull/26972",),
    ),
    Kind(
        "I15",
        always,
        "freed-page",
        "the SWA side of a token is gone while a query can see it (use after free)",
        "an eviction frontier at or before the start of the oldest query's window",
        "find what evicts ahead of the window: the length it was told, or the window's",
        (f"{_SGLANG}/pull/22470",),
    ),
    Kind(
        "I16",
        finding(USED_AFTER_FREE),
        "freed-page",
        "a page that the tree holds was freed (use after free)",
        "an allocation of the page after that free",
        "find who freed it: a prefix that the tree gave out is not the request's to free",
    ),
    Kind(
        "I16",
        shown("node"),
        "tree-and-mapping-disagree",
        "a live tree node lost its SWA pages, or a tombstone kept them",
        "a deferred free that has not been settled",
        "mark the node in the call that frees its SWA side",
        (f"{_SGLANG}/pull/12224",),
    ),
    Kind(
        "I16",
        shown("tombstone"),
        "tree-and-mapping-disagree",
        "a live tree node lost its SWA pages, or a tombstone kept them",
        "a deferred free that has not been settled",
        "free the SWA side in the call that marks the node",
        (f"{_SGLANG}/pull/12224",),
    ),
    Kind(
        "I16",
        shown("lock_ref"),
        "lock-imbalance",
        "locks of the tree were taken and not given back, or given back twice",
        "a request that is between its two locks",
        "pair every inc_lock_ref with one dec_lock_ref of the same node",
    ),
    Kind(
        "I21",
        always,
        "offset-overflow",
        "an index times its stride does not fit the integer that holds it",
        "a kernel that widens before it multiplies",
        "widen the index, or the type of the table",
    ),
    Kind(
        "I22",
        shown("slots"),
        "slots-as-pages",
        "slots are passed where page ids belong",
        "a page size of 1",
        "divide by the page size where the table is built",
        (f"{_SGLANG}/pull/38187",),
    ),
    Kind(
        "I22",
        shown("divided twice"),
        "divided-twice",
        "page ids are divided by the page size once more",
        "rows whose ids are right by another mapping",
        "divide once, where the table is built",
        (f"{_SGLANG}/pull/38187",),
    ),
    Kind(
        "I24",
        always,
        "unequal-transfer",
        "the two index lists of a transfer have different lengths",
        "a side that is empty, which means that there is nothing to transfer",
        "build both lists from one range of tokens",
    ),
    Kind(
        "I25",
        always,
        "budget-too-small",
        "admission sets aside less than the pages that an extend takes",
        "a page size of 1",
        "round the tokens up to whole pages when they are reserved",
    ),
)


def sized_wrongly(dump: Dump) -> Cause | None:
    """The class of a fault that a check of sizes, padding, metadata or trees reported."""
    return named(dump, _KINDS)
