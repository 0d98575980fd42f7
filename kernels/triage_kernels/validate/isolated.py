"""Run one check in a process of its own, for implementations that may fault in it.

`python -m triage_kernels.validate.isolated OP PROVIDER NAMES CHECK DTYPE DEVICE CASE...` prints
the result as JSON; NAMES are those of `foreign`, as JSON, for a PROVIDER that is a function. A
wrapped offset or a stray id of a foreign kernel then ends that process, which is a finding, and
not the whole validation.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from triage_kernels.core.interpreter import use_device


def in_a_process(
    op: str,
    provider: str,
    check: str,
    dtype: str,
    device: str,
    cases: tuple[str, ...],
    *,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any] | str:
    """The record of a `CheckResult`, or why there is none."""
    command = [sys.executable, "-m", "triage_kernels.validate.isolated"]
    wanted = [op, provider, json.dumps(dict(names or {})), check, dtype, device, *cases]
    run = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    if run.returncode < 0:
        return f"the process died of {signal.Signals(-run.returncode).name}"
    try:
        record: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        lines = run.stderr.strip().splitlines() or ["nothing on stderr"]
        return f"the process ended with {run.returncode}: {lines[-1]}"
    return record


def main(arguments: list[str]) -> None:
    op, provider, names, check, dtype, device, *cases_of = arguments
    use_device(device)
    from triage_kernels.validate.checks import ALL
    from triage_kernels.validate.checks.subject import Subject
    from triage_kernels.validate.foreign import foreign
    from triage_kernels.validate.providers import Unavailable, resolve
    from triage_kernels.validate.registry import select
    from triage_kernels.validate.results import DTYPES, run_check

    (spec,) = select((op,))
    if ":" in provider:
        call: Any = foreign(provider, spec, json.loads(names))
    else:
        call = resolve(provider, spec, device)
    if isinstance(call, Unavailable):
        raise SystemExit(call.reason)
    cases = tuple(c for c in spec.cases if c.name in cases_of)
    subject = Subject(spec, call, device, DTYPES[dtype], cases)
    started = time.perf_counter()
    result = run_check(subject, provider, check, ALL[check])
    sys.stdout.write(json.dumps({**asdict(result), "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(sys.argv[1:])
