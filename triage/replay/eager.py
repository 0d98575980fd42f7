"""The eager kernel: run the launch in torch over the recorded table and over the right one.

Both runs take the same inputs, so any difference is the table's. An id outside
the cache is counted and read as zeros. The verdict is executed, yet it speaks
of values only: torch bounds nothing the way a GPU's memory does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.index_space import UNKNOWN, expected_ids, query_lens, real_rows, tables_of, visible
from triage.record import Dump
from triage.replay.attention import paged_attention_eager
from triage.replay.fixes import apply_fix, redirected_share
from triage.replay.kv_source import Inputs, inputs_of, zero_outside
from triage.replay.table_form import table_as_read
from triage.replay.verdict import Basis, Outcome, Verdict, outcome_of, records_fault

KERNEL = "eager"
MAX_WORK = 1 << 36  # multiply-adds; about a minute on one core


def run_eager(dump: Dump, fix: str = "") -> Verdict:
    """The eager verdict on `dump`, with `fix` applied to it where one is named."""
    fault_expected = records_fault(dump) and not fix
    fixed = apply_fix(fix, dump) if fix else dump
    refusal = _why_not(fixed)
    if refusal:
        return Verdict(KERNEL, Outcome.CANNOT_RUN, Basis.EXECUTED, (refusal,), fault_expected, fix)
    assert fixed.launch is not None
    ids = table_as_read(fixed).ids
    outside = _outside(fixed, ids)
    inputs = inputs_of(fixed, int(_q_lens(fixed).sum()))
    reasons = []
    figures: dict[str, Any] = {"synthesised": list(inputs.synthesised), "outside": outside}
    dummy = int((visible(fixed, ids.shape[1]) & (ids == 0)).sum())
    figures["dummy"] = dummy
    if dummy:
        reasons.append(f"{dummy} visible entries are the dummy page: padding is read as keys")
    if outside:
        reasons.append(
            f"{outside} visible entries index outside the {fixed.launch.num_pages} pages of the "
            "cache (read as zeros here)"
        )
    if fix:
        changed, seen = redirected_share(dump, fixed)
        figures["redirected"] = {"entries": changed, "visible": seen}
        reasons.append(f"{fix} changes {changed} of {seen} visible entries")
    expected = expected_ids(fixed)
    wrong_values = False
    if expected is not None:
        error = _compare(fixed, inputs, ids, expected)
        figures["error"] = error
        wrong_values = error["rows_wrong"] > 0
        reasons.append(_error_text(error))
    elif not outside + dummy:
        reasons.append("the dump holds no request table to rebuild the right values from")
        return Verdict(
            KERNEL, Outcome.CANNOT_RUN, Basis.EXECUTED, tuple(reasons), fault_expected, fix, figures
        )
    if inputs.synthesised:
        reasons.append(f"synthesised, not recorded: {', '.join(inputs.synthesised)}")
    outcome = outcome_of(fixed, address=outside + dummy > 0, identity=wrong_values)
    return Verdict(KERNEL, outcome, Basis.EXECUTED, tuple(reasons), fault_expected, fix, figures)


def run_table(dump: Dump, inputs: Inputs, ids: np.ndarray) -> Tensor:
    """Attention of the recorded launch over the table `ids`, `(tokens, Hq, D)` float32."""
    assert dump.launch is not None
    launch = dump.launch
    return paged_attention_eager(
        inputs.query,
        zero_outside(inputs.read_kv, launch.num_pages),
        torch.from_numpy(ids.astype(np.int64)),
        torch.from_numpy(tables_of(dump).cache_seqlens.astype(np.int64)),
        torch.from_numpy(_q_lens(dump)),
        page_size=launch.page_size,
        num_kv_heads=launch.num_kv_heads,
        window_left=launch.window_left,
        bmm1_scale=inputs.bmm1_scale,
        bmm2_scale=inputs.bmm2_scale,
        sinks=inputs.sinks,
    )


def _q_lens(dump: Dump) -> np.ndarray:
    rows = len(tables_of(dump).cache_seqlens)
    return np.broadcast_to(np.asarray(query_lens(dump), dtype=np.int64), (rows,)).copy()


def _why_not(dump: Dump) -> str:
    if dump.launch is None or dump.tables is None:
        return "the dump holds no launch with its tables"
    launch = dump.launch
    if launch.num_q_heads % launch.num_kv_heads:
        return f"{launch.num_q_heads} query heads do not group over {launch.num_kv_heads} KV heads"
    q_lens = _q_lens(dump)
    lengths = np.maximum(dump.tables.cache_seqlens.astype(np.int64), 0)
    if (q_lens < 0).any() or (q_lens > np.maximum(lengths, 1)).any():
        return "a row has more query tokens than keys: its lengths contradict each other"
    width = int(np.diff(dump.tables.page_table.offsets).max(initial=0))
    if (lengths > (width + 1) * launch.page_size).any():
        return "a row is longer than its table: what the kernel reads there is not in the dump"
    reach = lengths if launch.window_left < 0 else np.minimum(lengths, q_lens + launch.window_left)
    work = int((q_lens * reach).sum()) * launch.num_q_heads * launch.head_dim
    if work > MAX_WORK:
        return f"{work:.1e} multiply-adds are too many for the eager kernel; minimise the dump"
    return ""


def _outside(dump: Dump, ids: np.ndarray) -> int:
    assert dump.launch is not None
    bad = (ids < 0) | (ids >= dump.launch.num_pages)
    return int((bad & visible(dump, ids.shape[1])).sum())


def _compare(dump: Dump, inputs: Inputs, ids: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Output error of the table `ids` against `expected`, over rows whose right table is known."""
    unknown = (visible(dump, expected.shape[1]) & (expected == UNKNOWN)).any(axis=1)
    unknown[real_rows(dump) :] = True
    got, right = run_table(dump, inputs, ids), run_table(dump, inputs, expected)
    row_of_token = torch.from_numpy(np.repeat(np.arange(len(unknown)), _q_lens(dump)))
    known = ~torch.from_numpy(unknown)[row_of_token]
    got, right, row_of_token = got[known], right[known], row_of_token[known]
    difference = (got - right).double()
    norm = float(right.double().norm())
    wrong = row_of_token[(difference != 0).flatten(1).any(dim=1)]
    return {
        "rows": int((~unknown).sum()),
        "rows_wrong": len(torch.unique(wrong)),
        "relative_l2": float(difference.norm()) / norm if norm else 0.0,
        "max_abs": float(difference.abs().max()) if difference.numel() else 0.0,
    }


def _error_text(error: dict[str, Any]) -> str:
    if not error["rows_wrong"]:
        return f"the output equals the reference exactly in all {error['rows']} rows"
    return (
        f"the output is wrong in {error['rows_wrong']} of {error['rows']} rows: relative L2 error "
        f"{error['relative_l2']:.3f}, largest {error['max_abs']:.3f}"
    )
