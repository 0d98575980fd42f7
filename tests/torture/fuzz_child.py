"""Fuzz one target in this process: `python -m tests.torture.fuzz_child TARGET INPUTS OUT`.

    --guided N   the first N inputs are guided by coverage (atheris, Python 3.11), every second
                 of them a mutated seed; all others are mutated seeds (`mutations.py`)
    --seed S     of what is drawn

The tally is in OUT, written as it goes. A run that finds one goes on from there: what was tried
is not tried again, and the corpus that coverage has found lies beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from tests.torture.mutations import mutated

EVERY = 2000
"""Inputs between two writes of the tally."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("inputs", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--guided", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    wish = parser.parse_args()
    held = json.loads(wish.out.read_text()) if wish.out.exists() else {}
    if held.get("inputs", 0) >= wish.inputs:
        return
    guided = held.get("guided", 0) < wish.guided
    fuzzer = _instrumented() if guided else None
    from tests.torture.targets import TARGETS, Tally
    from triage.errors import TriageError

    target, seeds = TARGETS[wish.target]
    corpus, tally = seeds(), Tally(**held)
    for content in corpus:  # what is imported at the first use is no input's
        with contextlib.suppress(TriageError):
            target(content)
    tally.warm()
    rng = random.Random(f"{wish.seed} {tally.inputs}")
    if fuzzer is not None:
        _guided(fuzzer, target, corpus, tally, rng, wish)
    while tally.inputs < wish.inputs:
        tally.take(target, mutated(rng, rng.choice(corpus)))
        if tally.inputs % EVERY == 0:
            write(tally, wish.out)
    write(tally, wish.out)


def write(tally: Any, out: Path) -> None:
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(tally.json()) + "\n")
    partial.replace(out)


def _instrumented() -> Any:
    """atheris, with every module of ours that is imported from now on counted; None without it."""
    try:
        import atheris
    except ImportError:
        return None
    import importlib

    with atheris.instrument_imports(include=["triage"]):
        importlib.import_module("tests.torture.targets")
    return atheris


def _guided(
    fuzzer: Any, target: Any, corpus: list[bytes], tally: Any, rng: random.Random, wish: Any
) -> None:
    """Does not return: libFuzzer ends the process, which is then started again for the rest."""
    folder = wish.out.with_suffix(".corpus")
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(corpus):
        (folder / f"seed{number}").write_bytes(content)

    def one(content: bytes) -> None:
        if tally.inputs % 2:
            content = mutated(rng, rng.choice(corpus))
        tally.take(target, content)
        tally.guided += 1
        done = tally.guided >= wish.guided or tally.inputs >= wish.inputs
        if tally.inputs % EVERY == 0 or done:
            write(tally, wish.out)
        if done:
            signal.setitimer(signal.ITIMER_REAL, 0)  # libFuzzer's own would end what comes
            os.execv(sys.executable, [sys.executable, "-m", "tests.torture.fuzz_child", *words])

    words = sys.argv[1:]
    options = [f"-seed={rng.randrange(1, 1 << 30)}", "-max_len=65536", "-rss_limit_mb=4096"]
    fuzzer.Setup([sys.argv[0], *options, "-verbosity=0", str(folder)], one)
    fuzzer.Fuzz()


if __name__ == "__main__":
    main()
