"""Lab runs with secrets all over them: `python -m tests.torture.secrets_child DIR`.

A process for each load. Traps fire in all three modes around SGLang's real classes; then an
exception with a user's words leaves the scheduler, and a snapshot is asked for. The slots of
Triton, the output witness and the late look at the free lists write their dumps too. Prints a
line for each load: its name and what came of it. The files are told apart by the name of the
load in front of theirs.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.torture import secrets
from tests.torture.inject_child import in_a_child
from tests.torture.quick import be_quick, seen_of_a_run

CHECKS = "reads,writes,allocator,spec"


def main(directory: Path) -> None:
    from triage.lab import bootstrap

    bootstrap.prepare()
    before = in_a_child(lambda: ring_of("raise", directory / "before") and seen_of_a_run())
    shutil.rmtree(directory / "before")
    be_quick(before["modules"], before["targets"])
    os.environ.update(secrets.planted_environment())
    secrets.plant()
    plant_in_requests()
    loads: dict[str, Callable[[Path], dict[str, Any]]] = {
        **{mode: lambda at, mode=mode: ring_of(mode, at) for mode in ("raise", "contain", "log")},
        "slots": slots_of_triton,
        "witness": wrong_output,
        "late": freed_early,
    }
    for name, load in loads.items():
        apart = directory / f"{name}.d"
        apart.mkdir(mode=0o700)
        print(name, json.dumps(in_a_child(lambda load=load, at=apart: load(at))), flush=True)
        for file in apart.iterdir():
            file.rename(directory / f"{name}-{file.name}")
        apart.rmdir()


def ring_of(mode: str, directory: Path) -> dict[str, Any]:
    """A trap's dump, and what the flight recorder leaves of the same process."""
    from triage.lab import process
    from triage.lab.run import Request, run
    from triage.lab.scenarios import find

    request = Request(find("smoke"), mode=mode, reinject="stale-swa-state", directory=directory)
    outcome = run(request).outcome
    history = process._process.installed.traps.history
    history.leaving(secrets.exception(), "Scheduler.run_event_loop")
    history.save("snap", "a snapshot that was asked for", "SIGUSR2")
    return {"outcome": outcome}


def slots_of_triton(directory: Path) -> dict[str, Any]:
    """Packed slots, one of them another position's."""
    from triage.errors import TrapError
    from triage.lab.patching import replaced
    from triage.lab.process import start
    from triage.lab.rig import Bench
    from triage.lab.scenarios import find, with_backend

    process = start(traps=True, fixes=(), directory=directory, checks=CHECKS, mode="raise")
    bench = Bench(process, with_backend(find("smoke-plain"), "triton"))

    def make(original: Any) -> Any:
        def init_forward_metadata(self: Any, forward_batch: Any) -> None:
            original(self, forward_batch)
            if forward_batch.forward_mode.is_decode():
                slots = self.forward_metadata.kv_indices
                slots[3] = slots[2]

        return init_forward_metadata

    with replaced(type(bench.runtime.target_backend), "init_forward_metadata", make):
        try:
            bench.driver.run(lambda done, total: None, 10)
        except TrapError as error:
            return {"outcome": type(error).__name__}
        finally:
            bench.close()
    return {"outcome": "nothing was found"}


def wrong_output(directory: Path) -> dict[str, Any]:
    """I28, from a kernel whose answer is too large."""
    from tests.lab.overlap_child import scenario
    from tests.witness.lab_child import play
    from triage import config
    from triage.lab.process import start

    os.environ[config.WITNESS] = "1"
    process = start(traps=True, fixes=(), directory=directory, mode="raise")

    def larger(call: Any, output: Any) -> None:
        output += 1

    return {"outcome": play(process, scenario("", "frozen"), directory, spoil=larger)["error"]}


def freed_early(directory: Path) -> dict[str, Any]:
    """I17, found late, with the history of the page."""
    from tests.sglang.late_audit_child import DEFECTS, play
    from triage.lab.process import start

    process = start(traps=True, fixes=(), directory=directory, mode="contain")
    found = play(process, directory, DEFECTS["freed"], "chunk", False)
    return {"outcome": found["explained"]}


def plant_in_requests() -> None:
    """Every launch carries KV, token ids and a request's name that are secret."""
    import torch
    from sglang.srt.managers.schedule_batch import Req

    from triage.lab.request import LabRequest
    from triage.sglang.launch.call import AttentionCall

    real = AttentionCall.__init__

    def planted(self, api, arguments, *rest, **named):
        for tensor in arguments["kv_cache"]:
            if tensor.dtype == torch.float16:
                tensor.fill_(secrets.KV)
        self_tokens = torch.tensor(secrets.TOKENS)
        arguments.setdefault("input_ids", self_tokens)
        arguments.setdefault("rid", secrets.REQUEST)
        real(self, api, arguments, *rest, **named)

    AttentionCall.__init__ = planted
    for kind in (LabRequest, Req):
        named = kind.__init__

        @functools.wraps(named)
        def with_a_secret_id(self, rid, *rest, named=named, **others):
            named(self, f"{secrets.REQUEST}-{rid}", *rest, **others)

        kind.__init__ = with_a_secret_id


if __name__ == "__main__":
    main(Path(sys.argv[1]))
