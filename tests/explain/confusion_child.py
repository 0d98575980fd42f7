"""The defects of one SGLang played in one process, each dump explained; one JSON line a dump.

python -m tests.explain.confusion_child traps     all traps raising: the dump of the alarm
python -m tests.explain.confusion_child rings     traps only logging, as in a server that goes
                                                  on: the dump of each alarm, and the ring that
                                                  is written when the server dies, or at the end
python -m tests.explain.confusion_child rings NAME ...    these defects alone
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triage.dump.file import read_dump
from triage.dump.history import launch_summaries
from triage.dump.sections import Dump
from triage.explain import explain
from triage.explain.case import LaunchCase


def traps(directory: Path) -> Iterator[dict[str, Any]]:
    from triage.lab.matrix import EVERYTHING, play
    from triage.lab.process import start
    from triage.lab.reinject import stale_swa_state

    with stale_swa_state():
        process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING)
    for bug, group in _applicable():
        seen = play(process, bug, directory / bug.name, checks=(EVERYTHING,))
        if not seen.dump:
            print(f"{bug.name}: no dump, so nothing to explain ({seen.ended})", file=sys.stderr)
            continue
        yield told(bug, group, bug.name, Path(seen.dump))


def rings(directory: Path) -> Iterator[dict[str, Any]]:
    from triage.errors import TrapError
    from triage.lab.flashinfer_stub import EmulatedFault
    from triage.lab.matrix import EVERYTHING
    from triage.lab.process import start
    from triage.lab.reinject import stale_swa_state
    from triage.lab.rig import Bench

    with stale_swa_state():
        process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING, mode="log")
    history = process.traps.history
    for bug, group in _applicable():
        place = directory / bug.name
        process.arm(traps=True, fixes=(), directory=place, checks=tuple(EVERYTHING.split(",")))
        bench = None
        try:
            with bug.inject(lambda: None):
                bench = Bench(process, bug.scenario, overlap=bug.overlap)
                bug.play(bench)
        except TrapError as error:
            print(f"{bug.name}: raised in mode log: {error}", file=sys.stderr)
        except SystemExit as error:  # how STRICT ends a start where launches cannot be checked
            print(f"{bug.name}: the start was refused: {error}", file=sys.stderr)
        except (EmulatedFault, Exception) as error:
            history.leaving(error, "the lab's driver")
        else:
            history.save("snap", "a snapshot at the end", "the lab's driver")
        finally:
            process.arm(traps=False, fixes=(), directory=directory)
            if bench is not None:
                bench.close()
        for path in sorted(place.glob("*.msgpack")):
            kind = path.name.partition("-2")[0]
            yield told(bug, f"{group}, rings", f"{bug.name}: {kind}", path)


def _applicable() -> Iterator[tuple[Any, str]]:
    from triage.lab.bugs import CATALOGUE, SECOND

    second = {bug.name for bug in SECOND}
    for number, (name, bug) in enumerate(CATALOGUE.items(), 1):
        print(f"{number} of {len(CATALOGUE)}: {name}", file=sys.stderr)
        if bug.applies() or not bug.cause or (sys.argv[2:] and name not in sys.argv[2:]):
            continue
        yield bug, "the second author's" if name in second else "catalogue"


def told(bug: Any, group: str, case: str, path: Path) -> dict[str, Any]:
    dump = read_dump(path)
    found = explain(dump)
    return {
        "group": group,
        "case": case,
        "right": sorted({bug.cause, *bug.also} - {""}),
        "named": [cause.key for cause in found.named],
        "high": any(cause.confidence.name == "HIGH" for cause in found.named),
        "wrong": bool(dump.fault.invariant) or _named_wrong(dump),
    }


def _named_wrong(dump: Dump) -> bool:
    """Did the ring's checks find anything, or does the launch that is shown name wrong pages?"""
    case = LaunchCase.of(dump)
    shown = case is not None and bool(case.observed())
    return shown or any(moment.fresh for moment in launch_summaries(dump.history))


def main() -> None:
    from triage.lab.bootstrap import prepare

    version = prepare()
    play = {"traps": traps, "rings": rings}[sys.argv[1]]
    with tempfile.TemporaryDirectory(prefix="triage-confusion-") as scratch:
        for line in play(Path(scratch)):
            print(json.dumps({"sglang": version, **line}), flush=True)


if __name__ == "__main__":
    main()
