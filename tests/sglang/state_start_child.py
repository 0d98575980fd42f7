"""Builds the lab's backends with SGLang's own constructors, sound and with the wrong SWA pool.

    python -m tests.sglang.state_start_child DIRECTORY

Prints, for each build, what was told of it: (invariant, kind, summary) of every dump.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from triage.lab import bootstrap

bootstrap.prepare()

from triage.dump.file import read_dump  # noqa: E402, after the interpreter is set
from triage.lab.process import LabProcess, start  # noqa: E402
from triage.lab.runtime import Runtime  # noqa: E402
from triage.lab.scenarios import find  # noqa: E402


def resolved(how: Any) -> AbstractContextManager[Any]:
    """trtllm_mha's backend takes its SWA pool as `how(runner)` says."""
    from sglang.srt.layers.attention.trtllm_mha_backend import TRTLLMHAAttnBackend

    return mock.patch.object(TRTLLMHAAttnBackend, "_resolve_swa_kv_pool", staticmethod(how))


def of_the_allocator(runner: Any) -> Any:
    """sgl-project/sglang#27491: of the shared allocator, whoever asks."""
    return runner.token_to_kv_pool_allocator.get_kvcache()


def of_the_runner(runner: Any) -> Any:
    """sgl-project/sglang#26966: of the worker's own pool, though another is read."""
    pool = runner.token_to_kv_pool
    return pool if hasattr(pool, "swa_kv_pool") else None


BUILDS: dict[str, tuple[str, Any, bool]] = {
    "sound, no draft": ("none", None, False),
    "sound, EAGLE": ("eagle", None, False),
    "sound, frozen": ("frozen", None, False),
    "EAGLE, of the allocator": ("eagle", of_the_allocator, False),
    "frozen, of the runner": ("frozen", of_the_runner, False),
    "frozen, of the runner, with a fix that moves it": ("frozen", of_the_runner, True),
}
"""Name -> draft, how the pool is resolved if not as released, is the state moved later?"""


def told(process: LabProcess, directory: Path, draft: str, how: Any, moved: bool) -> list[Any]:
    process.arm(traps=True, fixes=(), directory=directory)
    geometry = find("smoke").geometry
    state = process.installed.state_hooks.state
    planted = nullcontext() if how is None else resolved(how)
    with planted, mock.patch.object(state, "moved", lambda: moved):
        runtime = Runtime(geometry, draft_tokens=4, draft_steps=3, draft=draft)
    runtime.close()
    faults = [read_dump(path).fault for path in sorted(directory.glob("*.msgpack"))]
    return [(each.invariant, each.found, each.summary) for each in faults]


def main() -> None:
    directory = Path(sys.argv[1])
    process = start(traps=True, fixes=(), directory=directory, checks="default")
    found: dict[str, Any] = {}
    for number, (name, build) in enumerate(BUILDS.items()):
        found[name] = told(process, directory / str(number), *build)
    found["errors"] = process.traps.reporter.shells.internal_errors
    print(json.dumps(found))


if __name__ == "__main__":
    main()
