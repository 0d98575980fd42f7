"""SGLang releases beside the installed one: each in a directory of its own, first on the path.

`make` unpacks them without dependencies into `<environment>/sglang/<version>`;
one environment has the dependencies of all. A release is chosen by starting a
new process, because SGLang cannot be imported twice.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from triage.errors import LabError

ROOT = Path(sys.prefix) / "sglang"


def available() -> dict[str, Path]:
    """Version -> directory, of the releases unpacked beside the installed one."""
    if not ROOT.is_dir():
        return {}
    return {path.name: path for path in sorted(ROOT.iterdir()) if (path / "sglang").is_dir()}


def environment(version: str) -> dict[str, str]:
    """The environment in which `import sglang` finds `version`; LabError lists the known ones."""
    found = available()
    if version not in found:
        known = ", ".join(found) or "none"
        raise LabError(
            f"SGLang {version} is not unpacked in {ROOT} (there: {known}); "
            f"pip install --no-deps --target {ROOT / version} sglang=={version}"
        )
    path = os.pathsep.join(filter(None, [str(found[version]), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "TRITON_INTERPRET": "1"}


def restart(version: str, arguments: list[str]) -> None:
    """Replace this process by the same command under another release. Does not return."""
    command = [sys.executable, "-m", "triage", *arguments]
    sys.stdout.flush()
    os.execve(sys.executable, command, environment(version))
