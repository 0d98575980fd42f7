"""The process in which one kernel runs: `python -m triage.replay.child KERNEL DUMP ANSWER [FIX]`.

What it says, it says in the file ANSWER, written under another name and
renamed, so a child that dies half way has said nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from triage.dump import read_dump
from triage.errors import TriageError
from triage.replay.kernels import KERNELS, load
from triage.replay.verdict import Outcome, Verdict, records_fault


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
    main(*sys.argv[1:])
