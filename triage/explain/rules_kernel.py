"""Rules about the kernel itself, for a fault whose table is sound."""

from __future__ import annotations

from triage.dump.history import CRASH
from triage.dump.kernel_names import kernel_of
from triage.dump.observation import DEVICE_FAULTS
from triage.errors import ReplayError
from triage.explain.case import LaunchCase
from triage.explain.cause import Cause, Confidence
from triage.explain.observed import Relation, related


def known_kernel_defect(case: LaunchCase) -> Cause | None:
    """The table is sound and the call is one that a published kernel defect affects.

    Of the kernel that faulted it must be known that it is one of this launch; where no tool
    told it, the class is possible and not named. A fault with a sound table need not be the
    kernel's even then: confidence stays low.
    """
    faults = [each for each in related(case.dump) if each.observation.failure in DEVICE_FAULTS]
    crashed = case.dump.fault.facts.get("kind") == CRASH
    if not (faults or crashed) or case.observed():
        return None
    of_others = [each for each in faults if each.relation is Relation.OTHER_KERNEL]
    if faults and len(of_others) == len(faults):
        return None
    kernels = [kernel_of(each.observation.kernel, each.observation.kernel_at) for each in faults]
    known = any(kernel is not None and kernel.covered for kernel in kernels)
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
        missing=() if known else ("which kernel faulted",),
        of_table=False,
    )
