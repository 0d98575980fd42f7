"""Plays lifecycles inside a pretended capture and says which bound hooks it entered there.

    python -m tests.sglang.pretended_child MODE DIRECTORY

Every family is armed, then each alone. SGLang's real classes run: extend, decode, verify,
drafts, all three prefix caches, aborts; the traps stand in them as `install` binds them, the
witness of outputs too, as in the capture of a graph. What no lifecycle of the lab comes by (a
host cache, a transfer between machines) is entered with an original that does nothing. Then the
same objects go on outside the capture, where nothing may fire.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from triage import config
from triage.device import capture
from triage.errors import LabError
from triage.invariants.catalogue import FAMILIES
from triage.lab.drivers.schedule_batch import CACHES
from triage.lab.matrix import EVERYTHING
from triage.lab.pretended_capture import pretended_capture
from triage.lab.process import LabProcess, start
from triage.lab.rig import Bench
from triage.lab.scenarios import Scenario, find, with_backend

reached: Counter[str] = Counter()
"""Target -> how often it was entered under the capture."""
bound: dict[str, Any] = {}
"""Target -> the function around it; None for a patch."""
makers: dict[str, Any] = {}
"""Target of a patch -> what makes its wrapper."""


class Graph:
    """Stands for `torch.cuda.CUDAGraph`."""


def listen() -> None:
    """Count who enters what `install` binds, found by walking what it hands to SGLang."""
    from triage.sglang import install
    from triage.sglang.binding.hooks import Hook, register
    from triage.sglang.binding.patches import Patch, Patches
    from triage.sglang.binding.wrapping import Parameters, written_out

    def hook(each: Hook) -> Hook:
        def around(original: Any, *args: Any, **kwargs: Any) -> Any:
            reached[each.target] += capture.capturing()
            return each.around(original, *args, **kwargs)

        bound[each.target] = each.around
        return Hook(each.target, around, each.why)

    def patch(each: Patch) -> Patch:
        def make(original: Any) -> Any:
            def note() -> None:
                reached[each.target] += capture.capturing()

            parameters = Parameters.of(original)
            body = "note()\nreturn original(PASSED)"
            return each.make(written_out(original, parameters, body, note=note))

        bound[each.target] = None
        makers[each.target] = each.make
        return Patch(each.target, make, each.why)

    def listening(hooks: Any, patches: Patches, *told: Any) -> None:
        patches.patches = tuple(patch(each) for each in patches.patches)
        register([hook(each) for each in hooks], patches, *told)

    install.register = listening


def scenarios() -> list[Scenario]:
    """Small ones of every draft, prefix cache and backend, one with a padded graph's inputs."""
    plain = find("smoke-plain")
    caches = [dataclasses.replace(plain, cache=cache) for cache in CACHES]
    padded = dataclasses.replace(plain, graphs=True)
    others = [
        with_backend(find("smoke"), "triton"),
        with_backend(find("smoke-eagle"), "triton"),
        with_backend(find("smoke-eagle"), "fa3"),
        with_backend(plain, "flashinfer"),
    ]
    return [find("smoke"), find("smoke-eagle"), padded, *caches, *others]


def play(
    process: LabProcess,
    scenario: Scenario,
    directory: Path,
    checks: tuple[str, ...] = (),
    ticks: int = 8,
) -> dict[str, Any]:
    process.arm(traps=True, fixes=(), directory=directory, checks=checks)
    try:
        rig = Bench(process, scenario, seed=1)
    except LabError as absent:  # a release without that cache
        return {"left out": str(absent)}
    driver = rig.driver
    try:
        graph, replays = Graph(), process.traps.replays
        with pretended_capture():
            replays.begin(graph)
            for tick in range(ticks):
                if tick == ticks - 2:
                    driver.abort(1)
                driver.tick()
            replays.end(graph)
        captured = driver.step
        while driver.step < captured + ticks // 2 and driver.rows:
            driver.tick()
            rig.audit_ledger()
    finally:
        rig.close()
    return {
        "steps": [captured, driver.step - captured],
        "wrong": rig.wrong,
        "counts": dict(process.traps.counts),
        "failures": dict(process.traps.reporter.shells.failures),
    }


def enter_the_rest() -> list[str]:
    """Hooks that no lifecycle came by, around an original that does nothing."""
    rest = [target for target, around in bound.items() if around is not None]
    rest = [target for target in rest if not reached[target]]
    with pretended_capture():
        for target in rest:
            bound[target](lambda *_, **__: None, MagicMock(is_draft_worker=False))
        graphs = [target for target in makers if ".CUDAGraph." in target and not reached[target]]
        for target in graphs:  # torch's own class needs a GPU
            makers[target](does_nothing)(Graph())
    return [*rest, *graphs]


def does_nothing(graph: Graph) -> None: ...


def main() -> None:
    mode, directory = sys.argv[1], Path(sys.argv[2])
    listen()
    os.environ[config.WITNESS] = "1"
    process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING, mode=mode)
    played = {}
    for scenario in scenarios():
        name = " ".join(filter(None, (scenario.backend, scenario.draft, scenario.cache)))
        played[name] = play(process, scenario, directory)
    for family in FAMILIES:
        played[family] = play(process, find("smoke"), directory, (family,), ticks=3)
    print(
        json.dumps(
            {
                "sglang": process.version,
                "played": played,
                "bound": sorted(bound),
                "reached": [target for target in bound if reached[target]],
                "entered bare": enter_the_rest(),
            }
        )
    )


if __name__ == "__main__":
    main()
