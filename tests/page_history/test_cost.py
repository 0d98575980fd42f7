"""What page histories cost is told as it is measured, on SGLang's real allocators."""

from __future__ import annotations

import json
import subprocess
import sys


def test_a_run_that_is_cut_off_has_told_what_it_knew():
    # GIVEN a run over the calls of both allocators of single slots
    with subprocess.Popen(
        [sys.executable, "-m", "triage.bench.page_history_cost", "cpu", "600", "pages of 1:"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as run:
        # WHEN it is ended behind its third line
        assert run.stdout is not None
        imported, alloc, free = (json.loads(run.stdout.readline()) for _ in range(3))
        run.kill()
    # THEN that is a line for the imports, and one for each call with the time it adds
    assert imported["imported_s"] > 0
    assert alloc["call"] == "SWA, pages of 1: alloc of 4096 slots"
    assert free["call"] == "SWA, pages of 1: free of 4096 slots"
    for each in (alloc, free):
        assert each["turns"] >= 3 and each["off_us"] > 0
        # AND the hooks were off and on in turn, part by part: 8,192 slots are not noted for nothing
        assert list(each["parts_us"]) == ["hooks", "callers", "events", "written"]
        assert each["ratio"] > 1 and each["parts_us"]["written"] > 0
