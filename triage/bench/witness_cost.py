"""What the output witness (I28) costs a decode step on the CPU: not asked for, asked for, looking.

    python -m triage.bench.witness_cost [ROUNDS]           one line of JSON

The forward is that of `bound_forward.py`: SGLang's own backend, 42 layers, 64 rows at 9k tokens,
the kernels and the stores replaced; here FlashInfer's function answers zeros, which is what
the zero cache gives. "idle" is a step that is not looked at, "looking" one that is, with copies
and comparison; both are less the same step without the witness. At every 100th step the mean
step costs idle + looking / 100 more. On a GPU: `gpu_witness.py`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any

from triage import config

EVERY = 100


def measure(every: int, rounds: int) -> dict[str, Any]:
    """Of this process: the quickest step in microseconds, and the median of those looked at."""
    from triage.bench.bound_forward import prepared

    os.environ[config.WITNESS] = str(every)
    quick, looked = float("inf"), []
    with ExitStack() as stack:
        decode, installed = stack.enter_context(prepared("log"))
        from triage.bench.watch_cost import no_kernels  # Triton, behind the lab's own choice

        stack.enter_context(no_kernels())
        traps = installed.traps
        for _ in range(rounds):
            due = every > 0 and (traps.steps.current + 1) % every == 0
            started = time.thread_time()
            decode.run(traps)
            taken = (time.thread_time() - started) * 1e6
            if due:
                looked.append(taken)
            else:
                quick = min(quick, taken)
    witness = traps.witness
    return {
        "step_us": quick,
        "looking_us": statistics.median(looked) if looked else None,
        "rows": 0 if witness is None else witness.rows,
        "launches": 0 if witness is None else witness.launches,
        "left_out": {} if witness is None else dict(witness.left_out),
        "failures": traps.reporter.shells.failures,
    }


def child(every: int, rounds: int) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "triage.bench.witness_cost", "--child", str(every), str(rounds)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--child"]:
        print(json.dumps(measure(*map(int, arguments[1:]))))
        return
    rounds = int(arguments[0]) if arguments else 600
    off, on = child(0, rounds), child(EVERY, rounds)
    idle, looking = on["step_us"] - off["step_us"], on["looking_us"] - off["step_us"]
    told = {
        "off_us": off["step_us"],
        "idle_us": idle,
        "looking_us": looking,
        "share_at_every_100th": (idle + looking / EVERY) / off["step_us"],
        "rows": on["rows"],
        "launches": on["launches"],
        "left_out": on["left_out"],
        "failures": on["failures"],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
