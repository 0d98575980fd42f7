"""I3 at a decode server that is fed by prefill servers: whose slots a prebuilt batch names.

The failure: the batch of a transferred request takes its slots from the start of the row; where
the decode server has cached the prompt's prefix, these are the prefix's, which other requests
read (sgl-project/sglang#24230). The rule is that of every write: token j of a request is at
`req_to_token[request, j]`, and what was transferred begins behind the prefix.

A prebuilt batch runs no forward, so no launch shows it. One host read a batch, in mode `raise`.
"""

from __future__ import annotations

from typing import Any

import torch

from triage.evidence import Evidence, Violation
from triage.invariants.found import Found
from triage.sglang.holders import row_of
from triage.sglang.reporter import Reporter

PREPARE = "sglang.srt.managers.schedule_batch.ScheduleBatch.prepare_for_prebuilt"
_WHERE = "ScheduleBatch.prepare_for_prebuilt"


class Prebuilt:
    """Stands around the preparation of a prebuilt batch."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def around_prepare(self, original: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(batch, *args, **kwargs)
        if "I3" in self.reporter.enabled and self.reporter.may_wait:
            self._judge(batch)
        return result

    def _judge(self, batch: Any) -> None:
        slots, table = batch.out_cache_loc, batch.req_to_token_pool.req_to_token
        spans = [
            (row, int(start), int(length))
            for req, start, length in zip(
                batch.reqs, batch.prefix_lens, batch.extend_lens, strict=True
            )
            if (row := row_of(req)) is not None
        ]
        if len(spans) != len(batch.reqs) or len(slots) != sum(length for *_, length in spans):
            return
        parts = [table[row, start : start + length] for row, start, length in spans]
        if not parts or sum(map(len, parts)) != len(slots):  # a row that ends before its tokens
            return
        self.reporter.counts["host reads"] += 1
        wrong = (slots.long() != torch.cat(parts).long()).nonzero().reshape(-1).tolist()
        if wrong:
            self._tell(slots.tolist(), parts, spans, table, wrong)

    def _tell(
        self,
        slots: list[int],
        parts: list[torch.Tensor],
        spans: list[tuple[int, int, int]],
        table: torch.Tensor,
        wrong: list[int],
    ) -> None:
        own = torch.cat(parts).tolist()
        places = [
            (row, start, start + place) for row, start, length in spans for place in range(length)
        ]
        row, start, token = places[wrong[0]]
        named = slots[wrong[0]]
        prefix = table[row, :start].tolist()
        of_prefix = named in prefix
        text = (
            f"the write slot of token {token} of request {row} is {named}, its row says "
            f"{own[wrong[0]]}"
        )
        if of_prefix:
            text += f": {named} is the slot of token {prefix.index(named)}, of the cached prefix"
        self.reporter.fire_event(
            Evidence(
                "I3",
                text,
                _WHERE,
                pool="full",
                total=len(wrong),
                rows_affected=len({places[each][0] for each in wrong}),
                violations=tuple(
                    Violation(
                        "I3",
                        "out_cache_loc",
                        row=each,
                        column=0,
                        value=slots[each],
                        low=0,
                        high=2**31,
                        expected=own[each],
                        req_pool_index=places[each][0],
                        kind=Found.PREBUILT_NOT_OWN_SLOT,
                    )
                    for each in wrong[:8]
                ),
                facts={"prefix": start, "of the prefix": of_prefix},
                kind=Found.PREBUILT_NOT_OWN_SLOT,
            )
        )
