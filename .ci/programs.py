"""Install the programs that tests drive, where that is ours to do: a browser, a Prometheus.

Standard library only. On Debian as root what is missing is installed with apt; elsewhere, and
where apt fails, a sentence says what is missing, and in CI the tests that need it then fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "prometheus": ("prometheus",),
}
"""Debian's package -> the names of the program, any of which will do."""


def main() -> None:
    missing = [name for name, known in PROGRAMS.items() if not any(map(shutil.which, known))]
    if not missing:
        return
    if os.geteuid() != 0 or not is_debian() or shutil.which("apt-get") is None:
        how = f"as root on Debian: apt-get install -y {' '.join(missing)}"
        say(f"not here, and tests need it: {', '.join(missing)}; {how}")
        return
    say(f"installing {', '.join(missing)} with apt")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing],
    ):
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            say(f"failed: {' '.join(command)}")
            return


def is_debian(release: Path = Path("/etc/os-release")) -> bool:
    """Debian itself: Ubuntu's package of chromium is a stub for a snap."""
    try:
        return "ID=debian" in release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False


def say(text: str) -> None:
    print(f"programs: {text}", flush=True)


if __name__ == "__main__":
    main()
