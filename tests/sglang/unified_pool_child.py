"""A healthy run, and one with a page outside its pool, over SGLang's unified pool.

python -m tests.sglang.unified_pool_child BACKEND MODE DIRECTORY
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from triage.lab import bootstrap

bootstrap.prepare()

from triage.errors import TrapError  # noqa: E402
from triage.lab.bugs.bug import SMALL, small  # noqa: E402
from triage.lab.flashinfer_stub import EmulatedFault  # noqa: E402
from triage.lab.matrix import EVERYTHING  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.rig import Bench  # noqa: E402
from triage.lab.unified_pools import UnifiedRuntime  # noqa: E402


@contextmanager
def page_outside() -> Any:
    """The first physical page of every table lies far behind its pool."""
    from sglang.srt.mem_cache.kv_index_translator import KVIndexTranslator as Translator

    read: Any = Translator.read_table

    def reads(self: Any, *args: Any, **kwargs: Any) -> Any:
        view = read(self, *args, **kwargs)
        view.ids[0, 0] = 1 << 20
        return view

    with mock.patch.object(Translator, "read_table", reads):
        yield


def play(
    process: Any,
    backend: str,
    planted: AbstractContextManager[Any],
    queued: int | None = None,
    cache: str = "chunk",
) -> dict[str, Any]:
    """queued: a step is queued before the last is judged, drawn with this seed."""
    process.arm(traps=True, fixes=(), directory=process.directory)
    geometry = replace(SMALL.geometry, num_layers=3, kv_shared_layers=0)
    scenario = small(
        draft="none", backend=backend, cache=cache, requests=6, chunk=64, geometry=geometry
    )
    scenario = replace(scenario, queued=queued is not None, requests=8 if queued else 6)
    with mock.patch("triage.lab.rig.Runtime", UnifiedRuntime):
        bench = Bench(process, scenario, seed=queued or 0)
    found: dict[str, Any] = {"alarm": ""}
    try:
        with planted:
            bench.driver.run(lambda done, total: None)
    except (TrapError, EmulatedFault) as error:
        found["alarm"] = getattr(getattr(error, "evidence", None), "invariant", "fault")
    found["oracle"], found["steps"] = bench.wrong, bench.driver.step
    found["counts"] = dict(process.traps.counts)
    found["not covered"] = sorted(process.installed.not_covered)
    bench.close()
    return found


def main(backend: str, mode: str, directory: Path) -> None:
    process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING, mode=mode)
    healthy = play(process, backend, nullcontext())
    planted = play(process, backend, page_outside()) if backend == "trtllm_mha" else None
    queued = [
        play(process, backend, nullcontext(), seed, cache)
        for cache, seed in (("chunk", 1), ("chunk", 2), ("unified", 6))
    ]
    print(json.dumps({"healthy": healthy, "planted": planted, "queued": queued}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
