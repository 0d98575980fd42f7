"""The tiles that `triage kernels tune` found best, in the form it writes them.

"rows": row width -> (rows per program, lanes of a piece, warps); "heads" and "preamble":
(lanes per program, lanes per warp). A width that is absent gets the tile of
`launch.row_plan`.
"""

from __future__ import annotations

from typing import TypedDict


class Plans(TypedDict):
    rows: dict[str, list[int]]
    heads: list[int]
    preamble: list[int]


PLANS: Plans = {
    # On an H200 in bf16: at M = 8192 for the worst op of a width, then at M = 64 and 1.
    "rows": {
        "256": [2, 256, 4],
        "1536": [1, 512, 4],
        "2560": [1, 512, 4],
        "2816": [1, 1024, 4],
        "3840": [1, 2048, 8],
        "5376": [1, 2048, 8],
    },
    # Preamble: [2048, 1024] gives 31B full layers 4 points more and every other shape less.
    "heads": [1024, 512],
    "preamble": [1024, 512],
}
