"""I10: the padding that a CUDA graph is replayed with.

The failure: a graph for 64 rows is replayed for 61, and the last three still carry the
requests and slots of an earlier step. They read, and through `out_cache_loc` write,
pages that belong to somebody. Seen behind SGLang's own refill of the graph's inputs:
`DecodeInputBuffers.populate_from_forward_batch` (0.5.12.post1), from 0.5.13.post1
`CudaGraphBufferRegistry.fill_from`, which the eager and prefill runners use as well.

Judged are the request index, the write slots and the length of padded rows. Not the
positions: up to 0.5.13.post1 they keep older values, which no kernel of trtllm_mha
reads. A refill without padding costs two comparisons.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from triage.invariants.findings import Fault, Findings, read_together
from triage.invariants.found import Found
from triage.invariants.graph import check_padded_tokens
from triage.sglang.reporter import Reporter

BUFFERS = (
    "sglang.srt.model_executor.cuda_graph_runner.DecodeInputBuffers.populate_from_forward_batch"
)
REGISTRY = "sglang.srt.model_executor.cuda_graph_buffer_registry.CudaGraphBufferRegistry.fill_from"

_BY_TOKEN = ("out_cache_loc", "out_cache_loc_swa")


class GraphInputs:
    """Stands behind the refill of a graph's inputs."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def around_buffers(self, original: Any, buffers: Any, **sizes: Any) -> Any:
        result = original(buffers, **sizes)
        rows, padded = int(sizes["raw_bs"]), int(sizes["bs"])
        if rows < padded:
            each = int(sizes["num_tokens_per_bs"])
            found = {name: getattr(buffers, name, None) for name in (*_BY_TOKEN, *_BY_ROW)}
            self._judge(
                found,
                rows=(rows, padded),
                tokens=(int(sizes["raw_num_token"]), padded * each),
                fill=int(sizes["seq_len_fill_value"]),
            )
        return result

    def around_registry(
        self, original: Any, registry: Any, forward_batch: Any, **sizes: Any
    ) -> Any:
        result = original(registry, forward_batch, **sizes)
        rows, padded = int(sizes["raw_bs"]), int(sizes["padded_bs"])
        tokens = int(sizes["raw_num_tokens"]), int(sizes["padded_num_tokens"])
        if rows < padded or tokens[0] < tokens[1]:
            staged = sizes.get("skip_slots", ())
            names = [n for n in (*_BY_TOKEN, *_BY_ROW) if registry.has_slot(n) and n not in staged]
            fill = registry.get_slot("seq_lens").pad_value if "seq_lens" in names else None
            self._judge(
                {name: registry.get_slot(name).buffer for name in names},
                rows=(rows, padded),
                tokens=tokens,
                fill=fill,
            )
        return result

    def _judge(
        self,
        buffers: dict[str, Tensor | None],
        *,
        rows: tuple[int, int],
        tokens: tuple[int, int],
        fill: int | None,
    ) -> None:
        """rows, tokens: (real, padded) numbers; fill: the length of a padded row."""
        by_token = {n: buffers[n] for n in _BY_TOKEN if buffers.get(n) is not None}
        found = [
            check_padded_tokens(
                num_real_tokens=tokens[0], **{n: _cut(t, tokens[1]) for n, t in by_token.items()}
            )
        ]
        requests, lengths = buffers.get("req_pool_indices"), buffers.get("seq_lens")
        if requests is not None:
            found.append(
                check_padded_tokens(num_real_tokens=rows[0], req_pool_indices=requests[: rows[1]])
            )
        if lengths is not None and fill is not None:
            tail = lengths[rows[0] : rows[1]]
            kind = Found.PADDING_NOT_INERT
            unlike = tail != fill
            fault = Fault("I10", "seq_lens", unlike, tail, fill, fill + 1, kind=kind)
            found.append(Findings([fault]))
        read_together(found)
        self.reporter.counts["padded replays"] += 1
        for each in found:
            self.reporter.fire_findings(
                each,
                "I10",
                f"padding of a graph for {rows[1]} rows, {rows[0]} of them real, is not inert",
                "",
                "graph replay preparation",
            )


_BY_ROW = ("req_pool_indices", "seq_lens")


def _cut(tensor: Tensor | None, tokens: int) -> Tensor | None:
    return None if tensor is None else tensor[:tokens]
