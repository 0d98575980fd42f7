"""Fuzz one target in this process: `python -m tests.torture.fuzz_child TARGET INPUTS OUT [SEED]`.

Guided by coverage where atheris is installed (Python 3.11), by structure in any case: every
second input is one of the seeds, mutated by `mutations.py`. Writes its tally to OUT as it goes.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
from pathlib import Path

from tests.torture.mutations import mutated


def main(name: str, inputs: int, out: Path, seed: int = 0) -> None:
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None:
        from tests.torture.targets import TARGETS, Tally
    else:
        with atheris.instrument_imports(include=["triage"]):
            from tests.torture.targets import TARGETS, Tally
    target, seeds = TARGETS[name]
    corpus, tally, rng = seeds(), Tally(), random.Random(seed)

    def write() -> None:
        partial = out.with_suffix(".partial")
        partial.write_text(json.dumps({"guided": atheris is not None, **tally.json()}))
        partial.replace(out)

    def one(content: bytes) -> None:
        if tally.inputs % 2:
            content = mutated(rng, rng.choice(corpus))
        tally.take(target, content)
        if tally.inputs % 500 == 0 or tally.inputs == inputs:
            write()
        if tally.inputs == inputs:
            os._exit(0)

    if atheris is None:
        while True:
            one(mutated(rng, rng.choice(corpus)))
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(corpus):
            (Path(folder) / str(number)).write_bytes(content)
        options = ["-max_len=65536", f"-seed={seed + 1}", "-rss_limit_mb=4096", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:]))
