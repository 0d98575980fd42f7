"""Defects in what a draft's CUDA graph is replayed with: SGLang's own runners, their buffers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from triage.lab.bugs.bug import SGLANG, SMALL, Bug, Harmed, small
from triage.lab.draft_graphs import DraftGraph

if TYPE_CHECKING:
    from triage.lab.rig import Bench

REPLAYS = 12


def _drawn_replays(kind: str) -> Callable[[Bench], None]:
    """Batches of drawn sizes, one behind the other, the largest first."""

    def play(bench: Bench) -> None:
        draw = torch.Generator()
        draw.manual_seed(1)
        graph = DraftGraph(bench.runtime, kind)
        most = bench.runtime.geometry.max_requests
        for size in [most, *torch.randint(1, most, (REPLAYS,), generator=draw).tolist()]:
            rows = torch.randperm(most, generator=draw)[:size] + 1
            graph.replay(rows, torch.randint(1, 200, (size,), generator=draw), draw)

    return play


def _nobody_fills(name: str, real: bool) -> Callable[[Harmed], AbstractContextManager[Any]]:
    """The buffer called `name` keeps what the replay before left, in its real part or behind it."""

    def inject(harmed: Harmed) -> AbstractContextManager[Any]:
        def filled(graph: DraftGraph) -> None:
            buffer = getattr(graph.runner.buffers, name)
            left = graph.before[name]
            entries = len(buffer) // len(graph.runner.buffers.seq_lens)
            # The runner has not noted its sizes yet: a batch's tokens tell how many are real.
            end = graph.requests * entries
            part = slice(0, end) if real else slice(end, None)
            if not torch.equal(buffer[part], left[part]):
                harmed()
            buffer[part] = left[part]

        return mock.patch.object(DraftGraph, "filled", filled)

    return inject


def _watched(harmed: Harmed) -> AbstractContextManager[Any]:
    """SGLang as released: do padded rows name a request?"""

    def filled(graph: DraftGraph) -> None:
        padded = graph.bucket
        if bool((graph.runner.buffers.req_pool_indices[graph.requests : padded] != 0).any()):
            harmed()

    return mock.patch.object(DraftGraph, "filled", filled)


def _leaves_padded_requests() -> str:
    from sglang.srt.speculative.frozen_kv_mtp_cuda_graph_runner import FrozenKVMTPCudaGraphRunner

    enter = getattr(FrozenKVMTPCudaGraphRunner, "execute", None)
    enter = enter or FrozenKVMTPCudaGraphRunner.replay
    resets = "req_pool_indices.zero_()" in inspect.getsource(inspect.unwrap(enter))
    return "this release resets the request rows of padding" if resets else ""


def _pads_afresh() -> str:
    return "" if _leaves_padded_requests() else "this release leaves old requests in padding itself"


_SEVEN = replace(SMALL.geometry, max_requests=7)

DRAFTS = (
    Bug(
        "frozen-draft-padding-keeps-requests",
        "a frozen-KV draft's graph is padded with the request rows of the replay before",
        "found here, in 0.5.12.post1 as released; right from 0.5.13.post1",
        ("I29",),
        inject=_watched,
        play=_drawn_replays("frozen"),
        scenario=small(geometry=_SEVEN),
        released=True,
        applies=_leaves_padded_requests,
        cause="padded-row",
    ),
    Bug(
        "draft-padding-writes-slots",
        "an EAGLE draft's graph is padded with the slots that the replay before wrote to",
        f"variant of {SGLANG}/pull/32555, in the draft's own buffers",
        ("I29",),
        inject=_nobody_fills("out_cache_loc", real=False),
        play=_drawn_replays("draft"),
        scenario=small(geometry=_SEVEN, draft="eagle"),
        cause="padded-row",
    ),
    Bug(
        "draft-extend-lengths-not-copied",
        "a draft-extend graph is replayed with the lengths of the batch before",
        f"variant of {SGLANG}/pull/25889: a tensor that nobody copies",
        ("I29",),
        inject=_nobody_fills("seq_lens", real=True),
        play=_drawn_replays("extend"),
        scenario=small(geometry=_SEVEN, draft="eagle"),
        applies=_pads_afresh,
        cause="stale-draft-input",
    ),
)
