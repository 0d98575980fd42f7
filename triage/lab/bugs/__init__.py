"""The catalogue: named defects that prove what the traps see.

    bug         what an entry is
    released    as released wheels have them, nothing is put back
    tables      page tables and lengths
    allocation  allocators, mapping, request rows
    state       speculative state, sizes, workspace
    inputs      padding, metadata, transfers
    room        request table, integer types, budgets, trees

Of SGLang's own `SGLANG_DEBUG_REVERT_PR` switch (25015, 26329, 26972, 27338,
27360, 27460) none is here: they concern kernels and sizing that need a GPU.
"""

from __future__ import annotations

from triage.errors import LabError
from triage.lab.bugs.allocation import ALLOCATION
from triage.lab.bugs.bug import Bug
from triage.lab.bugs.inputs import INPUTS
from triage.lab.bugs.released import RELEASED
from triage.lab.bugs.room import ROOM
from triage.lab.bugs.state import STATE
from triage.lab.bugs.tables import TABLES

CATALOGUE: dict[str, Bug] = {
    bug.name: bug for bug in (*RELEASED, *TABLES, *ALLOCATION, *STATE, *INPUTS, *ROOM)
}


def find(name: str) -> Bug:
    if name not in CATALOGUE:
        raise LabError(f"no bug {name!r}; known: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
