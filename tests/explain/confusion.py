"""What `triage explain` names for every defect and text whose right answer is known.

    python -m tests.explain.confusion                     prints a Markdown table
    python -m triage.bench.results explain                puts it into docs/results/explain.md

Played: every defect of the catalogue and of the second author's sets that the installed
SGLang can show, with all traps on; crash dumps of the lab, the traps only logging; the texts
of `tests/importers/texts.py`, alone and beside launches that they lead to and away from.
Takes about three minutes.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from triage.dump.file import read_dump
from triage.explain import Explanation, explain
from triage.explain.cause import Confidence


class Judged(NamedTuple):
    """One case: what should be named, what was, and how that is called."""

    group: str
    case: str
    expected: str
    named: str
    result: str  # right, right among several, unknown, wrong


RIGHT, AMONG, UNKNOWN, WRONG = "right", "right among several", "unknown", "wrong"


def judged(group: str, case: str, right: set[str], found: Explanation) -> Judged:
    """right: the keys that may be named; empty where nothing may be."""
    keys = [cause.key for cause in found.named]
    sure = any(cause.confidence is Confidence.HIGH for cause in found.named)
    if not keys:
        result = RIGHT if not right else UNKNOWN
    elif not set(keys) & right:
        result = f"{WRONG}, said with high confidence" if sure else WRONG
    else:
        result = RIGHT if set(keys) <= right else AMONG
    return Judged(group, case, ", ".join(sorted(right)) or "nothing", ", ".join(keys), result)


def catalogue(directory: Path) -> Iterator[Judged]:
    from triage.lab.bootstrap import prepare

    prepare()
    from triage.lab.bugs import CATALOGUE, SECOND
    from triage.lab.matrix import EVERYTHING, play
    from triage.lab.process import start
    from triage.lab.reinject import stale_swa_state

    with stale_swa_state():
        process = start(traps=True, fixes=(), directory=directory, checks=EVERYTHING)
    second = {bug.name for bug in SECOND}
    for number, (name, bug) in enumerate(CATALOGUE.items(), 1):
        print(f"{number} of {len(CATALOGUE)}: {name}", file=sys.stderr)
        if bug.applies():
            continue
        seen = play(process, bug, directory / name, checks=(EVERYTHING,))
        group = "catalogue, the second author's" if name in second else "catalogue"
        right = {bug.cause, *bug.also} - {""}
        if not right:
            continue
        if not seen.dump:
            print(f"{name}: no dump, so nothing to explain ({seen.ended})", file=sys.stderr)
            continue
        yield judged(group, name, right, explain(read_dump(Path(seen.dump))))


def crashes(directory: Path) -> Iterator[Judged]:
    """The ring of a server that died, and the dumps that its logging traps left before."""
    import subprocess

    command = [sys.executable, "-m", "triage", "lab", "run", "smoke", "--mode", "log"]
    command += ["--reinject", "stale-swa-state", "--dir", str(directory)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    found = sorted(directory.glob("*.msgpack"))
    if not found:
        raise RuntimeError(f"the lab left no dump: {ran.stderr[-500:]}")
    for path in found:
        kind = "a crash dump" if path.name.startswith("crash") else "a logged alarm with the ring"
        yield judged("ring and crash dumps", kind, {"stale-swa-state"}, explain(read_dump(path)))


def beside_launches() -> Iterator[Judged]:
    from tests.explain import test_weighing as cases

    wrong, sound = cases.wrong_table(), cases.sound()
    group = "a text beside a launch"
    address = cases.page_address(wrong, cases.WRONG_PAGE)
    led = cases.seen_in(wrong, cases.sanitizer(cases.FMHA, address))
    yield judged(group, "read of a named page, wrong table", {"stale-swa-state"}, explain(led))
    for what, (text, _) in cases.AWAY.items():
        for name, dump in (("wrong table", wrong), ("sound table", sound)):
            found = explain(cases.seen_in(dump, text))
            yield judged(group, f"{what}, {name}", set(), found)
    for what, text in cases.UNDECIDED.items():
        found = explain(cases.seen_in(wrong, text))
        yield judged(group, f"{what}, wrong table", {"stale-swa-state"}, found)


def alone() -> Iterator[Judged]:
    from tests.importers.test_recognise import KINDS, PASTED
    from triage.importers.recognise import read_log

    for kind, (text, form, failure) in KINDS.items():
        for way, paste in {"as written": str, **PASTED}.items():
            seen = read_log(io.BytesIO(paste(text).encode()), "x").observations
            told = (form, failure) in [(each.form, each.failure) for each in seen]
            named = ", ".join(dict.fromkeys(each.failure.value for each in seen))
            result = RIGHT if told else UNKNOWN if not seen else WRONG
            yield Judged("a text alone", f"{kind}, {way}", failure.value, named, result)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="triage-confusion-") as scratch:
        found = [
            *catalogue(Path(scratch) / "catalogue"),
            *crashes(Path(scratch) / "crash"),
            *beside_launches(),
            *alone(),
        ]
    print("| set or case | should be named | named | result |")
    print("|---|---|---|---|")
    for group in dict.fromkeys(each.group for each in found):
        results = Counter(each.result for each in found if each.group == group)
        told = ", ".join(f"{count} {result}" for result, count in results.most_common())
        wrong = sum(count for result, count in results.items() if result.startswith(WRONG))
        print(f"| **{group}, {sum(results.values())} cases** | | | {told}; {wrong} wrong |")
    for each in found:
        if each.group != "a text alone" or each.result != RIGHT:
            print(f"| {each.case} | {each.expected} | {each.named or 'nothing'} | {each.result} |")


if __name__ == "__main__":
    main()
