"""Make `.venv` from pyproject.toml, or do nothing if it is whole already.

Standard library only: it runs before anything is installed. What a whole
environment is stands in `.venv/.complete`, written last: a digest of
pyproject.toml, this file and the Python version, and the distributions with
their versions. An environment without that file was interrupted and is made
anew; one whose digest is old or that lost a distribution is brought up to date.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
COMPLETE = VENV / ".complete"
EXTRAS = "lab,report,test"

LIST_DISTRIBUTIONS = (
    "import importlib.metadata as m, json;"
    "print(json.dumps({d.metadata['Name']: d.version for d in m.distributions()}))"
)
PROVE_IMPORTS = "import msgpack, numpy, pytest, torch, triton, triage, triage_kernels"


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036, pip has not checked it yet
        raise SystemExit(f"Python 3.11 is needed to set up, this is {sys.version.split()[0]}")
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


def install() -> None:
    COMPLETE.unlink(missing_ok=True)
    if not PYTHON.exists():
        say("creating .venv")
        run(sys.executable, "-m", "venv", str(VENV))
    say("installing the project, the lab and the test tools (a few minutes the first time)")
    pip("install", "-e", f"{ROOT}[{EXTRAS}]")
    say("installing SGLang without its CUDA-only dependencies")
    pip("install", "--no-deps", *lab()["no_deps"])
    for version in lab()["sglang_versions"]:
        unpack_release(version)
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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["tool"]["triage"]["lab"]


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


def pip(*arguments: str) -> None:
    run(str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-q", *arguments)


def run(*command: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if subprocess.run(command, env=environment).returncode != 0:
        raise SystemExit(f"environment: failed: {' '.join(command)}")


def say(text: str) -> None:
    print(f"environment: {text}", flush=True)


if __name__ == "__main__":
    main()
