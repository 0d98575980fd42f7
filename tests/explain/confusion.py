"""What `triage explain` names for every defect and text whose right answer is known.

    python -m tests.explain.confusion                     prints a Markdown table
    python -m triage.bench.results explain                puts it into docs/results/explain.md
    python -m tests.explain.confusion --keep DIR          keeps what was played, and goes on from it

Played: every defect of the catalogue and of the second author's sets that an SGLang can show,
in each release at hand, with all traps raising and again with traps that only log (the dump of
each kind of alarm, and the ring at the crash or the end); the texts of
`tests/importers/texts.py` and `pasted.py`, alone and beside launches that they lead to and away
from. Takes about twenty minutes; `-v` lists what is right of every release and ring.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from triage.dump.file import read_dump
from triage.explain import Explanation, explain
from triage.explain.cause import Confidence
from triage.lab.versions import available, environment


class Judged(NamedTuple):
    """One case: what should be named, what was, and how that is called."""

    group: str
    case: str
    expected: str
    named: str
    result: str  # one of the five below


RIGHT, AMONG, UNKNOWN, WRONG = "right", "right among several", "unknown", "wrong"
NOTHING = "nothing recorded is wrong"
"""A ring whose launches were sound: the defect is one that traps which only log do not see."""


def judged(group: str, case: str, right: set[str], found: Explanation) -> Judged:
    """right: the keys that may be named; empty where nothing may be."""
    keys = [cause.key for cause in found.named]
    sure = any(cause.confidence is Confidence.HIGH for cause in found.named)
    return _judged(group, case, right, keys, sure)


def _judged(group: str, case: str, right: set[str], keys: list[str], sure: bool) -> Judged:
    if not keys:
        result = RIGHT if not right else UNKNOWN
    elif not set(keys) & right:
        result = f"{WRONG}, said with high confidence" if sure else WRONG
    else:
        result = RIGHT if set(keys) <= right else AMONG
    return Judged(group, case, ", ".join(sorted(right)) or "nothing", ", ".join(keys), result)


def lines_of(release: str, what: str, keep: Path | None) -> str:
    """What `confusion_child` prints of one release; what: `traps` or `rings`."""
    kept = None if keep is None else keep / f"{release}-{what}.jsonl"
    if kept is not None and kept.exists():
        return kept.read_text()
    print(f"SGLang {release}, {what}", file=sys.stderr)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.explain.confusion_child", what],
        env=environment(release),
        capture_output=True,
        text=True,
    )
    if ran.returncode:
        raise RuntimeError(f"SGLang {release}, {what}: {ran.stderr[-500:]}")
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(ran.stdout)
    return ran.stdout


def played(release: str, what: str, keep: Path | None) -> Iterator[Judged]:
    alike: dict[Judged, None] = {}  # an alarm of every step of a run is one case
    for line in map(json.loads, lines_of(release, what, keep).splitlines()):
        group = f"{release}, {line['group']}"
        case = _judged(group, line["case"], set(line["right"]), line["named"], line["high"])
        if what == "rings" and case.result == UNKNOWN and not line["wrong"]:
            case = case._replace(result=NOTHING)
        alike[case] = None
    yield from alike


def crashes(directory: Path) -> Iterator[Judged]:
    """The ring of a server that died, and the dumps that its logging traps left before."""
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
    from tests.importers import pasted, test_pasted

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
    for what, (text, _, _) in pasted.OTHERS.items():
        yield judged(group, f"{what}, sound table", set(), explain(cases.seen_in(sound, text)))
    for what, put_around in pasted.FORMS.items():
        text = put_around(pasted.report(address=address))
        found = explain(cases.seen_in(wrong, text))
        yield judged(group, f"{what}, wrong table", {"stale-swa-state"}, found)
    for what in test_pasted.DEVICE_FAULTS:
        found = explain(cases.seen_in(wrong, pasted.OTHERS[what][0]))
        case = judged(group, f"{what}, wrong table", {"stale-swa-state"}, found)
        # No kernel that read the table is told: its own class at most with medium confidence.
        sure = any(cause.confidence is Confidence.HIGH for cause in found.named)
        yield case._replace(result=WRONG if sure else RIGHT)


def alone() -> Iterator[Judged]:
    from tests.importers import pasted, threads
    from tests.importers.test_recognise import KINDS, PASTED
    from triage.importers.recognise import read_log

    texts = {
        f"{kind}, {way}": (paste(text), form, failure)
        for kind, (text, form, failure) in KINDS.items()
        for way, paste in {"as written": str, **PASTED}.items()
    }
    texts |= pasted.OTHERS
    texts |= {f"of a thread, {what}": text for what, text in threads.ALONE.items()}
    sanitizer = KINDS["sanitizer"][1:]
    texts |= {way: (put(pasted.report()), *sanitizer) for way, put in pasted.FORMS.items()}
    texts |= {f"without {cut}": (text[0], *sanitizer) for cut, text in pasted.CUT.items()}
    texts |= {f"mixed, {how}": (text, *sanitizer) for how, text in pasted.MIXED.items()}
    for case, (text, form, failure) in texts.items():
        seen = read_log(io.BytesIO(text.encode()), "x").observations
        told = (form, failure) in [(each.form, each.failure) for each in seen]
        named = ", ".join(dict.fromkeys(each.failure.value for each in seen))
        result = RIGHT if told else UNKNOWN if not seen else WRONG
        yield Judged("a text alone", case, failure.value, named, result)


def main() -> None:
    installed = version("sglang")
    keep = Path(sys.argv[sys.argv.index("--keep") + 1]) if "--keep" in sys.argv else None
    with tempfile.TemporaryDirectory(prefix="triage-confusion-") as scratch:
        found = [
            *(
                case
                for what in ("traps", "rings")
                for release in available()
                for case in played(release, what, keep)
            ),
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
    for releases, each in _alike(found, whole="-v" in sys.argv, installed=installed):
        case = f"{each.case} ({releases})" if releases else each.case
        print(f"| {case} | {each.expected} | {each.named or 'nothing'} | {each.result} |")


def _alike(found: list[Judged], *, whole: bool, installed: str) -> Iterator[tuple[str, Judged]]:
    """What is listed: a case once, with the releases that it is the same in."""
    same: dict[Judged, list[str]] = {}
    for each in found:
        release, _, group = each.group.partition(", ")
        shown = release == installed and not group.endswith("rings")
        if shown or whole or each.result not in (RIGHT, NOTHING):
            key = each._replace(group=group or release)
            same.setdefault(key, []).extend([release] if group else [])
    releases = {each.group.partition(", ")[0] for each in found if ", " in each.group}
    for each, there in same.items():
        everywhere = set(there) == releases or (each.result == RIGHT and not whole)
        told = "every release" if everywhere else ", ".join(dict.fromkeys(there))
        yield (told if (there and each.result != RIGHT) or whole else ""), each


if __name__ == "__main__":
    main()
