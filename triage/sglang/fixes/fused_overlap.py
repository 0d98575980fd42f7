"""`pdl` in `SGLANG_TRIAGE_FUSED`: the launches of our ops overlap the launch in front of them.

Programmatic dependent launch, for every op that is on: its kernel is on the processors and has
read its weights when the kernel before it ends, and waits for that end before it touches
anything else (`triage_kernels.core.dependent`). sm_90 and later; elsewhere the launches are
plain and the log says why. Answers are the same bits.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("triage")

PDL = "pdl"


def switch_overlap(on: bool) -> None:
    """Let our launches of this process overlap, or no longer; said in the log. Asks the GPU."""
    from triage_kernels.core import dependent

    dependent.switch_dependent_launches(on)
    if on:
        reason = dependent.why_not()
        said = f"not here: {reason}" if reason else "on"
        logger.info("sglang-triage fused ops, launches that overlap (pdl): %s", said)
