"""A unittest in SGLang's own style, around its real SWA pool's translation."""

from __future__ import annotations

from triage.errors import ReplayError
from triage.export.checks import CHECKS
from triage.export.literals import Literals
from triage.export.pytest_file import about

_HEAD = '''\
"""The page table of an SWA layer holds the SWA pages of its tokens.

The mapping is installed in SGLang's own SWAKVPool and the table built with its
translation, which must agree with the recorded request table. With
TABLE=recorded the table of the fault is judged instead, and the test fails.
Written by sglang-triage. Runs on a CPU.
"""

import os
import unittest

import torch
from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool
'''

_TESTS = '''\
def swa_pool():
    """SGLang's pool class with nothing but the recorded mapping in it."""
    top = max(FULL_TO_SWA) + PAGE_SIZE
    mapping = torch.zeros(top + 1, dtype=torch.int64)
    for slot, peer in FULL_TO_SWA.items():
        mapping[slot : slot + PAGE_SIZE] = peer + torch.arange(PAGE_SIZE) if peer else 0
    pool = SWAKVPool.__new__(SWAKVPool)
    pool.full_to_swa_index_mapping = mapping
    return pool


def page_table():
    if os.environ.get("TABLE") == "recorded":
        return PAGE_TABLE
    pool = swa_pool()
    return [
        (pool.translate_loc_from_full_to_swa(torch.tensor(row)) // PAGE_SIZE).tolist()
        for row in PAGE_STARTS
    ]


class TestSWAPageTable(unittest.TestCase):
    def test_every_visible_id_is_a_page_of_the_swa_pool(self):
        self.assertEqual(outside_entries(page_table()), [])

    def test_every_visible_id_is_the_swa_page_of_its_token(self):
        self.assertEqual(foreign_entries(page_table()), [])


if __name__ == "__main__":
    unittest.main()
'''


def sglang_test_file(case: Literals) -> str:
    """Raises ReplayError where the launch read no SWA pool, or its mapping is not recorded."""
    if case.values["FULL_TO_SWA"] is None or case.values["PAGE_STARTS"] is None:
        raise ReplayError("an SGLang test needs a launch of an SWA layer with its mapping")
    return "\n".join([_HEAD, about(case), case.assignments(), "\n", CHECKS, "", _TESTS])
