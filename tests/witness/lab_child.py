"""Plays loads of the lab with the witness on: healthy, a wrong kernel, a wrong table.

python -m tests.witness.lab_child MODE EVERY DIRECTORY
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.overlap_child import scenario
from triage import config
from triage.errors import LabError, TrapError
from triage.lab import bootstrap

HEALTHY = {
    "frozen MTP": lambda: scenario("", "frozen"),
    "EAGLE": lambda: scenario("", "eagle"),
    "decode over swa-radix": lambda: scenario("swa-radix", graphs=True),
}


def main(mode: str, every: int, directory: Path) -> None:
    os.environ[config.WITNESS] = str(every)
    version = bootstrap.prepare()
    from triage.lab.process import start

    process = start(traps=True, fixes=(), directory=directory, mode=mode)
    told: dict[str, Any] = {"sglang": version, "healthy": {}}
    for name, made in HEALTHY.items():
        with contextlib.suppress(LabError):  # a cache that this release does not have
            told["healthy"][name] = play(process, made(), directory / name.replace(" ", "-"))
    told["kernel"] = play(process, scenario("", "frozen"), directory / "kernel", spoil=swapped)
    told["table"] = play(process, scenario("", "frozen"), directory / "table", wrong_table=True)
    told["both"] = play(
        process, scenario("", "frozen"), directory / "both", spoil=swapped, wrong_table=True
    )
    print(json.dumps(told))


def swapped(call: Any, output: Any) -> None:
    """A kernel that mis-indexes its output: several queries a row, and row 1 gets row 0's."""
    width = call.q_len_per_req
    if call.cum_seq_lens_q is None and width > 1 and len(call.block_tables) > 1:
        output[width : 2 * width] = output[:width]


def play(
    process: Any,
    load: Any,
    directory: Path,
    spoil: Callable[[Any, Any], None] | None = None,
    wrong_table: bool = False,
) -> dict[str, Any]:
    from tests.witness import wrong_tables
    from triage.lab.rig import Bench

    process.arm(traps=True, fixes=(), directory=directory)
    witness, logged = process.traps.witness, wrong_tables.Logged()
    error = None
    with logged, wrong_tables.planted() if wrong_table else contextlib.nullcontext():
        bench = Bench(process, load, computes=True)
        try:
            if spoil is not None:
                bench.gpu.spoil = spoil
            bench.driver.run(lambda done, total: None)
        except TrapError as caught:
            error = caught
        finally:
            bench.close()
    return {
        "error": "" if error is None else type(error).__name__,
        "message": str(error or ""),
        "facts": {} if error is None else error.evidence.facts,
        "dump": "" if error is None else error.dump,
        "logged": logged.lines,
        "steps": bench.driver.step,
        "wrong_launches": bench.gpu.wrong_launches,
        "rows": witness.rows,
        "launches": witness.launches,
        "nearest": witness.nearest,
        "left_out": dict(witness.left_out),
        "failures": process.traps.reporter.shells.failures,
        "not_covered": process.installed.not_covered,
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
