"""What the checks promise about their cost, counted."""

from __future__ import annotations

from triage.bench.family_cost import WHEN, family_costs
from triage.invariants.catalogue import FAMILIES


def test_every_check_reads_the_host_at_most_once_and_is_silent_on_a_clean_step():
    # GIVEN a clean decode step at the sizes of Gemma-4-E4B
    # WHEN every family's checks run over it, which raises if one of them fires
    costs = family_costs()
    # THEN none took more than its one read, and the launches are those of the docstrings
    assert {name for name, cost in costs.items() if cost["host_reads"] > 1} == set()
    assert costs["reads: check_table, swa"]["launches"] <= 100
    assert max(cost["launches"] for cost in costs.values()) <= 100
    # AND every family is among them, every check with the event it runs at
    # (outputs are no check of tensors that are there: `triage/bench/witness_cost.py`)
    assert {name.partition(":")[0] for name in WHEN} == set(FAMILIES) - {"output"}
    assert set(costs) == {*WHEN, *(name for name in costs if name.startswith("ledger"))}
