"""`make torture`: every attack at length, and a table of what came of it.

    python -m tests.torture.long [--reader N] [--importer N] [--kills N] [--every N]
                                 [--out DIRECTORY] [--report]

Each part is a process of its own and leaves a JSON file in DIRECTORY; --report only prints the
table of what is there. Without a number a part has its full size; 0 leaves it out. The page of
results is made of the files under `docs/results/logs/torture` (`triage/bench/results.py`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.torture import kills, secrets

MODES = ("raise", "contain", "log")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reader", type=int, default=1_000_000)
    parser.add_argument("--importer", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--every", type=int, default=1, help="Inject at every Nth call; 0: none.")
    parser.add_argument("--out", type=Path, default=Path("out/torture"))
    parser.add_argument("--report", action="store_true")
    wish = parser.parse_args()
    wish.out.mkdir(parents=True, exist_ok=True)
    if not wish.report:
        run(wish)
    sys.stdout.write(table(wish.out))


def run(wish: argparse.Namespace) -> None:
    for name, inputs in (("reader", wish.reader), ("importer", wish.importer)):
        if inputs:
            module = "tests.torture.fuzz_child"
            target = wish.out / f"{name}.json"
            subprocess.run([sys.executable, "-m", module, name, str(inputs), str(target)])
    if wish.kills:
        with tempfile.TemporaryDirectory() as scratch:
            found = {
                "at random": kills.kill_at_random(Path(scratch) / "random", wish.kills),
                "at each stage": kills.kill_at_stages(Path(scratch) / "stages"),
            }
        (wish.out / "kills.json").write_text(json.dumps(found))
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "tests.torture.secrets_child", scratch]
        done = subprocess.run(command, capture_output=True)
        held = secrets.found_under(Path(scratch)) + secrets.found_in(done.stderr)
        files = len(list(Path(scratch).iterdir()))
    (wish.out / "secrets.json").write_text(
        json.dumps({"planted": secrets.COUNT, "files": files, "found": held})
    )
    for mode in MODES if wish.every else ():
        command = [sys.executable, "-m", "tests.torture.inject_child", mode]
        with (wish.out / f"inject_{mode}.jsonl").open("w") as file:
            subprocess.run([*command, "--every", str(wish.every)], stdout=file)


def table(directory: Path) -> str:
    """What the parts left in `directory`, as Markdown."""
    lines = ["| Attack | Tried | Came of it |", "|---|---|---|"]
    for name in ("reader", "importer"):
        found = _read(directory / f"{name}.json")
        if found:
            wrong = sum(found["wrong"].values())
            guided = "guided by coverage" if found["guided"] else "not guided by coverage"
            lines.append(
                f"| fuzzed {name} | {found['inputs']:,} inputs, {guided} | {found['results']:,} "
                f"results, {found['refused']:,} refused in a sentence, {wrong} other errors; "
                f"slowest {found['slowest_s']:.2f} s of CPU; peak {found['peak_mib']} MiB "
                "with all imports and the fuzzer's own |"
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
    for mode in MODES:
        lines += _injected(directory / f"inject_{mode}.jsonl", mode)
    return "\n".join(lines) + "\n"


def _injected(path: Path, mode: str) -> list[str]:
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if len(rows) < 3:
        return []
    plain, injected = rows[0], rows[2:]
    same = sum(
        each.get("digest") == plain["digest"] and each.get("outcome") == plain["outcome"]
        for each in injected
    )
    told = sum(each.get("said") == 1 and bool(each.get("traceback")) for each in injected)
    return [
        f"| an error at a call that a hook makes, mode `{mode}` | {len(injected)} of "
        f"{injected[0]['of']} calls found | SGLang's tables and launches unchanged {same} times, "
        f"told once with its traceback {told} times |"
    ]


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    main()
