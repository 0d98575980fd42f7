"""Replays drawn batches through SGLang's draft runners, and plays the catalogue's bugs of them.

    python -m tests.sglang.draft_graph_child DIRECTORY REPLAYS

Prints what each kind of runner counted, what each bug raised, and what stood between a step
and the speculative state of a batch that was filtered and merged. Stubs: `lab/draft_graphs.py`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

import torch  # noqa: E402, after the interpreter is set

from triage.errors import TrapError  # noqa: E402
from triage.lab.bugs.drafts import DRAFTS  # noqa: E402
from triage.lab.draft_graphs import KINDS, DraftGraph  # noqa: E402
from triage.lab.matrix import EVERYTHING, _explained, play  # noqa: E402
from triage.lab.pretended_capture import pretended_capture  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.runtime import Runtime  # noqa: E402
from triage.lab.scenarios import find  # noqa: E402


def replays(process: Any, kind: str, number: int) -> dict[str, Any]:
    """Batches of drawn sizes, empty ones among them; the last replay is inside a capture."""
    process.arm(traps=True, fixes=(), directory=process.directory)
    geometry = find("smoke").geometry
    draft = "frozen" if kind == "frozen" else "eagle"
    runtime = Runtime(geometry, draft_tokens=4, draft_steps=3, draft=draft)
    draw = torch.Generator()
    draw.manual_seed(11)
    alarm = ""
    try:
        graph = DraftGraph(runtime, kind)

        def once() -> None:
            size = int(torch.randint(0, geometry.max_requests + 1, (1,), generator=draw))
            rows = torch.randperm(geometry.max_requests, generator=draw)[:size] + 1
            graph.replay(rows, torch.randint(1, 200, (size,), generator=draw), draw)

        for _ in range(number):
            once()
        with pretended_capture():
            once()
    except TrapError as error:
        alarm = str(error)
    counts = dict(process.traps.counts)
    runtime.close()
    return {"alarm": alarm, "counts": counts}


def speculation(process: Any, lost: str) -> str:
    """SGLang's own filter and merge of a draft's input; `lost` is a tensor it forgets."""
    from sglang.srt.speculative.eagle_info import EagleDraftInput

    process.arm(traps=True, fixes=(), directory=process.directory)

    def drawn(rows: int) -> Any:
        return EagleDraftInput(
            topk_p=torch.rand(rows, 1),
            topk_index=torch.zeros(rows, 1, dtype=torch.int64),
            hidden_states=torch.rand(rows, 4),
            bonus_tokens=torch.zeros(rows, dtype=torch.int32),
        )

    spec = drawn(3)
    kept = getattr(spec, lost, None)
    spec.filter_batch(torch.tensor([0, 2]), **_whole(spec))
    if lost:
        setattr(spec, lost, kept)
    spec.merge_batch(drawn(2))
    batch = SimpleNamespace(
        reqs=[SimpleNamespace() for _ in range(4)],
        spec_info=spec,
        forward_mode=SimpleNamespace(is_decode=lambda: True),
    )
    try:
        process.installed.state_hooks.step_books.at_step(batch)
    except TrapError as error:
        return str(error)
    return ""


def sums(process: Any, short: int, checks: tuple[str, ...]) -> dict[str, Any]:
    """Slots packed twice for three requests padded to four, by SGLang's Triton draft of 3 steps.

    checks: as `LabProcess.arm` takes them; empty for all.
    """
    geometry = find("smoke").geometry
    runtime = Runtime(geometry, draft_tokens=4, draft_steps=3, draft="eagle", backend="triton")
    process.arm(traps=True, fixes=(), directory=process.directory, checks=checks)
    multi, lengths = runtime.draft_backend, torch.tensor([20, 37, 18, 1])
    multi.init_cuda_graph_state(4, 4)
    batch = SimpleNamespace(
        batch_size=4,
        req_pool_indices=torch.tensor([1, 2, 3, 0]),
        seq_lens=lengths,
        seq_lens_cpu=lengths.clone(),
        seq_lens_sum=int(lengths.sum()) - short,
        positions=lengths.clone(),
        spec_info=SimpleNamespace(kv_indptr=None, kv_indices=None),
        req_to_token_pool=runtime.req_to_token_pool,  # read from the batch up to 0.5.12.post1
        kv_loc_plan=None,  # of 0.5.23, which asks no plan where its pool is static
    )
    raised = ""
    try:
        for _ in range(2):
            multi.common_template(batch, None, None)
    except TrapError as error:
        raised = str(error)
    told = dict(process.traps.reporter.violations)
    runtime.close()
    return {"raised": raised, "told": told}


def _whole(spec: Any) -> dict[str, bool]:
    import inspect

    older = "has_been_filtered" in inspect.signature(spec.filter_batch).parameters
    return {"has_been_filtered": False} if older else {}


def main() -> None:
    directory, number = Path(sys.argv[1]), int(sys.argv[2])
    process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING)
    found: dict[str, Any] = {"sglang": process.version}
    found["replays"] = {kind: replays(process, kind, number) for kind in KINDS}
    found["speculation"] = {lost: speculation(process, lost) for lost in ("", "hidden_states")}
    found["sums"] = {
        name: sums(process, short, checks)
        for name, short, checks in (
            ("whole", 0, ()),
            ("larger", -100, ()),
            ("short", 1, ()),
            ("short, by default", 1, ("default",)),
        )
    }
    process.arm(traps=True, fixes=(), directory=directory)
    found["bugs"] = {}
    for bug in DRAFTS:
        if bug.applies():
            continue
        seen = play(process, bug, directory, checks=(EVERYTHING,))
        found["bugs"][bug.name] = {"seen": asdict(seen), "explained": _explained(bug, seen)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
