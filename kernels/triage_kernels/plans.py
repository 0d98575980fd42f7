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
    "rows": {},
    "heads": [4096, 1024],
}
