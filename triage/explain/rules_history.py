"""Rules that go by the flight recorder: what stood at the first wrong launch."""

from __future__ import annotations

from triage.dump.history import since, stale_state
from triage.dump.sections import Dump
from triage.explain.cause import Cause, Citation, Confidence

_ISSUES = "https://github.com/sgl-project/sglang"
_PLAIN = ("", "I1", "I2")  # a crash, or a wrong id


def stale_state_on_record(dump: Dump) -> Cause | None:
    """The first launch with a wrong id came from a backend whose SWA state was not its pool's.

    Only for a dump without the request table: with it the launch says more (rules_space).
    """
    found = stale_state(dump.history)
    known = dump.tables is not None and dump.tables.req_to_token is not None
    if found is None or known or dump.fault.invariant not in _PLAIN:
        return None
    moment, why = found
    place = f"{moment.role} {moment.forward_mode}, layer {moment.layer_id}, {moment.space} pool"
    own_pool = moment.reads.startswith("draft ")
    return Cause(
        key="own-pool-draft-translated" if own_pool else "stale-swa-state",
        name=(
            "draft with its own pool, ids translated through the target's mapping"
            if own_pool
            else "SWA state not swapped with the pool"
        ),
        confidence=Confidence.HIGH,
        evidence=(since(dump), f"{moment.name}, {place}: {why}"),
        rows=tuple(map(Citation.of, dump.fault.violations)),
        refuted_by=("wrong ids at a launch whose backend holds the pool that it reads",),
        fix=f"SGLANG_TRIAGE_FIXES={'draft-own-pool' if own_pool else 'state-swap'}",
        links=(f"{_ISSUES}/issues/{25103 if own_pool else 26957}",),
        not_recorded=("the request table and the mapping: of which pool the wrong ids are",),
    )
