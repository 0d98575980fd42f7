"""The emulated GPU with numbers: a launch answers the attention over what its table names.

Stands for the kernel where outputs matter (I28). It shares nothing with the eager reference:
torch's own attention, row by row, in float64, rounded once to the output's type. `spoil` is
called with every output before it is handed back, and may make the kernel a wrong one.

Not covered: sinks, and ids outside the cache, which the emulator has refused before.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from triage.lab.emulated_gpu import EmulatedGpu
from triage.lab.flashinfer_stub import InterceptedCall
from triage.lab.runtime import Runtime
from triage.sglang.launch.call import AttentionCall

Spoil = Callable[[AttentionCall, Tensor], None]


class ComputingGpu(EmulatedGpu):
    """An EmulatedGpu whose outputs are attention, as far as `spoil` leaves them."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.spoil: Spoil = lambda call, output: None

    def launch(self, intercepted: InterceptedCall) -> Tensor:
        super().launch(intercepted)
        call = AttentionCall(intercepted.api, intercepted.arguments)
        output = attention(call)
        self.spoil(call, output)
        return output


def query_offsets(call: AttentionCall) -> list[int]:
    """Where each row's queries begin in the query tensor, and where the last ends."""
    cumulative = call.cum_seq_lens_q
    if cumulative is not None:
        offsets: list[int] = cumulative.tolist()
        return offsets
    rows, each = int(call.block_tables.shape[0]), call.q_len_per_req
    return list(range(0, (rows + 1) * each, each))


def attention(call: AttentionCall) -> Tensor:
    """`(tokens, Hq, D)` in the queries' type: what the pages that the table names give."""
    key, value = call.kv
    if call.layout == "NHD":
        key, value = key.transpose(1, 2), value.transpose(1, 2)
    offsets, lengths = query_offsets(call), call.cache_seqlens.tolist()
    output = torch.zeros_like(call.query)
    for row, length in enumerate(lengths):
        queries = call.query[offsets[row] : offsets[row + 1]]
        if length < 1 or not len(queries):
            continue
        pages = call.block_tables[row, : -(-length // call.page_size)].long()
        keys, values = (
            part[pages].transpose(0, 1).flatten(1, 2)[:, :length].double() for part in (key, value)
        )
        position = torch.arange(length)
        at = torch.arange(length - len(queries), length)[:, None]
        mask = position <= at
        if call.window_left >= 0:
            mask &= position >= at - call.window_left
        found = torch.nn.functional.scaled_dot_product_attention(
            queries.transpose(0, 1).double(),
            keys,
            values,
            attn_mask=mask,
            scale=float(call.arguments["bmm1_scale"]),
            enable_gqa=True,
        )
        scaled = found.transpose(0, 1) * float(call.arguments.get("bmm2_scale", 1.0))
        output[offsets[row] : offsets[row + 1]] = scaled.to(output.dtype)
    return output
