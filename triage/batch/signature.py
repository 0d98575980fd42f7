"""What makes two dumps the same failure: cause, invariant, layer kind, call site, versions.

The rule: two dumps are one cluster only if every part is the same; a part that was not recorded
is a value of its own ("") and equals nothing but itself, so what is not known merges nothing
that is known. What differs from launch to launch of one defect (launch, step, row, page,
address, line of a log) is in no part.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from triage.dump.sections import Dump
from triage.explain import Explanation

SLIDING, FULL = "sliding", "full"
VERSIONS = ("sglang", "flashinfer-python")
"""The packages whose release decides which code failed."""

_NUMBER = re.compile(r"(0x[0-9a-f]+|\d+)")


class Signature(NamedTuple):
    """cause: keys of the named causes, joined with "+"; the status where none is named.
    invariant: with what was found, as "I5 freed twice". layer_kind: `SLIDING`, `FULL` or "".
    call_site: whose call failed. versions: "sglang 0.5.14, flashinfer-python 0.6.12".
    """

    cause: str
    invariant: str
    layer_kind: str
    call_site: str
    versions: str

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that stand for it."""
        text = "\0".join(self)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def signature_of(dump: Dump, explained: Explanation) -> Signature:
    """The signature of one dump, by what was recorded and explained."""
    fault = dump.fault
    named = sorted({cause.key for cause in explained.named})
    return Signature(
        "+".join(named) or explained.status,
        " ".join(filter(None, (fault.invariant, fault.found))),
        layer_kind(dump),
        call_site(dump),
        ", ".join(f"{name} {has}" for name in VERSIONS if (has := version(dump, name))),
    )


def layer_kind(dump: Dump) -> str:
    """Does the layer slide? By the launch's window, else by the pool that the fault names."""
    if dump.launch is not None:
        return SLIDING if dump.launch.window_left >= 0 else FULL
    pool = dump.fault.pool.rpartition(" ")[2]
    return {"swa": SLIDING, "full": FULL}.get(pool, "")


def call_site(dump: Dump) -> str:
    """Whose hand was last on the first page that the fault names, else the call that was checked.

    A launch is told by its call, by whom it is for and in which mode.
    """
    for page in dump.fault.pages:
        for event in page.events:
            if event.frames:
                return f"{event.kind}: {event.frames[0]}"
    parts = []
    if dump.backend is not None:
        parts = [dump.backend.role, dump.backend.forward_mode]
        parts += ["graph"] if dump.backend.in_graph else []
    if dump.launch is not None:
        return " ".join((dump.launch.api, *parts))
    return " ".join((_NUMBER.sub("N", dump.fault.where), *parts)).strip()


def version(dump: Dump, package: str) -> str:
    """The release of `package` that wrote the dump's process ran; "" where it is not recorded."""
    known = dump.provenance.get("versions")
    value = known.get(package) if isinstance(known, dict) else None
    return value if isinstance(value, str) else ""
