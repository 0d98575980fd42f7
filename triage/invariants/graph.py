"""I10, I11: what a replayed CUDA graph is fed.

The failure: a graph captured for 64 rows is replayed for 61, and the three
padded rows still carry the requests of an earlier step; or the metadata in the
graph's buffers was built for another forward. The rule: padding is inert and
recognisable, and metadata belongs to the forward that uses it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from triage.evidence import Evidence
from triage.invariants.findings import Fault, Findings
from triage.invariants.found import Found
from triage.invariants.reads import IndexSpace


def check_padding(
    block_tables: Tensor,
    cache_seqlens: Tensor,
    space: IndexSpace,
    *,
    num_real_rows: int | Tensor,
    req_pool_indices: Tensor | None = None,
    padded_length: int | None = None,
) -> Findings:
    """I10 for the rows at and after `num_real_rows`: request 0, fill length, page 0.

    Args:
        block_tables: `(rows, width)`, integer; live columns within the pool are judged
            (an id outside it is an I1 fault of `check_table`).
        cache_seqlens: `(rows,)`, integer, tokens.
        padded_length: length the mode gives a padded row (SGLang's fill value, plus the
            draft tokens in target verify); None leaves lengths unjudged.
        req_pool_indices: `(rows,)`, integer.
    Returns: I10 faults over `block_tables`, `req_pool_indices`, `cache_seqlens`.
    Cost: 27 small launches, no sync until `read()`.
    Source: padding policy of SGLang's graph input buffers, `get_cuda_graph_seq_len_fill_value`.
    """
    table = block_tables.to(torch.int64)
    length = cache_seqlens.to(torch.int64)
    width, page = table.shape[1], space.page_size
    padded = torch.arange(len(length), device=length.device) >= num_real_rows
    live_pages = (length.clamp(0, width * page) + page - 1) // page
    live = torch.arange(width, device=table.device) < live_pages[:, None]
    used = padded[:, None] & live & (table > 0) & (table < space.num_pages)
    request = None if req_pool_indices is None else req_pool_indices.to(torch.int64)
    inert = Found.PADDING_NOT_INERT
    faults = [Fault("I10", "block_tables", used, table, 0, 1, request=request, kind=inert)]
    if request is not None:
        named = padded & (request != 0)
        faults.append(Fault("I10", "req_pool_indices", named, request, 0, 1, kind=inert))
    if padded_length is not None:
        wrong = padded & (length != padded_length)
        faults.append(
            Fault(
                "I10", "cache_seqlens", wrong, length, padded_length, padded_length + 1, kind=inert
            )
        )
    return Findings(faults)


def check_padded_tokens(*, num_real_tokens: int | Tensor, **tokens: Tensor | None) -> Findings:
    """I10 for per-token inputs: every padded token's value is 0.

    Args:
        tokens: SGLang's name of each tensor and the tensor, `(tokens,)`, integer:
            out_cache_loc, swa_loc, positions. None is passed over.
    Cost: about 6 small launches per tensor, no sync until `read()`.
    """
    faults = []
    for name, tensor in tokens.items():
        if tensor is None:
            continue
        values = tensor.to(torch.int64)
        padded = torch.arange(len(values), device=values.device) >= num_real_tokens
        kind = Found.PADDING_NOT_INERT
        faults.append(Fault("I10", name, padded & (values != 0), values, 0, 1, kind=kind))
    return Findings(faults)


@dataclass(frozen=True, slots=True)
class MetadataStamp:
    """When attention metadata was built: which forward of the process, for which batch."""

    forward_id: int
    batch_size: int
    padded_batch_size: int


def check_freshness(
    built: MetadataStamp, used: MetadataStamp, *, where: str = "attention entry"
) -> Evidence | None:
    """I11: metadata is used by the forward that built it, at the batch size it was built for.

    Cost: host integers only.
    """
    if built == used:
        return None
    kind = Found.METADATA_OF_ANOTHER_SIZE
    if built.forward_id != used.forward_id:
        kind = Found.METADATA_OF_ANOTHER_FORWARD
        age = used.forward_id - built.forward_id
        summary = f"metadata of forward {built.forward_id} is used by forward {used.forward_id}"
        summary += f" ({age} later)" if age > 0 else ""
    else:
        summary = (
            f"metadata was built for {built.batch_size} rows padded to "
            f"{built.padded_batch_size}, the launch has {used.batch_size} padded to "
            f"{used.padded_batch_size}"
        )
    facts: dict[str, object] = {"built": asdict(built), "used": asdict(used)}
    return Evidence("I11", summary, where, total=1, facts=facts, kind=kind)
