"""Which set of trtllm-gen attention kernels a FlashInfer release runs, and whose table is here.

A release pins one set of cubins by its hash. The set's table of kernels,
`flashInferMetaInfo.h`, is published only in the flashinfer-cubin wheels, of
which 0.6.13 is the last; later releases fetch it when they first build the
kernel. So for a release whose set is in no wheel, the names come from the
newest table there is, and say so.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

from triage.errors import ReplayError

Version = tuple[int, int, int]

PINS: dict[Version, str] = {
    # FlashInfer release -> set; `tests/resolver/flashinfer_pins.json` holds the wheels' own words
    (0, 6, 11): "1d876ee612888821b168c25ffa75a9dcbb963aaa",
    **{(0, 6, patch): "158f6fa11ef139a098cfddcdddce73ca99d164ad" for patch in range(12, 18)},
    (0, 6, 18): "2d6a5a029eefcc388ec0ceb87efb55d8bcce5c3c",
    **{(0, 7, patch): "2d6a5a029eefcc388ec0ceb87efb55d8bcce5c3c" for patch in range(3)},
}
SHIPPED = ("1d876ee6", "158f6fa1")
"""Sets whose table is in `data/`, the newest last."""

_PIN = re.compile(r"TRTLLM_GEN_FMHA: str = \(?\s*\"([0-9a-f]{40})/")


class Installed(NamedTuple):
    """The FlashInfer of this machine: its version as it says it, and the set it pins."""

    version: str
    pin: str

    @property
    def sentence(self) -> str:
        kernel_set = self.pin[:8]
        known = "its table is here" if kernel_set in SHIPPED else "no table of it is here"
        return f"FlashInfer {self.version} is installed and pins kernel set {kernel_set}: {known}"


class TableChoice(NamedTuple):
    """The set a release pins and the set whose table answers for it, eight digits each."""

    pinned: str
    used: str

    @property
    def exact(self) -> bool:
        return self.pinned == self.used

    @property
    def sentence(self) -> str:
        """What a reader must know about the names; empty where they are the release's own."""
        if self.exact:
            return ""
        releases = [release for release, pin in PINS.items() if pin[:8] == self.used]
        return (
            f"answered from kernel set {self.used} (FlashInfer {dotted(min(releases))} to "
            f"{dotted(max(releases))}); this release pins set {self.pinned}, whose table is in no "
            "package, and may run others; --table takes its flashInferMetaInfo.h"
        )


def choose(version: Version) -> TableChoice:
    """Raises ReplayError for a release that is neither listed nor installed."""
    pin = PINS.get(version)
    if pin is None:
        here = installed()
        if here is None or parse_version(here.version) != version:
            raise ReplayError(
                f"FlashInfer {dotted(version)} is not known here: its kernel set is known for "
                f"{dotted(min(PINS))} to {dotted(max(PINS))} and for the installed release"
            )
        pin = here.pin
    used = pin[:8] if pin[:8] in SHIPPED else SHIPPED[-1]
    return TableChoice(pin[:8], used)


def installed() -> Installed | None:
    """Read without importing FlashInfer; None if there is none, or it does not say its set."""
    found = importlib.util.find_spec("flashinfer")
    if found is None or not found.submodule_search_locations:
        return None
    artifacts = Path(next(iter(found.submodule_search_locations))) / "artifacts.py"
    try:
        version = importlib.metadata.version("flashinfer-python")
        return Installed(version, pin_in(artifacts.read_text(encoding="utf-8")))
    except (importlib.metadata.PackageNotFoundError, OSError, ReplayError):
        return None


def pin_in(artifacts: str) -> str:
    """The set that the text of `flashinfer/artifacts.py` names."""
    match = _PIN.search(artifacts)
    if match is None:
        raise ReplayError("flashinfer/artifacts.py names no TRTLLM_GEN_FMHA set")
    return match[1]


def parse_version(text: str) -> Version:
    """`0.6.11.post1` -> (0, 6, 11). Raises ReplayError for anything else."""
    parts = text.split(".")
    if len(parts) < 3 or not all(part.isdecimal() for part in parts[:3]):
        raise ReplayError(f"{text!r} is no FlashInfer version such as 0.6.12")
    return int(parts[0]), int(parts[1]), int(parts[2])


def dotted(version: Version) -> str:
    return ".".join(map(str, version))
