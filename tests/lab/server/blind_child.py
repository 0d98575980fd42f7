"""A defect of `blind_defects` on SGLang's real classes, with the traps as they are by default.

What a server process does around them is played here: `moments()` is told of each plan and step.
Prints what was raised and what the defect's own oracle wrote, as JSON.

python -m tests.lab.server.blind_child DIRECTORY DEFECT on|off
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap


def main(directory: Path, defect: str, state: str) -> None:
    bootstrap.prepare()
    from triage.errors import TrapError
    from triage.lab.process import start
    from triage.lab.rig import Bench
    from triage.lab.scenarios import find
    from triage.lab.server import defects
    from triage.lab.server.late import Step, moments
    from triage.lab.server.oracle import Oracle, read_account
    from triage.lab.server.result import explained

    control, told = directory / "control", directory / "oracle.jsonl"
    defects.insert(defect, str(control), str(told))
    process = start(traps=True, fixes=(), directory=directory / "dumps")
    fields = {"backend": "triton", "draft": "none", "requests": 0} if defect == "write-tail" else {}
    scenario = replace(find("smoke-plain"), **(fields or {"cache": "unified"}))
    bench, mine = Bench(process, scenario), moments()
    mine.scheduler = SimpleNamespace(
        token_to_kv_pool_allocator=bench.runtime.token_to_kv_pool_allocator,
        req_to_token_pool=bench.runtime.req_to_token_pool,
    )
    if state == "on":
        control.touch()
    play = write_tail if defect == "write-tail" else row_zero
    raised = ""
    try:
        play(bench, mine)
    except TrapError as error:
        raised = str(error)
        step = mine.step or Step(mine.now, [])
        mine.settle(step)
        Oracle(told).raised(step, "plan", error)
    dumps = [explained(path).json() for path in sorted((directory / "dumps").glob("*.msgpack"))]
    account = read_account(told)
    print(
        json.dumps(
            {
                "raised": raised,
                "first_wrong": account.first_wrong,
                "raised_step": account.raised,
                "keys": [key for dump in dumps for key in dump["keys"]],
                "steps": mine.steps,
                "failures": process.installed.shells.failures,
            }
        )
    )


def row_zero(bench: Any, mine: Any) -> None:
    """The lab's own load; each round plans first, as `get_next_batch_to_run` does."""
    driver = bench.driver
    begin, tick = driver.guard.begin, driver.tick

    def begun() -> Any:
        mine.launched(mine.begin(list(driver.cur_batch.reqs)), None)
        return begin()

    def planned() -> Any:
        mine.plan()
        return tick()

    driver.guard.begin, driver.tick = begun, planned
    driver.run(lambda done, total: None)


def write_tail(bench: Any, mine: Any) -> None:
    """A graph captured for four rows, replayed with four, then with two of them."""
    import torch
    from sglang.srt.mem_cache.memory_pool import KVWriteLoc
    from sglang.srt.model_executor.forward_batch_info import ForwardMode

    runtime = bench.runtime
    allocator, backend, pool = (
        runtime.token_to_kv_pool_allocator,
        runtime.target_backend,
        runtime.token_to_kv_pool,
    )
    rows, page = runtime.req_to_token_pool.req_to_token, int(allocator.page_size)
    sliding = next(layer for layer in runtime.layers if pool.layers_mapping[layer.layer_id][1])
    backend.init_cuda_graph_state(4, 4)
    length, zero = torch.tensor([page]), torch.tensor([0])
    own = []
    for row in range(1, 5):
        slots = allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), page)
        rows[row, :page] = slots.to(torch.int32)
        own.append(slots)

    def batch(live: int) -> Any:
        lengths = torch.tensor([page] * live + [1] * (4 - live))
        return SimpleNamespace(
            batch_size=4,
            req_pool_indices=torch.tensor([1, 2, 3, 4][:live] + [0] * (4 - live)),
            seq_lens=lengths,
            seq_lens_cpu=lengths,
            seq_lens_sum=int(lengths.sum()),
            forward_mode=ForwardMode.DECODE,
            spec_info=None,
            encoder_lens=None,
            out_cache_loc=torch.stack([slots[page - 1] for slots in own[:live]]),
        )

    backend.init_forward_metadata_out_graph(batch(4), in_capture=True)
    for live in (4, 2):
        mine.plan()
        step = mine.begin([])
        backend.init_forward_metadata_out_graph(batch(live))
        loc = torch.zeros(4, dtype=torch.int64)
        loc[:live] = batch(live).out_cache_loc
        key = torch.zeros(4, sliding.tp_k_head_num, sliding.qk_head_dim, dtype=pool.dtype)
        value = torch.zeros(4, sliding.tp_v_head_num, sliding.v_head_dim, dtype=pool.dtype)
        where = KVWriteLoc(loc, backend.cuda_graph_swa_out_cache_loc[:4])
        pool.set_kv_buffer(sliding, where, key, value)
        mine.step = None
        mine.settle(step)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
