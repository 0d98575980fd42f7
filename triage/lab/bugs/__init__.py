"""The catalogue: named defects that prove what the traps see.

    bug         what an entry is
    released    as released wheels have them, nothing is re-injected
    tables      page tables and lengths
    allocation  allocators, mapping, request rows
    state       speculative state, sizes, workspace
    inputs      padding, metadata, transfers
    room        request table, integer types, budgets, trees
    drafts      what the graphs of drafts are fed
    step_books  what only shows between two steps: leaks, locks, rows that spill

    second_author, second_author_allocation, second_author_tree
                written by someone who knew the traps and the rules of explain only
                by the statements of the invariants

SGLang's own switch `SGLANG_DEBUG_REVERT_PR` puts none of them back. Of the pull
requests that it knows, 25015 and 26329 change what a draft model computes, 27338,
27360 and 27460 concern FlashInfer, FA3 and MLA buffers; and the width of the request
table, 26972, the lab sets itself: `request-table-without-headroom` (`room`) is that
defect, written anew.
"""

from __future__ import annotations

from triage.errors import LabError, did_you_mean
from triage.lab.bugs.allocation import ALLOCATION
from triage.lab.bugs.blind_allocation import SECOND_AUTHOR_ALLOCATION
from triage.lab.bugs.blind_tables import SECOND_AUTHOR
from triage.lab.bugs.blind_tree import SECOND_AUTHOR_TREE
from triage.lab.bugs.bug import Bug
from triage.lab.bugs.capacity import ROOM
from triage.lab.bugs.drafts import DRAFTS
from triage.lab.bugs.inputs import INPUTS
from triage.lab.bugs.released import RELEASED
from triage.lab.bugs.state import STATE
from triage.lab.bugs.step_books import STEP_BOOKS
from triage.lab.bugs.tables import TABLES

_OURS = (*RELEASED, *TABLES, *ALLOCATION, *STATE, *INPUTS, *ROOM, *STEP_BOOKS, *DRAFTS)
SECOND = (*SECOND_AUTHOR, *SECOND_AUTHOR_ALLOCATION, *SECOND_AUTHOR_TREE)
"""Defects whose author did not know the traps that must see them."""

CATALOGUE: dict[str, Bug] = {bug.name: bug for bug in (*_OURS, *SECOND)}


def find(name: str) -> Bug:
    if name not in CATALOGUE:
        raise LabError(
            f"no bug {name!r}{did_you_mean(name, CATALOGUE)}; known: {', '.join(CATALOGUE)}"
        )
    return CATALOGUE[name]
