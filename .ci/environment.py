"""Make `.venv` from pyproject.toml, or do nothing if it is whole already.

Standard library only: it runs before anything is installed. That Python is new enough the
Makefile has asked: an older one cannot read this file. What a whole
environment is stands in `.venv/.complete`, written last: a digest of
pyproject.toml, this file and the Python version, and the distributions with
their versions. An environment without that file was interrupted and is made
anew; one whose digest is old or that lost a distribution is brought up to date.

PyPI's torch brings 4 GB of CUDA that nothing uses where there is no NVIDIA GPU, so there
the CPU build of PyTorch's own index is taken, if that index can be reached.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
COMPLETE = VENV / ".complete"
EXTRAS = "lab,report,fleet,test"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
REACH_S = 5.0
"""How long the index may take to answer; pip itself would try for minutes."""
TOLD_EVERY_S = {True: 1.0, False: 30.0}
"""How often a step tells that it goes on, on a terminal or in a log."""

LIST_DISTRIBUTIONS = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)
PROVE_IMPORTS = "import msgpack, numpy, pytest, torch, triton, triage, triage_kernels"


def main() -> None:
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_whole():
            return
        if VENV.exists() and not (COMPLETE.exists() and runs()):
            say("an interrupted environment was found; making it anew")
            shutil.rmtree(VENV)
        install()


def is_whole() -> bool:
    """Is every distribution of the last complete installation still there, and nothing changed?"""
    if not COMPLETE.exists() or not runs():
        return False
    try:
        known = json.loads(COMPLETE.read_text())
    except ValueError:
        return False
    present = distributions()
    return (
        known.get("digest") == digest()
        and all(present.get(name) == version for name, version in known["packages"].items())
        and all((VENV / "sglang" / v / "sglang").is_dir() for v in lab()["sglang_versions"])
    )


class Torch(NamedTuple):
    """Which build is installed. cpu: from PyTorch's CPU index; why: in the words of a user."""

    cpu: bool
    why: str
    size: str


def torch_build() -> Torch:
    """The CPU build where there is no NVIDIA GPU; else, or if it cannot be had, pip's choice."""
    if os.environ.get("PIP_EXTRA_INDEX_URL"):
        return Torch(False, "pip's choice, as PIP_EXTRA_INDEX_URL is set", "3.5 to 6.5 GB")
    if nvidia_gpu():
        return Torch(False, "CUDA's, as there is an NVIDIA GPU", "6.5 GB")
    if not reachable(f"{CPU_INDEX}/torch/"):
        why = f"pip's choice, as {CPU_INDEX} cannot be reached"
        return Torch(False, why, "3.5 GB, or 6.5 GB if that is CUDA's")
    return Torch(True, "the CPU build, as there is no NVIDIA GPU", "3.5 GB")


def nvidia_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists()


def reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=REACH_S):
            return True
    except (OSError, ValueError):  # refused, no such host, too slow, an error's status
        return False


def install() -> None:
    COMPLETE.unlink(missing_ok=True)
    if not PYTHON.exists():
        torch = torch_build()
        say(f"torch is {torch.why}")
        say(f".venv will hold about {torch.size}")
        say("this takes 5 to 15 minutes, once")
        say("creating .venv")
        run(sys.executable, "-m", "venv", str(VENV))
        if torch.cpu:
            say("installing torch for the CPU")
            pip("install", "--extra-index-url", CPU_INDEX, pinned("torch"), may_fail=True)
    say("installing the project, the lab and the test tools")
    pip("install", "-e", f"{ROOT}[{EXTRAS}]")
    say("installing SGLang without its CUDA-only dependencies")
    pip("install", "--no-deps", *lab()["no_deps"])
    for version in lab()["sglang_versions"]:
        unpack_release(version)
    say("importing what was installed, which compiles it")
    run(str(PYTHON), "-c", PROVE_IMPORTS)
    whole = {"digest": digest(), "packages": distributions()}
    partial = COMPLETE.with_suffix(".partial")
    partial.write_text(json.dumps(whole, indent=1))
    partial.replace(COMPLETE)
    say("ready")


def unpack_release(version: str) -> None:
    """Put one further SGLang release into a directory of its own, whole or not at all."""
    target = VENV / "sglang" / version
    if (target / "sglang").is_dir():
        return
    say(f"unpacking SGLang {version}")
    partial = target.with_name(f"{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    pip("install", "--no-deps", "--target", str(partial), f"sglang=={version}")
    partial.rename(target)


def lab() -> dict[str, list[str]]:
    return pyproject()["tool"]["triage"]["lab"]


def pinned(name: str) -> str:
    """The requirement of the lab's extra for `name`, as "torch==2.13.0"."""
    extra = pyproject()["project"]["optional-dependencies"]["lab"]
    return next(each for each in extra if each.startswith(f"{name}=="))


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def digest() -> str:
    parts = [(ROOT / "pyproject.toml").read_bytes(), Path(__file__).read_bytes()]
    return hashlib.sha256(b"\0".join([*parts, sys.version.encode()])).hexdigest()


def runs() -> bool:
    command = [str(PYTHON), "-c", "pass"]
    return PYTHON.exists() and subprocess.run(command, capture_output=True).returncode == 0


def distributions() -> dict[str, str]:
    output = subprocess.run(
        [str(PYTHON), "-c", LIST_DISTRIBUTIONS], capture_output=True, text=True, check=True
    )
    return json.loads(output.stdout)


def pip(command: str, *arguments: str, may_fail: bool = False) -> None:
    options = ("--disable-pip-version-check", "--no-input")
    quiet = ("--progress-bar", "off")
    run(str(PYTHON), "-m", "pip", *options, command, *quiet, *arguments, may_fail=may_fail)


def run(*command: str, may_fail: bool = False) -> None:
    """Run it, telling on one line what it does and for how long; what it said only if it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    said: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        reader = threading.Thread(target=said.extend, args=(process.stdout or (),), daemon=True)
        reader.start()
        began, terminal = time.monotonic(), sys.stdout.isatty()
        while not ended(process, TOLD_EVERY_S[terminal]):
            now = said[-1].strip() if said else ""
            line = f"environment:   {time.monotonic() - began:.0f} s  {now}"
            tell(line, terminal)
        reader.join()
    if terminal:
        print("\r\033[K", end="", flush=True)
    if process.returncode != 0:
        print("".join(said[-20:]), flush=True)
        if not may_fail:
            raise SystemExit(f"environment: failed: {' '.join(command)}")
        say("that failed; going on with what pip finds without it")


def ended(process: subprocess.Popen[str], within_s: float) -> bool:
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def tell(line: str, terminal: bool) -> None:
    """In the same line of a terminal, or as a line of a log."""
    if terminal:
        columns = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{line[:columns]}", end="", flush=True)
    else:
        print(line[:200], flush=True)


def say(text: str) -> None:
    print(f"environment: {text}", flush=True)


if __name__ == "__main__":
    main()
