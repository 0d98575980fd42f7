"""Where `triage doctor --sglang WHAT` finds the release it asks about.

a version that is unpacked beside the installed one   imported, as the installed one is
a path: a wheel, a folder, a checkout                 its source is read
any other version                                     its wheel is fetched once, then read
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from triage.errors import LabError

FETCH_TIMEOUT_S = 300.0

_VERSION = re.compile(r"\d+(\.\d+)+(\.?(a|b|rc|post|dev)\d+)*")


def cache_directory() -> Path:
    """Where wheels are kept: `$XDG_CACHE_HOME/sglang-triage/wheels`, by default in `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sglang-triage" / "wheels"


def source_of(release: str, say: Callable[[str], None]) -> Path | None:
    """The path whose source is to be read, None for a version that can be imported here.

    say: told before something is fetched.
    Raises LabError for what is neither a path nor a version, and where pip does not get it.
    """
    path = Path(release).expanduser()
    if path.exists():
        return path.absolute()
    if not _VERSION.fullmatch(release):
        raise LabError(
            f"--sglang {release!r} is neither a version, such as 0.5.18, nor a path to a wheel, "
            "to a folder with the package sglang, or to a checkout of SGLang"
        )
    from triage.lab import versions

    if release in versions.available():
        return None
    kept = cache_directory() / release
    if wheel := _wheel_in(kept):
        return wheel
    say(f"fetching the wheel of SGLang {release}, without dependencies, into {kept}")
    return _fetch(release, kept)


def _fetch(release: str, kept: Path) -> Path:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{release}.") as partial:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        binary = ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input"]
        try:
            done = subprocess.run(
                [*command, partial, *binary, f"sglang=={release}"],
                capture_output=True,
                text=True,
                timeout=FETCH_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"pip did not fetch SGLang {release} in {FETCH_TIMEOUT_S:g} s") from None
        wheel = _wheel_in(Path(partial))
        if done.returncode or wheel is None:
            said = [line for line in done.stderr.strip().splitlines() if "WARNING" not in line]
            raise LabError(
                f"SGLang {release} could not be fetched: {said[-1] if said else 'pip said nothing'}"
                "; fetch its wheel elsewhere and give its path: triage doctor --sglang WHEEL"
            )
        kept.mkdir(exist_ok=True)
        return wheel.replace(kept / wheel.name)


def _wheel_in(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("sglang-*.whl"))), None) if folder.is_dir() else None
