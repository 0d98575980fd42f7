"""Install the browser that the report page is tested in, where that is ours to do.

Standard library only. On Debian as root a missing `chromium` is installed with apt; elsewhere,
and where apt fails, a sentence says what is missing and the tests then fail for it in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW = "as root on Debian: apt-get install -y chromium"


def main() -> None:
    if any(map(shutil.which, NAMES)):
        return
    if os.geteuid() != 0 or not is_debian() or shutil.which("apt-get") is None:
        say(f"no chromium here, and the tests of the report page need one; {HOW}")
        return
    say("installing chromium with apt")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"],
    ):
        if subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode != 0:
            say(f"failed: {' '.join(command)}")
            return


def is_debian(release: Path = Path("/etc/os-release")) -> bool:
    """Debian itself: Ubuntu's package of that name is a stub for a snap."""
    try:
        return "ID=debian" in release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False


def say(text: str) -> None:
    print(f"browser: {text}", flush=True)


if __name__ == "__main__":
    main()
