"""A unittest in SGLang's own style, around its real SWA pool's translation."""

from __future__ import annotations

from triage.errors import ReplayError
from triage.export.checks import CHECKS
from triage.export.literals import Literals
from triage.export.pytest_file import about, digest

_ABOUT = '''\
"""The page table of an SWA layer holds the SWA pages of its tokens.

The mapping is installed in SGLang's own SWAKVPool and the table built with its
translation, which must agree with the recorded request table. With
TABLE=recorded the table of the fault is judged instead, and the test fails.
Written by sglang-triage. Runs on a CPU{where}.
"""

import importlib
import os
import sys
import unittest

import torch


def _sglang_on_a_cpu():
    """A CPU build of torch may lack torchvision's operators, which SGLang's imports name."""
    if not torch.cuda.is_available():
        os.environ.setdefault("TRITON_INTERPRET", "1")
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return None
    except RuntimeError:
        for name in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in (
            "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "roi_align(Tensor input, Tensor rois) -> Tensor",
            "roi_pool(Tensor input, Tensor rois) -> Tensor",
            "ps_roi_align(Tensor input, Tensor rois) -> Tensor",
            "ps_roi_pool(Tensor input, Tensor rois) -> Tensor",
            "deform_conv2d(Tensor input, Tensor weight) -> Tensor",
        ):
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                library.define(schema)
        return library
    return None


_LIBRARY = _sglang_on_a_cpu()  # kept, or its operators go with it

{register}from sglang.srt.mem_cache.swa_memory_pool import SWAKVPool  # noqa: E402
'''

_REGISTER = """\
from sglang.test.ci.ci_register import register_cpu_ci

register_cpu_ci(est_time=15, suite="base-a-test-cpu")

"""

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


SGLANG_FOLDER = "test/registered/unit/mem_cache"
"""Where SGLang keeps unit tests of its pools; its CI finds a test by the call that registers it."""


def sglang_test_file(case: Literals, *, register: bool = False) -> str:
    """One file that runs wherever SGLang is installed.

    Args:
        register: for SGLang's own tree, whose CI asks each test for its suite.
    Raises:
        ReplayError: the launch read no SWA pool, or its mapping is not recorded.
    """
    if case.values["FULL_TO_SWA"] is None or case.values["PAGE_STARTS"] is None:
        raise ReplayError("an SGLang test needs a launch of an SWA layer with its mapping")
    head = _ABOUT.format(
        where=f" from {SGLANG_FOLDER}" if register else "", register=_REGISTER if register else ""
    )
    return "\n".join([head, about(case), case.assignments(), "\n", CHECKS, "", _TESTS])


def sglang_tree(case: Literals) -> dict[str, bytes]:
    """The same in SGLang's own layout, with what its CI needs."""
    name = f"test_swa_page_table_{digest(case)}.py"
    return {f"{SGLANG_FOLDER}/{name}": sglang_test_file(case, register=True).encode()}
