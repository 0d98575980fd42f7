"""A launch inside a CUDA graph: what the graph copies of it at every replay.

Behind a replay the queries and the output of a layer are gone, their memory being that of later
layers, and a later launch may have changed lengths and table. So the capture records copies of
a few rows into buffers of their own. They take a few kilobytes a graph and four small kernels a
launch that is recorded, at every replay: what is the same in all of them is made behind the
replay that is looked at. The pages are not copied there either: they are read behind it.

Not covered: rows of unlike numbers of queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from triage.sglang.launch.call import AttentionCall
from triage.sglang.witness.finding import Seen
from triage.sglang.witness.sample import (
    MAX_ROWS,
    Chosen,
    Queries,
    choose,
    full_counts,
    queries_of,
    why_not,
)

RAGGED = "rows of unlike numbers of queries in a graph"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A launch inside a graph: what the graph copies at each replay, and where its cache lies.

    call: with table and lengths of the chosen rows, copied by the graph; without queries
        and output.
    """

    seen: Seen
    call: AttentionCall
    chosen: Chosen
    queries: Queries
    requests: Tensor | None

    def fitted(self, longest: int) -> tuple[Chosen, Queries] | str:
        """The rows whose pages fit, and copies of their queries; why none does.

        longest: tokens of the longest row, 0 where the host does not know. Launches only.
        """
        held = int(self.call.block_tables.shape[1]) * self.call.page_size
        fits = choose(self.call, 0, min(longest or held, held))
        if isinstance(fits, str):
            return fits
        rows = min(fits.rows, self.chosen.rows)
        query, output = (part[:rows].clone() for part in (self.queries.query, self.queries.output))
        chosen = replace(self.chosen, rows=rows, columns=fits.columns)
        return chosen, Queries(query, output, full_counts(query))


def record_in_graph(
    call: AttentionCall, output: Any, seen: Seen, requests: Tensor | None, *, head: int
) -> Recorded | str:
    """Let the graph that is being captured copy what `Recorded` holds; why it cannot.

    head: counts up from graph to graph, so that KV heads take turns.
    """
    refused = why_not(call, output) or ("" if call.q_len_per_req else RAGGED)
    if refused:
        return refused
    rows = min(int(call.block_tables.shape[0]), MAX_ROWS)
    chosen = Chosen(0, rows, head % call.num_kv_heads, 0)
    rest = {name: v for name, v in call.arguments.items() if name not in ("query", "out")}
    rest["block_tables"] = call.block_tables[:rows].clone()
    rest["seq_lens"] = call.cache_seqlens[:rows].clone()
    return Recorded(
        seen=seen,
        call=AttentionCall(call.api, rest),
        chosen=chosen,
        queries=queries_of(call, output, chosen, counted=False),
        requests=None if requests is None else requests[:rows],
    )
