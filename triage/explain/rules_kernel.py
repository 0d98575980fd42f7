"""Rules about the kernel itself, for a fault whose table is sound."""

from __future__ import annotations

from triage.errors import ReplayError
from triage.explain.case import Case
from triage.explain.cause import Cause, Confidence


def known_kernel_defect(case: Case) -> Cause | None:
    """The table is sound and the call is one that a published kernel defect affects.

    A fault with a sound table need not be the kernel's: confidence stays low.
    """
    faulted = case.dump.fault.invariant or case.dump.fault.facts.get("cuda_faults")
    if not faulted or case.observed():
        return None
    # Read only here: the kernel tables are not for every explanation to load.
    from triage.resolver import call_of, recorded_version, resolve
    from triage.resolver.defects import defects_of

    try:
        version = recorded_version(case.dump)
        if version is None:
            return None
        call = call_of(case.dump, version)
        found = resolve(call)
    except ReplayError:
        return None
    defects = defects_of(call, found)
    if not defects:
        return None
    names = [kernel.name for kernel in found.candidates] or [f"none: {found.missing}"]
    return Cause(
        key="known-kernel-defect",
        name="sound table; the call is exposed to a published kernel defect",
        confidence=Confidence.LOW,
        evidence=(
            "every visible entry is inside the cache and, where known, right",
            f"the call selects {' or '.join(names)}",
            *(defect.what for defect in defects),
        ),
        refuted_by=("the same fault on a FlashInfer release with the fix",),
        fix="try another FlashInfer release, or another attention backend for this layer",
        links=tuple(defect.link for defect in defects),
    )
