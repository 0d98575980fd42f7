"""`python -m triage.verify.child FIX`: one case under the SGLang of this process, as JSON.

Prints the outcome without the fix, with it, and with the same thing asked for by flag.
"""

from __future__ import annotations

import json
import sys

from triage.lab import bootstrap


def main(name: str) -> None:
    version = bootstrap.prepare()
    from triage.sglang.fixes import FIXES
    from triage.verify.binding import bound
    from triage.verify.cases import CASES

    case, fix = CASES[name], FIXES[name]
    answer = fix.ask()
    found = {"sglang": version, "need": answer.need.value, "without": case().as_dict()}
    found["by_flag"] = case(chosen=True).as_dict()
    if answer.need == "NEEDED":
        with bound(fix()):
            found["with"] = case().as_dict()
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
