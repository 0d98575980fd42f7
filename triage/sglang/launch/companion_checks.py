"""What is judged at a launch beside its table, in the same host read: lengths, offsets, writes.

The failure: the table is right, and the kernel reads lengths of another forward, cuts the
query tensor by the offsets of the keys, or reads a token at another slot than the one its
key was written to. All of it is known where the launch is entered: from the call, and from
the forward batch that it belongs to.

Mode `raise` only: the device checker judges tables and write ranges.
"""

from __future__ import annotations

from collections.abc import Collection

from triage.invariants.findings import Findings
from triage.invariants.lengths import check_lengths, check_query_offsets
from triage.invariants.writes import check_own_slots
from triage.sglang.launch.call import AttentionCall
from triage.sglang.launch.entry import Entry
from triage.sglang.launch.pools import active_pool, is_hybrid


def companion_findings(
    call: AttentionCall, entry: Entry | None, enabled: Collection[str]
) -> list[Findings]:
    """Unread findings of one launch; fewer where the call carries less. No sync."""
    found = [_offsets(call, entry)]
    if entry is not None:
        found.append(_lengths(call, entry))
        if "I3" in enabled:
            found.append(_own_slots(call, entry))
    return [each for each in found if each is not None]


def _offsets(call: AttentionCall, entry: Entry | None) -> Findings | None:
    """I12: the query offsets cut the query tensor. Padding behind the last row is legal."""
    offsets = call.cum_seq_lens_q
    if offsets is None or len(offsets) < 2:
        return None
    rows = int(call.query.shape[0])
    known = None if entry is None else getattr(entry.forward_batch, "extend_num_tokens", None)
    return check_query_offsets(
        offsets,
        query_rows=rows,
        padded=known != rows,
        max_q_len=call.arguments.get("max_q_len"),
    )


def _lengths(call: AttentionCall, entry: Entry) -> Findings | None:
    """I12 against the forward batch: metadata of another forward has other lengths."""
    seq_lens = getattr(entry.forward_batch, "seq_lens", None)
    if seq_lens is None or not entry.rows_match(call):
        return None
    added = entry.added_tokens
    if not added:
        return None
    return check_lengths(
        call.cache_seqlens,
        seq_lens,
        added,
        req_pool_indices=entry.req_pool_indices,
    )


def _own_slots(call: AttentionCall, entry: Entry) -> Findings | None:
    """I3, I20: the tokens of this forward are written where its request rows name them.

    A draft that reads the target's pool writes nothing; a call of fewer slots than
    queries is a part of a forward.
    """
    loc, table = getattr(entry.forward_batch, "out_cache_loc", None), entry.req_to_token
    requests = entry.req_pool_indices
    if loc is None or table is None or requests is None or not entry.rows_match(call):
        return None
    shares = is_hybrid(active_pool(entry.backend, entry.forward_batch))
    if (entry.origin.role == "draft" and shares) or len(loc) < call.query.shape[0]:
        return None
    if getattr(entry.layer, "is_cross_attention", False) or call.page_size == 1:
        return None
    return check_own_slots(
        loc,
        requests,
        call.cache_seqlens,
        table,
        page_size=call.page_size,
        q_len=max(call.q_len_per_req, 1),
        cum_seq_lens_q=call.cum_seq_lens_q,
    )
