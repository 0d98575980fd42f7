"""Rules about the kernel itself, for a fault whose table is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from triage.dump.history import CRASH
from triage.dump.kernel_names import kernel_of
from triage.dump.observation import DEVICE_FAULTS
from triage.dump.sections import Dump
from triage.errors import ReplayError
from triage.explain.case import LaunchCase
from triage.explain.cause import Cause, Confidence
from triage.explain.observed import Relation, related
from triage.invariants.found import Found

if TYPE_CHECKING:
    from triage.resolver.defects import Defect


def wrong_output(dump: Dump) -> Cause | None:
    """The output was computed again from what the launch read, and is another (I28).

    Sure where the table was compared with the request's pages and the cache was copied with
    the launch. Of a launch inside a graph the cache is copied behind the replay: that nobody
    wrote to those pages in between is not recorded. A table that was not compared would not
    clear the kernel: it is judged by the pages that it read, right ones or not.
    """
    fault = dump.fault
    if fault.found != Found.OUTPUT_WRONG:
        return None
    facts = fault.facts
    not_recorded = []
    if facts.get("table") != "sound":
        not_recorded.append("whether the pages are the request's (I2 was not checked)")
    if facts.get("read") != "with the launch":
        not_recorded.append("what the cache held when the launch ran: it was copied afterwards")
    apart = _queries_apart(dump)
    if apart:
        return Cause(
            key="query-read-as-packed",
            name="the kernel reads the queries as packed rows, and they are not",
            confidence=Confidence.HIGH,
            evidence=(
                *(line.strip() for line in fault.headline().splitlines()),
                apart,
                "row 0, which lies right either way, is not among the wrong ones",
            ),
            refuted_by=("the same wrong rows with contiguous queries",),
            fix="SGLANG_TRIAGE_FIXES=packed-query",
            links=("https://github.com/sgl-project/sglang/pull/31667",),
            not_recorded=tuple(not_recorded),
            of_table=False,
        )
    published = _published(dump)
    exposed = published.defects if published is not None else ()
    return Cause(
        key="kernel-wrong-output",
        name="the kernel computed a wrong output",
        confidence=Confidence.HIGH,
        evidence=(
            *(line.strip() for line in fault.headline().splitlines()),
            "the reference was computed from the very table, lengths and pages of this launch",
            *(f"the call is exposed to: {defect.what}" for defect in exposed),
        ),
        refuted_by=(
            "a reference that differs as much on another FlashInfer release",
            "somebody else who writes to the output or to the workspace",
        ),
        fix="try another FlashInfer release, or another attention backend for this layer",
        links=tuple(defect.link for defect in exposed),
        not_recorded=tuple(not_recorded),
        of_table=False,
    )


def _queries_apart(dump: Dump) -> str:
    """How far apart the rows are that XQA reads as packed; "" where that explains nothing."""
    launch = dump.launch
    query = None if launch is None else launch.tensors.get("query")
    if query is None or len(query.shape) != 3 or not _reads_no_stride(dump):
        return ""
    packed = query.shape[1] * query.shape[2]
    wrong = dump.fault.facts.get("rows_wrong")
    if query.stride[0] == packed or not isinstance(wrong, list) or not wrong or 0 in wrong:
        return ""
    return f"queries are {query.stride[0]} elements apart, and this kernel reads {packed} apart"


def _reads_no_stride(dump: Dump) -> bool:
    """Is FlashInfer's call served by XQA, which takes the address of the queries alone?"""
    return str(dump.provenance.get("arch", "")).startswith(("sm_90", "sm_12"))


class _Published(NamedTuple):
    """What is published about the kernel that a call selects on sm_100 and sm_103."""

    kernels: tuple[str, ...]
    defects: tuple[Defect, ...]


def _published(dump: Dump) -> _Published | None:
    """None where the dump does not tell the release, or the call is none of trtllm-gen's."""
    # Read only here: the kernel tables are not for every explanation to load.
    from triage.resolver import call_of, recorded_version, resolve
    from triage.resolver.defects import defects_of

    try:
        version = recorded_version(dump)
        if version is None:
            return None
        call = call_of(dump, version)
        found = resolve(call)
    except ReplayError:
        return None
    names = [kernel.name for kernel in found.candidates] or [f"none: {found.missing}"]
    return _Published(tuple(names), defects_of(call, found))


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
    published = _published(case.dump)
    if published is None or not published.defects:
        return None
    return Cause(
        key="known-kernel-defect",
        name="sound table; the call is exposed to a published kernel defect",
        confidence=Confidence.LOW,
        evidence=(
            "every visible entry is inside the cache and, where known, right",
            f"the call selects {' or '.join(published.kernels)}",
            *(defect.what for defect in published.defects),
        ),
        refuted_by=("the same fault on a FlashInfer release with the fix",),
        fix="try another FlashInfer release, or another attention backend for this layer",
        links=tuple(defect.link for defect in published.defects),
        missing=() if known else ("which kernel faulted",),
        of_table=False,
    )
