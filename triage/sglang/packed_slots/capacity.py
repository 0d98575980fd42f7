"""I13 and I29 before it happens: does what a kernel is about to pack fit SGLang's own buffer?

The failure: the slots of all steps of a draft are packed by one kernel into one row a step,
and a row that was sized without the branches of a request (sgl-project/sglang#27338, #27460) is
written past, into the next step's row and beyond the buffer. The kernel asks nothing. The rule:
what it will write follows from integers that the host has, so it is compared before the launch.

The slots of a step are then cut by the sum of the lengths, so that sum must count every row
(sgl-project/sglang#26880: a padded batch with the sum of the real one).

Where the host does not know the lengths (a batch that lives on the GPU alone) nothing is said;
what was packed then is judged by the launch that reads it.

Source: `generate_draft_decode_kv_indices`, step i of a request of L tokens writes L + i + 1.
"""

from __future__ import annotations

from typing import Any

from triage.evidence import Evidence
from triage.invariants.draft_inputs import check_lengths_sum
from triage.invariants.geometry import check_capacity


def draft_steps_fit(multi: Any, batch: Any, buffer: Any) -> Evidence | None:
    """Is a row of `buffer`, `(steps, width)`, wide enough for the last step of every branch?

    multi: SGLang's backend of a draft of several steps. Host integers only.
    """
    total = getattr(batch, "seq_lens_sum", None)
    if buffer is None:
        buffer = getattr(multi, "cuda_graph_kv_indices", None)
    if total is None or buffer is None or getattr(buffer, "dim", lambda: 0)() != 2:
        return None
    branches, steps = int(multi.topk), int(multi.speculative_num_steps)
    rows = branches * int(batch.batch_size)
    where = f"{type(multi).__name__}.common_template"
    found = check_capacity(
        "kv_indices of a draft's last step",
        needed=int(total) * branches + rows * steps,
        capacity=int(buffer.shape[1]),
        where=where,
    )
    offsets = getattr(multi, "kv_indptr", None)
    if found is None and offsets is not None and offsets.dim() == 2:
        found = check_capacity(
            "kv_indptr of a draft's steps",
            needed=rows + 1,
            capacity=int(offsets.shape[1]),
            where=where,
        )
    return found


def draft_sum_counts_all(multi: Any, batch: Any) -> Evidence | None:
    """Does `seq_lens_sum` count each row of the batch? Asked where the host has the lengths too.

    multi: SGLang's backend of a draft of several steps. Host work only.
    """
    total, lengths = getattr(batch, "seq_lens_sum", None), getattr(batch, "seq_lens_cpu", None)
    rows = int(batch.batch_size)
    if total is None or lengths is None or not lengths.is_cpu or len(lengths) < rows:
        return None
    where = f"{type(multi).__name__}.common_template"
    return check_lengths_sum(int(total), lengths, rows=rows, where=where)
