"""The host memory that a value replay takes, worked out before anything is allocated.

The failure: three kilobytes of a dump name a row of a hundred million keys, and the replay
takes 4.5 GiB before it can say anything. What counts is known from the sizes alone: the keys
and values of the rows that run together, the logits over them, the queries and their output,
and the pages that a kernel with a real cache must be given.
"""

from __future__ import annotations

import os

import numpy as np

from triage.dump.expected_ids import query_lens, tables_of
from triage.dump.sections import Dump
from triage.errors import ReplayError

BUDGET = "TRIAGE_REPLAY_MEMORY_BYTES"
"""How `triage replay --memory` reaches the processes that it starts."""

DEFAULT_BYTES = 1 << 30
GATHER_BYTES = 128 << 20  # rows run together up to this, see `triage.replay.attention`
MAX_QUERY_BLOCK = 128
COPIES = 4
"""Of keys and values at a time: two sums of codes, the cast, the transposed ones (measured)."""


def budget() -> int:
    """Bytes that one kernel's replay may take. Raises ReplayError for a value that is none."""
    text = os.environ.get(BUDGET, str(DEFAULT_BYTES))
    if not text.isdecimal() or int(text) < 1:
        raise ReplayError(f"{BUDGET}={text!r} is not a number of bytes")
    return int(text)


def host_bytes(dump: Dump, *, whole: bool = False) -> int:
    """What a value kernel takes of the host to run the launch of `dump` once, at most about.

    Args:
        dump: has a launch and tables, of sizes that `triage.dump.consistency` accepts.
        whole: the kernel is given every page that the launch reads at once, as a real one is.
    """
    launch, tables = dump.launch, tables_of(dump)
    assert launch is not None
    lengths = np.maximum(tables.cache_seqlens.astype(np.int64), 0)
    q_lens = np.broadcast_to(np.asarray(query_lens(dump), dtype=np.int64), lengths.shape)
    reach = lengths if launch.window_left < 0 else np.minimum(lengths, q_lens + launch.window_left)
    # The first and the last page are read whole.
    keys = int(reach.max(initial=0)) + 2 * launch.page_size
    block = min(int(q_lens.max(initial=0)), MAX_QUERY_BLOCK)
    per_key = 4 * launch.num_kv_heads * (2 * launch.head_dim * COPIES + 12)
    per_key += 4 * 3 * block * launch.num_q_heads
    together = max(keys * per_key, min(GATHER_BYTES * COPIES, len(lengths) * keys * per_key))
    queries = int(q_lens.sum()) * launch.num_q_heads * launch.head_dim * 4 * 4
    width = int(np.diff(tables.page_table.offsets).max(initial=0))
    named = min(len(tables.page_table.values) + 1, len(lengths) * width + 1)
    seen = min(named * launch.page_size, int((reach + 2 * launch.page_size).sum()))
    stored = sum(array.nbytes for array in (dump.kv or {}).values()) * 4
    return max(together, seen * per_key if whole else 0) + queries + stored


def why_too_much(dump: Dump, *, whole: bool = False) -> str:
    """One sentence if this launch would take more than the budget, else empty."""
    needed, allowed = host_bytes(dump, whole=whole), budget()
    if needed <= allowed:
        return ""
    return (
        f"replaying it takes about {needed / 2**30:,.1f} GiB of host memory, of at most "
        f"{allowed / 2**30:,.1f}: minimise the dump, or give more with --memory"
    )
