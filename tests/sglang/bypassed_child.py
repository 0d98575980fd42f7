"""Which calls of SGLang's pools no hook sees: its real classes, in a process with the traps armed.

python -m tests.sglang.bypassed_child DIRECTORY
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triage.lab import bootstrap

bootstrap.prepare()

from triage.dump.file import read_dump  # noqa: E402
from triage.evidence import Evidence  # noqa: E402
from triage.lab.geometry import Geometry  # noqa: E402
from triage.lab.plain_pools import PlainRuntime  # noqa: E402
from triage.lab.process import start  # noqa: E402
from triage.lab.runtime import Runtime  # noqa: E402

GEOMETRY = Geometry(16, 20, 24, 32, 3, 3, 0, 128, 4)

OF_ANOTHER_CLASS = (
    ("allocator.unified_hybrid_swa", "UnifiedSWATokenToKVPoolAllocator"),
    ("allocator.hisparse", "HiSparseTokenToKVPoolAllocator"),
    ("allocator.swa", "PureSWATokenToKVPoolAllocator"),
    ("allocator.page_interleave", "PageInterleavePoolAllocator"),
    ("multi_ended_allocator", "MultiEndedAllocator"),
)
"""Allocators of some release, asked by their class alone: each needs a model to be built."""

POOLS = (
    ("memory_pool", "MLATokenToKVPool"),
    ("unified_memory_pool", "UnifiedSWAKVPool"),
    ("hisparse_memory_pool", "HiSparseDSATokenToKVPool"),
)


def unbuilt(module: str, name: str) -> Any:
    """An object of this class that was never initialised; None if the release has no such class."""
    try:
        kind = getattr(import_module(f"sglang.srt.mem_cache.{module}"), name)
    except (ImportError, AttributeError):
        return None
    bare: Any = type(name, (kind,), {"__init__": lambda self: None, "__module__": kind.__module__})
    bare.__abstractmethods__ = frozenset()
    return bare()


def main(directory: Path) -> None:
    checks = sys.argv[2] if len(sys.argv) > 2 else ""
    process = start(traps=True, fixes=(), directory=directory, checks=checks)
    scheduling = process.installed.scheduling

    def told(allocator: Any) -> dict[str, str]:
        scheduling.say_what_is_uncovered(SimpleNamespace(token_to_kv_pool_allocator=allocator))
        return dict(process.traps.reporter.not_seen)

    found: dict[str, Any] = {}
    runtime = Runtime(GEOMETRY, draft_tokens=1, draft_steps=1, draft="none")
    found["hybrid"] = told(runtime.token_to_kv_pool_allocator)
    runtime.close()
    runtime = PlainRuntime(GEOMETRY, "mha")
    found["mha"] = told(runtime.token_to_kv_pool_allocator)
    runtime.close()
    error = process.traps.reporter.event_error(Evidence("I5", "made by the test", "here", total=1))
    found["dump"] = read_dump(Path(error.dump)).provenance.get("not_covered")
    found["installed"] = [what for what in process.installed.not_covered if "set_kv" in what]
    for module, name in OF_ANOTHER_CLASS:
        allocator = unbuilt(module, name)
        if allocator is not None:
            type(allocator).get_kvcache = lambda self: None
            found[name] = told(allocator)
    for module, name in POOLS:
        pool = unbuilt(module, name)
        if pool is not None:
            found[name] = told(SimpleNamespace(get_kvcache=lambda pool=pool: pool))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
