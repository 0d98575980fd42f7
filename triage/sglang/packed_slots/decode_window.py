"""I12: does a decode through Triton read its whole sliding window?

The failure: SGLang's Triton backend gathers `sliding_window_size` slots for a decode, and its
kernel masks nothing, so the oldest key that the query may see is left out at each step past the
window (sgl-project/sglang#32087; 0.5.12.post1 to 0.5.23 have it). Nothing faults: a prefill of the
same layer reads one key more than the decode behind it. The rule: `sliding_window_size` is how many
tokens a query sees before itself, so it sees that many and its own:

    Hugging Face, `sliding_window_overlay`   key > query - sliding_window: sliding_window keys
    SGLang's Gemma models                    sliding_window_size = config.sliding_window - 1
    Triton's extend, FlashAttention          query <= key + sliding_window_size, (size, 0)
    FlashInfer's decode in SGLang            clamp(seq_lens, max=sliding_window_size + 1)
    Triton's decode                          min(seq_lens, sliding_window_size): one too few

Both counts are let pass at a launch: it is so in a server as released, and none of ours is to stop
it. It is said once, as a notice with a dump, from integers that the host has: how many slots an
eager decode has gathered for lengths that SGLang keeps on the host, or for how many slots a row the
buffer of the CUDA graphs has room.
"""

from __future__ import annotations

from typing import Any

from triage.evidence import Evidence
from triage.invariants.lengths import check_decode_window
from triage.sglang.packed_slots.reading import PackedSlots


def decode_window(stream: PackedSlots, backend: Any, batch: Any) -> Evidence | bool | None:
    """What is wrong; True if the window is whole; None where this launch does not tell.

    stream: of a decode's sliding layer. Cost: host integers of the batch's lengths.
    """
    before = stream.window - 1
    graphs = getattr(backend, "cuda_graph_window_kv_indices", None)
    if graphs is not None and graphs.data_ptr() == stream.kv_indices.data_ptr():
        whole = getattr(backend, "cuda_graph_kv_indices", None)
        context = int(getattr(backend, "max_context_len", 0) or 0)
        rows, left = (0, 1) if whole is None or not context else divmod(len(whole), context)
        if left or not rows or before >= context:
            return None
        gathered, lengths = len(graphs), [context] * rows
    else:
        known = getattr(batch, "seq_lens_cpu", None)
        if known is None or known.device.type != "cpu" or len(known) != int(batch.batch_size):
            return None
        gathered, lengths = len(stream.kv_indices), known.tolist()
    where = f"{type(backend).__name__}, decode"
    return check_decode_window(gathered, lengths, before=before, where=where)
