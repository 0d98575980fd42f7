"""`make torture`: every attack at length, and a table of what came of it.

    python -m tests.torture.long [--reader N] [--importer N] [--kills N] [--every N]
                                 [--plugins RELEASE,...] [--out DIRECTORY] [--report]
                                 [--engine ray] [--workers N]

Each part is a process of its own and leaves a JSON file in DIRECTORY; --report only prints the
table of what is there. Without a number a part has its full size; 0 leaves it out. What is in
DIRECTORY already is not done again: fuzzing goes on from its tally, injection behind its last
whole line. Over Ray, parts are played at a time, and DIRECTORY must be seen by
every worker. The page of results is made of the files under `docs/results/logs/torture`
(`triage/bench/results.py`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from tests.torture import kills, secrets
from tests.torture.plugins_child import wrong_in
from triage.engines import NAMES, Inline, Lost, engine
from triage.lab import versions
from triage.lab.bootstrap import SUPPORTED

MODES = ("raise", "contain", "log")
DEFECT = "stale-swa-state"
GUIDED = 0.3
"""The share of inputs that coverage guides, which takes twice the time of the others."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", type=int, default=1_000_000)
    parser.add_argument("--importer", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--every", type=int, default=1, help="Inject at every Nth call; 0: none.")
    parser.add_argument("--plugins", default=",".join(SUPPORTED), help="Releases; empty: none.")
    parser.add_argument("--out", type=Path, default=Path("out/torture"))
    parser.add_argument("--engine", choices=NAMES, default="local", help="ray: parts at a time.")
    parser.add_argument("--workers", type=int, help="Parts at a time over Ray.")
    parser.add_argument("--report", action="store_true")
    wish = parser.parse_args()
    wish.out.mkdir(parents=True, exist_ok=True)
    if not wish.report:
        run(wish)
    sys.stdout.write(table(wish.out))


class Part(NamedTuple):
    """One attack. out: DIRECTORY, which every worker must see; size: inputs, kills, or every Nth.
    release: of SGLang, for the parts that are played under one."""

    name: str
    out: str
    size: int = 0
    mode: str = ""
    defect: tuple[str, ...] = ()
    release: str = ""


def parts(wish: argparse.Namespace) -> list[Part]:
    out = str(wish.out.resolve())
    found = [
        Part(name, out, size)
        for name, size in (("reader", wish.reader), ("importer", wish.importer))
        if size
    ]
    found += [Part("kills", out, wish.kills)] if wish.kills else []
    found.append(Part("secrets", out))
    found += [Part("inject", out, wish.every, *case) for case in (CASES if wish.every else ())]
    releases = filter(None, wish.plugins.split(","))
    return [*found, *(Part("plugins", out, release=release) for release in releases)]


def run(wish: argparse.Namespace) -> None:
    made = Inline() if wish.engine == "local" else engine(wish.engine, wish.workers)
    with closing(made):
        for part, ended in made.map(play, parts(wish)):
            if isinstance(ended, Lost):
                raise SystemExit(f"{part.name}: {ended.reason}")


def play(part: Part) -> None:
    """Play one part and leave its file."""
    out = Path(part.out)
    {
        "kills": _kills,
        "secrets": _secrets,
        "inject": _inject,
        "plugins": _beside_plugins,
    }.get(part.name, _fuzz)(part, out)


def _fuzz(part: Part, out: Path) -> None:
    command = [sys.executable, "-m", "tests.torture.fuzz_child", part.name, str(part.size)]
    command += [str(out / f"{part.name}.json"), "--guided", str(round(GUIDED * part.size))]
    subprocess.run(command, check=True)


def _kills(part: Part, out: Path) -> None:
    if (out / "kills.json").exists():
        return
    with tempfile.TemporaryDirectory() as scratch:
        found = {
            "at random": kills.kill_at_random(Path(scratch) / "random", part.size),
            "at each stage": kills.kill_at_stages(Path(scratch) / "stages"),
        }
    (out / "kills.json").write_text(json.dumps(found))


def _secrets(part: Part, out: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "tests.torture.secrets_child", scratch]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            raise SystemExit(done.stderr.decode())
        held = secrets.found_under(Path(scratch)) + secrets.found_in(done.stderr)
        files = len(list(Path(scratch).iterdir()))
    (out / "secrets.json").write_text(
        json.dumps({"planted": secrets.COUNT, "files": files, "found": held})
    )


def _inject(part: Part, out: Path) -> None:
    path = out / injections(part.mode, part.defect)
    if path.exists():
        return
    command = [sys.executable, "-m", "tests.torture.inject_child", part.mode, *part.defect]
    kept, played = path.with_suffix(".part"), ""
    if kept.exists() and (text := kept.read_text()):
        played = text[: text.rfind("\n") + 1]
        kept.write_text(played)
    options = ["--every", str(part.size), *(["--done", str(kept)] if played else [])]
    with kept.open("a") as file:
        subprocess.run([*command, *options], stdout=file, check=True)
    kept.rename(path)


def _beside_plugins(part: Part, out: Path) -> None:
    path = out / f"plugins_{part.release}.json"
    if not path.exists() and part.release in versions.available():
        command = [sys.executable, "-m", "tests.torture.plugins_child", ",".join(MODES)]
        environment = versions.environment(part.release)
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
        path.write_text(json.dumps(beside_plugins(done.stdout.decode())))


CASES = [(mode, defect) for defect in ((), (DEFECT,)) for mode in MODES]


def injections(mode: str, defect: tuple[str, ...]) -> str:
    return "-".join([f"inject_{mode}", *defect]) + ".jsonl"


def table(directory: Path) -> str:
    """What the parts left in `directory`, as Markdown."""
    lines = ["| Attack | Tried | Came of it |", "|---|---|---|"]
    for name in ("reader", "importer"):
        found = _read(directory / f"{name}.json")
        if found:
            wrong = sum(found["wrong"].values())
            lines.append(
                f"| fuzzed {name} | {found['inputs']:,} inputs, {found['guided']:,} of them guided "
                f"by coverage | {found['results']:,} results, {found['refused']:,} refused in a "
                f"sentence, {wrong} other outcomes; the slowest input took "
                f"{found['slowest_s']:.2f} s of CPU, the largest {found['over_kib'] / 1024:.1f} "
                "MiB beyond twice its size |"
            )
    for where, found in (_read(directory / "kills.json") or {}).items():
        lines.append(
            f"| writers killed {where} | {found['kills']:,} | {found['torn']} torn files, "
            f"{found['leftovers']} leftovers after the next start |"
        )
    held = _read(directory / "secrets.json")
    if held:
        lines.append(
            f"| secrets planted in a process | {held['planted']} | {len(held['found'])} found in "
            f"{held['files']} dumps, snapshots and crash files and in the log |"
        )
    for mode, defect in CASES:
        lines += _injected(directory / injections(mode, defect), mode, bool(defect))
    lines += _plugins(directory)
    return "\n".join(lines) + "\n"


SAME = ("outcome", "digest", "launches")
"""What SGLang did in a run: the tables and lengths it launched with, and how it ended."""


def survived(each: dict[str, Any], plain: dict[str, Any], clean: dict[str, Any]) -> bool:
    """Did the run with an error of ours go as the run without us, or as the one with us?

    Where a check had found a defect when the error came, only the latter counts: the trap
    is raised, as it is, with less to say, or bare.
    """
    as_ours = all(each.get(key) == clean[key] for key in SAME)
    if clean["trapped"]:  # an error without evidence does not say that the step was contained
        as_ours = bool(each.get("trapped")) and all(
            each.get(key) == clean[key] for key in ("digest", "launches")
        )
    as_plain = all(each.get(key) == plain[key] for key in SAME)
    return as_ours or (as_plain and not each.get("judged"))


def told_once(each: dict[str, Any]) -> bool:
    return each.get("said") == 1 and bool(each.get("traceback"))


def _injected(path: Path, mode: str, defect: bool) -> list[str]:
    if not path.exists():
        return []
    plain, clean, *rows = (json.loads(line) for line in path.read_text().splitlines())
    lived = sum(survived(each, plain, clean) for each in rows)
    what = f"SGLang's tables and launches unchanged {lived} times"
    if defect:
        judged = [each for each in rows if each["judged"]]
        raised = sum(survived(each, plain, clean) for each in judged)
        what += f", the trap told all the same {raised} of {len(judged)} times that it was judged"
    return [
        f"| an error at a call that a hook makes, mode `{mode}`"
        f"{', with a defect' if defect else ''} | {len(rows)} of {rows[0]['of']} calls found | "
        f"{what}; the error told once with its traceback {sum(map(told_once, rows))} times |"
    ]


def beside_plugins(played: str) -> dict[str, Any]:
    """Of the lines of a release: how many cells there were, and what was wrong in which."""
    plain, *cells = map(json.loads, played.splitlines())
    ours: dict[str, Any] | None = None
    wrong = {}
    for cell in cells:
        name = f"{cell['cell']}, {cell.get('mode', 'strict ' + cell.get('strict', ''))}"
        if cell["cell"] == "ours alone":
            ours = None
        if found := wrong_in(cell, plain, ours):
            wrong[name] = found
        ours = ours or cell
    return {"cells": len(cells), "wrong": wrong}


def _plugins(directory: Path) -> list[str]:
    known = {path.stem.removeprefix("plugins_"): path for path in directory.glob("plugins_*.json")}
    found = [_read(path) for path in known.values()]
    if not found:
        return []
    cells = sum(each["cells"] for each in found)
    good = cells - sum(len(each["wrong"]) for each in found)
    return [
        f"| another plugin's hooks at every target of ours: each kind, before and after ours, in "
        f"three modes, without a defect and with one | {cells} cells on SGLang "
        f"{', '.join(sorted(known))} | {good} times SGLang did as without us, both plugins' hooks "
        "were called, and the defect was found |"
    ]


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    main()
