"""I29: what a speculative draft is fed is that of the batch it runs for.

The failure: a draft's graph keeps buffers of its own, filled by hand before each replay, and
several runners share them by name. A tensor that nobody copied still has what another replay
left; a padded row names a request, or a slot that it writes; a count of accepted tokens is
larger than the step drafted. Between two steps the same state travels with the batch: one
row a request in every tensor. The rule: each tensor says how many of its entries are real,
what those may be and whose they are, and what the rest must be.

Not covered: the values of probabilities and of logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found


@dataclass(frozen=True, slots=True)
class DraftInput:
    """One buffer of a draft's graph as a replay will read it.

    name: SGLang's. values: `(entries, ...)`, the part that is replayed, padding included.
    real: entries that belong to the batch. inert: what a padded entry must be, None if it is
        not read. low, high: the half-open range of a real entry, None where any value is legal.
    given: `(real, ...)`, what the forward brought for it; None where it brought nothing.
    """

    name: str
    values: Tensor
    real: int
    inert: int | None = None
    low: int | None = None
    high: int | None = None
    given: Tensor | None = None


def check_draft_inputs(inputs: Sequence[DraftInput]) -> Findings:
    """I29 over the buffers of one replay.

    Returns: up to three I29 faults a buffer (padding, range, left of another replay), row =
        entry; of several columns the first that offends is told. NaN equals NaN.
    Cost: about 4 small launches a buffer and kind; no sync until `read()`.
    """
    faults: list[Fault] = []
    for each in inputs:
        real, rest = each.values[: each.real], each.values[each.real :]
        if each.inert is not None and len(rest):
            mask = rest != each.inert
            faults.append(
                _fault(each.name, Found.PADDING_NOT_INERT, mask, rest, each.real, each.inert)
            )
        if each.low is not None and each.high is not None and len(real):
            mask = (real < each.low) | (real >= each.high)
            faults.append(_fault(each.name, Found.DRAFT_INPUT_OUTSIDE, mask, real, 0, None, each))
        if each.given is not None and len(real):
            told = each.given.to(real.dtype)
            mask = (real != told) & ~((real != real) & (told != told))  # NaN as well
            faults.append(_fault(each.name, Found.LEFT_OF_ANOTHER_REPLAY, mask, real, 0, told))
    return Findings(faults)


def _fault(
    name: str,
    kind: Found,
    mask: Tensor,
    seen: Tensor,
    first: int,
    expected: Tensor | int | None,
    limits: DraftInput | None = None,
) -> Fault:
    """first: the number of the first entry of `seen`, so that a row is one of the buffer."""
    flat = mask.reshape(len(mask), -1)
    values = seen.reshape(len(mask), -1)
    if first:  # rows in front of the padding are in order
        flat = torch.cat([flat.new_zeros(first, flat.shape[1]), flat])
        values = torch.cat([values.new_zeros(first, values.shape[1]), values])
    wanted = None
    if isinstance(expected, int):
        wanted = torch.full_like(values, expected)
    elif expected is not None:
        wanted = expected.reshape(len(mask), -1)
    low, high = (limits.low or 0, limits.high or 0) if limits is not None else (-(2**62), 2**62)
    return Fault("I29", name, flat, values, low, high, expected=wanted, kind=kind)


def check_lengths_sum(
    seq_lens_sum: int, seq_lens_cpu: Tensor, *, rows: int, where: str
) -> Evidence | None:
    """I29: the sum that a draft's slots are cut by counts every row, the padded ones too.

    A sum above the lengths is allowed: it cuts behind the last slot.

    Args:
        seq_lens_cpu: `(rows or more,)`, integer, on the host; rows: those that are planned.
    Cost: one sum of a host tensor; no sync; legal under capture.
    Source: `FlashInferMultiStepDraftBackend.common_template`, and Triton's.
    """
    needed = int(np.add.reduce(seq_lens_cpu.numpy()[:rows]))  # no read of a device
    if seq_lens_sum >= needed:
        return None
    lengths = seq_lens_cpu[:rows].tolist()
    return Evidence(
        "I29",
        f"seq_lens_sum is {seq_lens_sum}, the lengths of the {rows} rows sum up to {needed}: "
        "the kv_indices of each step are cut too short for the padded batch",
        where,
        total=needed - seq_lens_sum,
        facts={"seq_lens_sum": seq_lens_sum, "needed": needed, "rows": rows, "lengths": lengths},
        kind=Found.SUM_BELOW_LENGTHS,
    )


def check_recorded_view(
    prepared: Mapping[str, object], recorded: Mapping[str, object], *, added: int, where: str
) -> Evidence | None:
    """I29: what a graph records of its metadata is built for the batch that was prepared for it.

    Args:
        prepared: what the part in front of the capture saw: whether the batch had a spec_info,
            its mode, the name of the backend's pool; recorded: the same inside of it.
        added: tokens that a batch with a spec_info adds to each length; 0 if that is not known.
    Cost: host objects only; legal under capture.
    Source: `FrozenKVMTPCudaGraphRunner.capture_one_shape`, `AttentionBackend.
        init_forward_metadata_out_graph` and `_in_graph`.
    """
    changed = [name for name in prepared if prepared[name] != recorded.get(name)]
    if not changed:
        return None
    words = ", ".join(f"{name} {recorded.get(name)}, not {prepared[name]}" for name in changed)
    facts: dict[str, object] = {"prepared": dict(prepared), "recorded": dict(recorded)}
    summary = f"the graph records its metadata for another view than was prepared: {words}"
    if added and recorded.get("spec_info") and not prepared.get("spec_info"):
        facts["added"] = added
        summary += (
            f"; each length in the graph is {added} too long: a KV slot past the committed "
            "prefix is read, which was never written"
        )
    return Evidence(
        "I29",
        summary,
        where,
        total=len(changed),
        facts=facts,
        kind=Found.RECORDED_FOR_ANOTHER_VIEW,
    )


def check_spec_rows(
    tensors: Mapping[str, int], *, requests: int, where: str = "between two steps"
) -> Evidence | None:
    """I29: every tensor that speculation carries from step to step has a row for each request.

    Args:
        tensors: SGLang's name of it, and its rows.
    Cost: host integers only; legal under capture.
    Source: `EagleDraftInput.filter_batch` and `merge_batch`.
    """
    wrong = {name: rows for name, rows in tensors.items() if rows != requests}
    if not wrong:
        return None
    name, rows = next(iter(wrong.items()))
    facts: dict[str, object] = {"rows": dict(tensors), "requests": requests}
    return Evidence(
        "I29",
        f"{name} of the batch's speculative state has {rows} rows for {requests} requests",
        where,
        total=len(wrong),
        facts=facts,
        kind=Found.SPEC_ROWS_NOT_THE_BATCHES,
    )
