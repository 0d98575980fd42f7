"""A unified tree whose insert looks at no lock where it revives a node, or a sound one. JSON.

python -m tests.sglang.locked_overlap_child DIRECTORY MODE CHECKS
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from triage.dump.file import read_dump
from triage.errors import TrapError
from triage.explain import explain
from triage.lab.bugs.bug import SMALL, small
from triage.lab.patching import replaced
from triage.lab.process import start
from triage.lab.rig import Bench

DIRECTORY, MODE, CHECKS = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
PROCESS = start(traps=True, fixes=(), directory=DIRECTORY, mode=MODE, checks=CHECKS)
GEOMETRY = replace(
    SMALL.geometry, window=16, swa_pages=22, full_pages=60, num_layers=3, kv_shared_layers=0
)
SCENARIO = small(
    draft="none", cache="unified", requests=14, concurrency=3, chunk=256, prompt_tokens=160,
    output_tokens=24, geometry=GEOMETRY,
)  # fmt: skip


def play(harm: bool) -> dict[str, Any]:
    """harm: each locked node that an insert passes looks unlocked to it (sglang#29352)."""
    from sglang.srt.mem_cache.unified_cache.component_type import BASE_COMPONENT_TYPE
    from sglang.srt.mem_cache.unified_cache.components.swa_component import SWAComponent

    directory = DIRECTORY / ("harmed" if harm else "sound")
    PROCESS.arm(traps=True, fixes=(), directory=directory)
    harmed = 0

    def make(original: Any) -> Any:
        def update(self: Any, *, node: Any, **named: Any) -> Any:
            nonlocal harmed
            full = node.component_data[BASE_COMPONENT_TYPE]
            locks = full.lock_ref
            if harm:
                full.lock_ref = 0
            try:
                actions = named["cache_actions"]
                before = len(actions)
                return original(self, node=node, **named)
            finally:
                freed = any(type(each).__name__ == "FreeDeviceKV" for each in actions[before:])
                harmed += bool(locks and freed)
                full.lock_ref = locks

        return update

    bench, trapped = Bench(PROCESS, SCENARIO), ""
    with replaced(SWAComponent, "update_component_on_insert_overlap", make):
        try:
            bench.driver.run(lambda done, total: None, None)
        except TrapError as error:
            trapped = str(error.evidence.found)
        except Exception as error:  # SGLang's own end, over books that the defect has spoilt
            trapped = type(error).__name__
        finally:
            passed = PROCESS.installed.state_hooks.locked_overlap.passed
            bench.close()
    dumps = [read_dump(each) for each in sorted(directory.glob("*.msgpack"))]
    return {
        "harmed": harmed,
        "passed": passed,
        "trapped": trapped,
        "told": [str(each.fault.found) for each in dumps],
        "named": [cause.key for each in dumps for cause in explain(each).named],
        "internal": PROCESS.traps.counts.get("internal errors", 0),
    }


if __name__ == "__main__":
    print(json.dumps({"sound": play(False), "harmed": play(True)}))
