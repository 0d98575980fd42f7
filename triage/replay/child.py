"""The process in which one kernel runs: `triage.replay.child PARENT KERNEL DUMP ANSWER [FIX]`.

What it says, it says in the file ANSWER, written under another name and
renamed, so a child that dies half way has said nothing. It dies with the tool
that started it, and cannot fill a disk.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path

from triage.dump.file import read_dump
from triage.errors import TriageError
from triage.replay.kernels import KERNELS, load
from triage.replay.verdict import Outcome, Verdict, records_fault

MAX_FILE_BYTES = 256 << 20  # of any one file, its output included; a built kernel has a tenth
_PR_SET_PDEATHSIG = 1


def confine(parent: int) -> None:
    """End with the process `parent`, which must be ours now, and bound what may be written."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before it could be heard of
        raise SystemExit("the tool that started this process has gone")


def main(kernel: str, dump_path: str, answer: str, fix: str = "") -> None:
    dump = read_dump(Path(dump_path))
    try:
        verdict = load(kernel)(dump, fix)
    except (TriageError, ImportError) as error:
        reason = f"needs a package that is not here: {error}"
        verdict = Verdict(
            kernel,
            Outcome.CANNOT_RUN,
            KERNELS[kernel].basis,
            (reason if isinstance(error, ImportError) else str(error),),
            records_fault(dump) and not fix,
            fix,
        )
    partial = Path(answer + ".partial")
    partial.write_text(json.dumps(verdict.as_dict()))
    partial.replace(answer)


if __name__ == "__main__":
    confine(int(sys.argv.pop(1)))
    main(*sys.argv[1:])
