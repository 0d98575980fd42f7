"""A pytest file that fails on the recorded table and passes on the rebuilt one."""

from __future__ import annotations

import hashlib

from triage.export.checks import CHECKS
from triage.export.literals import Literals

_HEAD = '''\
"""A page table that an attention launch must not be given, made from a recorded fault.

As it is, this file fails: that is the fault. With TABLE=rebuilt in the
environment it checks the table rebuilt from request table and mapping instead.
To guard your own code, let `page_table` return what your builder makes of
PAGE_STARTS and FULL_TO_SWA. Written by sglang-triage; needs pytest alone.
"""

import os
'''

_TESTS = """\
REBUILT = os.environ.get("TABLE") == "rebuilt"


def page_table():
    return rebuilt_table() if REBUILT else PAGE_TABLE


def table_form():
    if REBUILT:
        width = max(TABLE_WIDTH, -(-max(CACHE_SEQLENS) // PAGE_SIZE))
        return "int32", [width, 1], width
    return TABLE_DTYPE, TABLE_STRIDE, TABLE_WIDTH


def test_every_visible_id_is_a_page_of_the_cache():
    assert outside_entries(page_table()) == []


def test_every_visible_id_is_the_page_of_its_token():
    assert foreign_entries(page_table()) == []


def test_the_kernel_reads_the_table_that_is_passed():
    assert form_faults(*table_form()) == []
"""


def pytest_file(case: Literals) -> str:
    return "\n".join([_HEAD, about(case), case.assignments(), "\n", CHECKS, "", _TESTS])


def about(case: Literals) -> str:
    """Comment lines that say what was recorded and what explains it."""
    lines = [f"recorded: {case.recorded}", f"cause: {case.cause}", *case.links]
    if not case.rebuilding_fixes:
        lines.append("rebuilding the table does not cure this one: the fault lies before the table")
    return "\n".join(f"# {line}" for line in lines)


def digest(case: Literals) -> str:
    """Eight characters that are another case's for another table: a name for its file."""
    return hashlib.sha256(case.assignments().encode()).hexdigest()[:8]
