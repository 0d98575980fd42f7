"""Which request a row was: SGLang's id of it, as an error, a dump and its readers may tell it.

The failure: "row 3" means nothing to whoever has to find that request in the server's log.
But a client may choose the id (`rid`), and put a user's name into it, so by default only a
hash is told: `#` and 12 digits, keyed by random bytes that live as long as the process and are
stored nowhere. In all that one process tells, one request has one hash; a file gives no id
away, not even to somebody who guesses it. `SGLANG_TRTLLM_MHA_DEBUG_IDENTITY=1` tells ids as
they are.

Ids are asked for when something is wrong, never before: `holders` is {row of `req_to_token`:
id} of whoever knows it then. An empty text is "not recorded".
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from triage.dump.sections import Dump, Tables
from triage.evidence import Evidence, PageHistory, Violation

HASHED = re.compile(r"#[0-9a-f]{12}")
MAX_CHARACTERS = 128
FACT = "request_ids"
"""In the facts of a fault without a launch: row as text -> id, of the rows that it names."""

ROWS_NAMED = (
    *("rows_with_that_page", "row", "request", "requests", "owners"),
    *("freed before as pages of", "freed now with pages of"),
)
"""Facts of a fault that are a row of `req_to_token`, or a list of them."""


def shown_id(rid: object, *, plain: bool = False) -> str:
    """`rid` as it may be told: hashed, or as it is where `plain`; "" stays "not recorded"."""
    text = str(rid)
    if not text or plain:
        return text[:MAX_CHARACTERS]
    import hashlib  # takes 5 ms to load, and only a writer needs it

    return (
        "#"
        + hashlib.blake2s(
            text.encode("utf-8", "backslashreplace"), key=_key(), digest_size=6
        ).hexdigest()
    )


def hashed(text: str) -> str:
    """An id of a dump without what it would give away: a hash stays as it is."""
    return text if HASHED.fullmatch(text) else shown_id(text)


@functools.cache
def _key() -> bytes:
    return os.urandom(32)


def with_request_ids(dump: Dump, holders: Mapping[int, object], *, plain: bool = False) -> Dump:
    """`dump` with the ids of the rows that its tables and its fault name, where they are known.

    Ids that the tables hold already are of that very launch and go before `holders`.
    """
    known = {row: shown_id(rid, plain=plain) for row, rid in holders.items()}
    tables = dump.tables
    if tables is not None and tables.req_pool_indices is not None:
        rows = tables.req_pool_indices.tolist()
        given = tables.request_ids or tuple(known.get(row, "") for row in rows)
        if tables.request_ids:
            given = tuple(shown_id(rid, plain=plain) for rid in tables.request_ids)
            known |= {row: rid for row, rid in zip(rows, given, strict=True) if rid}
        tables = replace(tables, request_ids=given if any(given) else ())
    if not known:
        return dump
    return replace(dump, tables=tables, fault=_fault(dump.fault, known, tables))


def without_request_ids(dump: Dump) -> Dump:
    """`dump` with none in its tables."""
    tables = dump.tables
    return dump if tables is None else replace(dump, tables=replace(tables, request_ids=()))


def ids_of(dump: Dump) -> dict[int, str]:
    """Row of `req_to_token` -> id, of all rows whose request the dump tells."""
    found = {}
    facts = dump.fault.facts.get(FACT)
    for row, rid in facts.items() if isinstance(facts, dict) else ():
        if str(row).isdecimal() and len(str(row)) < 10 and isinstance(rid, str):
            found[int(row)] = rid
    for each in dump.fault.violations:
        if each.req_pool_index is not None and each.request_id:
            found[each.req_pool_index] = each.request_id
    tables = dump.tables
    if tables is not None and tables.req_pool_indices is not None and tables.request_ids:
        rows = tables.req_pool_indices.tolist()
        found |= {row: rid for row, rid in zip(rows, tables.request_ids, strict=False) if rid}
    return found


def sentences(dump: Dump) -> tuple[str, ...]:
    """Whose the rows are that a fault without a launch names, one sentence each."""
    facts = dump.fault.facts.get(FACT)
    known = facts.items() if isinstance(facts, dict) else ()
    return tuple(f"request {row} has id {rid}" for row, rid in known if isinstance(rid, str))


def without_ids(fault: Evidence) -> Evidence:
    """The fault with hashes for what are no hashes yet."""
    facts = fault.facts
    if isinstance(ids := facts.get(FACT), dict):
        facts = {**facts, FACT: {str(row): hashed(str(rid)) for row, rid in ids.items()}}
    violations = tuple(
        replace(each, request_id=hashed(each.request_id)) for each in fault.violations
    )
    pages = _with_requests(fault.pages, hashed)
    return replace(fault, violations=violations, facts=facts, pages=pages)


def with_shown_ids(
    pages: tuple[PageHistory, ...], *, plain: bool = False
) -> tuple[PageHistory, ...]:
    """Page histories as SGLang named the requests -> as they may be told."""
    return _with_requests(pages, lambda rid: shown_id(rid, plain=plain))


def _with_requests(
    pages: tuple[PageHistory, ...], name: Callable[[str], str]
) -> tuple[PageHistory, ...]:
    return tuple(
        replace(page, events=tuple(replace(one, request=name(one.request)) for one in page.events))
        for page in pages
    )


def _fault(fault: Evidence, known: Mapping[int, str], tables: Tables | None) -> Evidence:
    violations = tuple(_violation(each, known) for each in fault.violations)
    named = {row for name in ROWS_NAMED for row in _rows(fault.facts.get(name))}
    ids = {str(row): known[row] for row in sorted(named) if known.get(row)}
    facts = {**fault.facts, FACT: ids} if ids else fault.facts
    return replace(fault, violations=violations, facts=facts)


def _violation(seen: Violation, known: Mapping[int, str]) -> Violation:
    row = seen.req_pool_index
    return seen if row is None or not known.get(row) else replace(seen, request_id=known[row])


def _rows(value: object) -> list[int]:
    given = value if isinstance(value, list) else [value]
    return [each for each in given if type(each) is int]
