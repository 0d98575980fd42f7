"""Judge a launch by its values: the recorded table against the right one, same inputs.

Shared by every kernel that computes attention. Any difference between the two
runs is the table's, because everything else is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triage.dump.expected_ids import (
    UNKNOWN,
    expected_ids,
    query_lens,
    real_rows,
    tables_of,
    visible,
)
from triage.dump.sections import Dump
from triage.dump.table_form import table_as_read
from triage.replay.fixes import apply_fix, redirected_share
from triage.replay.kv_source import Inputs, inputs_of
from triage.replay.memory import why_too_much
from triage.replay.verdict import Basis, Outcome, Verdict, outcome_of, records_fault

MAX_WORK = 1 << 36  # multiply-adds; about a minute on one core

RunTable = Callable[[Dump, Inputs, np.ndarray], Tensor]
"""(dump, inputs, ids `(rows, width)`) -> output `(tokens, Hq, D)` in float32 on the CPU."""

Extra = Callable[[Dump], tuple[dict[str, Any], list[str]]]
"""Further figures and sentences of a kernel."""


def compare_with_right_table(
    kernel: str,
    dump: Dump,
    fix: str,
    run_table: RunTable,
    *,
    max_work: int | None = None,
    tolerance: float = 0.0,
    can_fault: bool = False,
    extra: Extra | None = None,
) -> Verdict:
    """The verdict of a kernel that computes values.

    Args:
        tolerance: absolute; 0 for a kernel that gives the same bits on the same inputs.
        can_fault: ids outside the cache are dereferenced; that this function gets to
            judge the output then means that none of them faulted.
        extra: further figures and sentences about the launch.
    """
    fault_expected = records_fault(dump) and not fix
    fixed = apply_fix(fix, dump) if fix else dump
    refusal = why_not(fixed, MAX_WORK if max_work is None else max_work, whole=kernel != "eager")
    if refusal:
        return Verdict(kernel, Outcome.CANNOT_RUN, Basis.EXECUTED, (refusal,), fault_expected, fix)
    assert fixed.launch is not None
    ids = table_as_read(fixed).ids
    seen = visible(fixed, ids.shape[1])
    outside = int((seen & ((ids < 0) | (ids >= fixed.launch.num_pages))).sum())
    dummy = int((seen & (ids == 0)).sum())
    inputs = inputs_of(fixed, int(q_lens_of(fixed).sum()))
    figures: dict[str, Any] = {
        "synthesised": list(inputs.synthesised),
        "outside": outside,
        "dummy": dummy,
    }
    reasons = []
    if dummy:
        reasons.append(f"{dummy} visible entries are the dummy page: padding is read as keys")
    if outside:
        reasons.append(
            f"{outside} visible entries index outside the {fixed.launch.num_pages} pages of the "
            f"cache ({'none of them faulted' if can_fault else 'read as zeros here'})"
        )
    if fix:
        changed, total = redirected_share(dump, fixed)
        figures["redirected"] = {"entries": changed, "visible": total}
        reasons.append(f"{fix} changes {changed} of {total} visible entries")
    if extra is not None:
        more_figures, more_reasons = extra(fixed)
        figures |= more_figures
        reasons += more_reasons
    right = expected_ids(fixed)
    wrong_values, misread = False, 0 if can_fault else outside + dummy
    judged = 0
    if right is not None:
        error = output_error(fixed, inputs, ids, right, run_table, tolerance)
        figures["error"] = error
        wrong_values, judged = error["rows_wrong"] > 0, error["rows"]
        reasons.append(_error_text(error, real_rows(fixed)))
    if not judged and not misread:
        if can_fault:
            if right is None:
                run_table(fixed, inputs, ids)
            reasons.append("the launch returned without a fault")
        if right is None:
            reasons.append("the dump holds no request table to rebuild the right values from")
        return Verdict(
            kernel, Outcome.CANNOT_RUN, Basis.EXECUTED, tuple(reasons), fault_expected, fix, figures
        )
    if inputs.synthesised:
        reasons.append(f"synthesised, not recorded: {', '.join(inputs.synthesised)}")
    outcome = outcome_of(fixed, address=misread > 0, identity=wrong_values)
    return Verdict(kernel, outcome, Basis.EXECUTED, tuple(reasons), fault_expected, fix, figures)


def q_lens_of(dump: Dump) -> np.ndarray:
    """Query tokens of every row, int64."""
    rows = len(tables_of(dump).cache_seqlens)
    return np.broadcast_to(np.asarray(query_lens(dump), dtype=np.int64), (rows,)).copy()


def why_not(dump: Dump, max_work: int = MAX_WORK, *, whole: bool = False) -> str:
    """Why no value kernel can run this launch; empty if one can.

    whole: it is given every page that the launch reads at once.
    """
    if dump.launch is None or dump.tables is None:
        return "the dump holds no launch with its tables"
    launch = dump.launch
    if launch.num_q_heads % launch.num_kv_heads:
        return f"{launch.num_q_heads} query heads do not group over {launch.num_kv_heads} KV heads"
    q_lens = q_lens_of(dump)
    lengths = np.maximum(dump.tables.cache_seqlens.astype(np.int64), 0)
    if (q_lens < 0).any() or (q_lens > np.maximum(lengths, 1)).any():
        return "a row has more query tokens than keys: its lengths contradict each other"
    width = int(np.diff(dump.tables.page_table.offsets).max(initial=0))
    if (lengths > (width + 1) * launch.page_size).any():
        return "a row is longer than its table: what the kernel reads there is not in the dump"
    reach = lengths if launch.window_left < 0 else np.minimum(lengths, q_lens + launch.window_left)
    work = int((q_lens * reach).sum()) * launch.num_q_heads * launch.head_dim
    if work > max_work:
        return f"{work:.1e} multiply-adds are too many for this kernel here; minimise the dump"
    return why_too_much(dump, whole=whole)


def output_error(
    dump: Dump,
    inputs: Inputs,
    ids: np.ndarray,
    right: np.ndarray,
    run_table: RunTable,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Error of the output over `ids` against `right`, in the rows whose right ids are known.

    Without a tolerance a row whose visible ids are the right ones has no error: what two
    runs on the same inputs differ by is not the table's. On 16 cores torch's products on
    a CPU do differ so, in the last bits. With one, such rows tell whether it is needed: where
    all of them are equal to the bit, so would be the others but for their pages.
    """
    width = max(ids.shape[1], right.shape[1])  # they come from different tables of the dump
    seen, wide = visible(dump, width), _to_width(right, width)
    unknown = (seen & (wide == UNKNOWN)).any(axis=1)
    unknown[real_rows(dump) :] = True
    got, reference = run_table(dump, inputs, ids), run_table(dump, inputs, right)
    row_of_token = torch.from_numpy(np.repeat(np.arange(len(unknown)), q_lens_of(dump)))
    known = ~torch.from_numpy(unknown)[row_of_token]
    got, reference, row_of_token = got[known], reference[known], row_of_token[known]
    difference = (got - reference).double()
    same = torch.from_numpy(~(seen & (_to_width(ids, width) != wide)).any(axis=1))[row_of_token]
    if tolerance == 0:
        difference[same] = 0
    elif same.any() and not difference[same].any():
        tolerance = 0
    norm = float(reference.double().norm())
    wrong = row_of_token[(difference.abs() > tolerance).flatten(1).any(dim=1)]
    return {
        "rows": int((~unknown).sum()),
        "rows_wrong": len(torch.unique(wrong)),
        "relative_l2": float(difference.norm()) / norm if norm else 0.0,
        "max_abs": float(difference.abs().max()) if difference.numel() else 0.0,
    }


def _to_width(ids: np.ndarray, width: int) -> np.ndarray:
    return np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=UNKNOWN)


def _error_text(error: dict[str, Any], real: int) -> str:
    if not error["rows"]:
        return f"of none of {real} rows every right page is recorded: no output can be compared"
    if not error["rows_wrong"]:
        exactly = "exactly " if error["max_abs"] == 0 else ""
        where = f"all {real}" if error["rows"] == real else f"{error['rows']} of {real}"
        rest = "" if error["rows"] == real else ", the right pages of the others are not recorded"
        return f"the output equals the reference {exactly}in {where} rows{rest}"
    return (
        f"the output is wrong in {error['rows_wrong']} of {error['rows']} rows: relative L2 error "
        f"{error['relative_l2']:.3g}, largest {error['max_abs']:.3g}"
    )
