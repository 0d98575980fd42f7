"""The throw-away processes of `triage doctor --self-test`: one wrong page id, and who notices.

`python -m triage.doctor.planted hooks DIRECTORY` plants it below SGLang's real
`init_forward_metadata`, after SGLang's own loader has armed the traps as in a server. CPU tensors,
FlashInfer's calls stood in: what is shown is that the hooks bind, see the launch and raise
before it.

`python -m triage.doctor.planted gpu` plants it in a table on the GPU that is here: the checker's
own kernels, launched, and recorded into a CUDA graph and replayed. No SGLang, no attention.

Each begins with the same thing unharmed, which has to stay silent, and prints one JSON line.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

PAGE, PAGES, STEPS = 16, 9, 6


def hooks(directory: Path) -> dict[str, Any]:
    """A few steps of the lab's small scenario, then the same with the newest page's id wrong."""
    from triage.errors import TrapError
    from triage.lab.bugs.bug import SMALL
    from triage.lab.bugs.tables import spoiled
    from triage.lab.process import start
    from triage.lab.rig import Bench

    process = start(traps=True, fixes=(), directory=directory)

    def play() -> tuple[TrapError | None, Any]:
        bench = Bench(process, SMALL)
        try:
            bench.driver.run(lambda done, total: None, STEPS)
        except TrapError as error:
            return error, bench.gpu
        finally:
            bench.close()
        return None, bench.gpu

    def plant(backend: Any, metadata: Any, batch: Any) -> bool:
        """The last live column of row 0 names another page, inside the pool."""
        column = (int(metadata.cache_seqlens_int32[0]) - 1) // backend.page_size
        for table in (metadata.page_table, metadata.swa_page_table):
            if table is not None:
                table[0, column] = 1 if int(table[0, column]) != 1 else 2
        return True

    healthy, gpu = play()
    facts: dict[str, Any] = {
        "sglang": process.version,
        "launches_unharmed": gpu.launches,
        "alarm_unharmed": "" if healthy is None else str(healthy).splitlines()[0],
    }
    with spoiled(plant)(lambda: None):
        alarm, gpu = play()
    if alarm is None:
        return {**facts, "fired": False, "launches_planted": gpu.launches}
    from triage.dump.file import read_dump

    dump = read_dump(Path(alarm.dump)) if alarm.dump else None
    return {
        **facts,
        "fired": True,
        "launches_planted": gpu.launches,
        "error": type(alarm).__name__,
        "invariant": alarm.evidence.invariant,
        "message": str(alarm).splitlines()[0],
        "dump_read": dump is not None and dump.fault.invariant == alarm.evidence.invariant,
    }


def device(name: str = "cuda") -> dict[str, Any]:
    """The checker on `name`; a graph is captured only on a GPU.

    A table of two requests of four pages each; page id 7 is put where id 3 belongs.
    """
    import torch

    from triage.device.checker import DeviceChecker
    from triage.invariants.reads import IndexSpace

    checker = DeviceChecker(name)
    rows = torch.arange(1, PAGES, dtype=torch.int32).view(2, 4)
    req_to_token = torch.zeros(3, 4 * PAGE, dtype=torch.int32)
    req_to_token[1:] = (rows[:, :, None] * PAGE + torch.arange(PAGE)).view(2, -1)
    table, wrong = rows.to(name), rows.clone()
    wrong[0, 2] = 7
    options: dict[str, Any] = {
        "window_left": -1,
        "req_pool_indices": torch.tensor([1, 2], device=name),
        "req_to_token": req_to_token.to(name),
    }
    lengths = torch.full((2,), 4 * PAGE, dtype=torch.int32, device=name)
    steps = iter(range(8))

    def check() -> None:
        checker.check_table(table, lengths, IndexSpace("full", PAGE, PAGES), **options)

    def found() -> list[str]:
        checker.mark(next(steps))
        reports = checker.poll(wait=True)
        return [each.violation.invariant for report in reports for each in report.offenders]

    facts: dict[str, Any] = {"device": name}
    if checker.on_cuda:
        facts["device"] = torch.cuda.get_device_name()
        check()  # compiles, before any capture
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            check()
    launches = {"launched": check} | ({"in_graph": graph.replay} if checker.on_cuda else {})
    for how, launch in launches.items():
        table.copy_(rows)
        launch()
        unharmed = found()
        table.copy_(wrong)
        launch()
        planted = found()
        facts[how] = {"alarm_unharmed": unharmed, "found": planted}
    facts["fired"] = all(facts[how]["found"] for how in launches)
    facts["alarm_unharmed"] = next(
        (each["alarm_unharmed"][0] for how in launches if (each := facts[how])["alarm_unharmed"]),
        "",
    )
    return facts


def _run(arguments: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print
    facts = hooks(Path(arguments[1])) if arguments[0] == "hooks" else device()
    print(json.dumps(facts), file=answers)
    answers.flush()
    os._exit(0)  # as in child.py


if __name__ == "__main__":
    _run(sys.argv[1:])
