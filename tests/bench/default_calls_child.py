"""Counts the calls of ours in one decode step, and in what else the default checks stand at.

python -m tests.bench.default_calls_child steps|events      one line of JSON
"""

from __future__ import annotations

import json
import sys

from triage.bench import default_checks_cost, default_events_cost
from triage.bench.own_calls import own_calls


def steps():
    from triage.device.syncs import count_syncs

    with default_checks_cost.prepared("contain") as here:
        here.installed.state_hooks.audit.every = 1 << 30
        parts = here.parts()
        for call in (here.step, *parts.values()):
            call()  # what is made once
        sums = here.installed.state_hooks.sums
        looks, audit = sums.looks, here.installed.state_hooks.audit
        seen = audit.looks
        found = {name: own_calls(call) for name, call in parts.items()}
        assert (sums.looks - looks, audit.looks - seen) == (1, 2)
        found["step"] = own_calls(here.step)
        with count_syncs() as counts:
            parts["look"]()
        found["launches"] = sum(counts.launches.values())
        found["told"] = sum(here.installed.traps.reporter.violations.values())
    return found


def events():
    return {name: own_calls(call) for name, call in default_events_cost.events().items()}


if __name__ == "__main__":
    print(json.dumps({"steps": steps, "events": events}[sys.argv[1]]()))
