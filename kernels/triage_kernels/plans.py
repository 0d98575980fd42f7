"""The tiles that `triage kernels tune` found best, in the form it writes them.

"rows": row width -> (rows per program, warps); "heads": (lanes per program, lanes per
warp). A width that is absent gets the tile of `launch.row_plan` for its block.
"""

from __future__ import annotations

from typing import TypedDict


class Plans(TypedDict):
    rows: dict[str, list[int]]
    heads: list[int]


PLANS: Plans = {
    # Tuned on an H200 at M = 8192 in bf16, each width for its worst op.
    "rows": {
        "256": [8, 2],
        "1536": [2, 4],
        "2560": [1, 4],
        "2816": [2, 16],
        "3840": [1, 4],
        "5376": [1, 8],
    },
    # The tuner preferred [8192, 512]: full-attention layers gain 13 points, sliding lose 8.
    "heads": [4096, 1024],
}
