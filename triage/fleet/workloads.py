"""The workloads under which the defects were first seen, and prompts of a wanted length for them.

Prompts are words drawn from a seed, about one token each; what the server counted is what
the results hold. Every prompt begins differently, so that no prefix cache helps.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from triage.errors import TriageError


class FleetError(TriageError):
    """A workload, task file or result file that we do not know or cannot read."""


@dataclass(frozen=True, slots=True)
class Workload:
    """`concurrency` requests are in flight at a time; each generates exactly `output_tokens`."""

    name: str
    what: str
    prompts: int
    input_tokens: int
    output_tokens: int
    concurrency: int


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("A", "long prompt, short answer", 30, 3000, 100, 30),
        Workload("B", "even", 50, 500, 500, 50),
        Workload("C", "short prompt, long answer", 30, 100, 1000, 30),
        Workload("chat", "1k in, 1k out", 80, 1000, 1000, 16),
        Workload("chat-31b", "1k in, 1k out as measured on 31B", 40, 1000, 1000, 32),
        Workload("summarisation", "8k in, 1k out, the load that crashed", 80, 8000, 1000, 64),
    )
}

WORDS = (
    "river stone cloud paper night green table seven house light water small field north glass "
    "early sound write month plant metal voice trade story chair south bread horse"
)


def prompt(workload: Workload, index: int, seed: int) -> str:
    """The text of request `index`, the same in every run with this seed."""
    rng = random.Random(f"{seed}/{workload.name}/{index}")
    words = rng.choices(WORDS.split(), k=max(workload.input_tokens - 8, 1))
    return f"Request {index} of run {seed}. " + " ".join(words)
