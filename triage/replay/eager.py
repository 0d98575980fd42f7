"""The eager kernel: the launch in plain torch, over the recorded table and over the right one.

The verdict is executed, yet it speaks of values only: torch bounds nothing the
way a GPU's memory does. An id outside the cache is counted and read as zeros.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from triage.dump.expected_ids import tables_of
from triage.dump.sections import Dump
from triage.replay.attention import paged_attention_eager
from triage.replay.kv_source import Inputs, zero_outside
from triage.replay.values import compare_with_right_table, q_lens_of
from triage.replay.verdict import Verdict

KERNEL = "eager"


def run_eager(dump: Dump, fix: str = "") -> Verdict:
    """The eager verdict on `dump`, with `fix` applied to it where one is named."""
    return compare_with_right_table(KERNEL, dump, fix, run_table)


def run_table(dump: Dump, inputs: Inputs, ids: np.ndarray) -> Tensor:
    """Attention of the recorded launch over the table `ids`, `(tokens, Hq, D)` float32."""
    assert dump.launch is not None
    launch = dump.launch
    return paged_attention_eager(
        inputs.query,
        zero_outside(inputs.read_kv, launch.num_pages),
        torch.from_numpy(ids.astype(np.int64)),
        torch.from_numpy(tables_of(dump).cache_seqlens.astype(np.int64)),
        torch.from_numpy(q_lens_of(dump)),
        page_size=launch.page_size,
        num_kv_heads=launch.num_kv_heads,
        window_left=launch.window_left,
        bmm1_scale=inputs.bmm1_scale,
        bmm2_scale=inputs.bmm2_scale,
        sinks=inputs.sinks,
    )
