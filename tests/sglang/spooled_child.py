"""A server of the lab whose dumps go where the environment says; prints JSON of what it did.

    python -m tests.sglang.spooled_child [kill]

SGLang's own loader binds the plugin, SGLang's own classes make the tables of a workload whose
draft keeps a stale SWA state, and what launches would have read is told and dumped (mode log),
until the GPU that is not there would have died. With `kill` the process is killed at that moment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import psutil

from triage.lab import bootstrap

bootstrap.prepare()

from triage.lab.flashinfer_stub import EmulatedFault  # noqa: E402, after the interpreter is set
from triage.lab.process import LabProcess  # noqa: E402
from triage.lab.rig import Bench  # noqa: E402
from triage.lab.scenarios import find  # noqa: E402


def main() -> None:
    process = LabProcess(bootstrap.prepare())
    process.reinject("stale-swa-state")
    began = time.perf_counter()
    from sglang.srt.plugins import load_plugins

    from triage.sglang.install import state

    load_plugins()
    loaded = time.perf_counter()
    process.installed = state()
    config = process.installed.config
    bench = Bench(process, find("smoke"))
    driven = time.process_time(), time.perf_counter()
    try:
        bench.driver.run(lambda done, total: None)
    except EmulatedFault as error:
        process.traps.history.leaving(error, "the lab's driver")
    store = process.traps.reporter.store
    told = {
        "directory": str(config.directory),
        "upload": config.upload,
        "written": store.written,
        "not_written": store.not_written,
        "load_s": loaded - began,
        "cpu_s": time.process_time() - driven[0],
        "wall_s": time.perf_counter() - driven[1],
        "connections": len(psutil.Process().net_connections(kind="inet")),
    }
    print(json.dumps(told), flush=True)
    if sys.argv[1:] == ["kill"]:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
