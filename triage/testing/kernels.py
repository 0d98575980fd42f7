"""Hold a kernel to our oracle, eager twin and contract from inside a test.

Runs `triage kernels validate --callable` in a process of its own: whether Triton interprets is
chosen at its first import, which in a test's process has long been made, and a kernel that
writes beside its tensors ends that process, not the tests.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def assert_kernel_matches(
    kernel: str | Callable[..., Any],
    like: str,
    *,
    names: Mapping[str, str] | None = None,
    variants: Sequence[str] = (),
    dtypes: Sequence[str] = (),
    checks: Sequence[str] = (),
    device: str = "cpu",
    timeout_s: float = 600,
) -> int:
    """Fail, with what is wrong and where, unless `kernel` is what our op `like` is.

    Args:
        kernel: "package.module:function", or a function or layer of a module that can be
            imported: not one that is made inside a test.
        like: an op of `triage kernels list`.
        names: the op's argument -> the kernel's, where they differ.
        variants, dtypes, checks: as `triage kernels validate` takes them; empty for all.
        device: "cpu" runs Triton's interpreter, "cuda" the GPU.
    Returns: how many checks passed; at least one.
    Raises:
        AssertionError: a check failed, or nothing could be run.
        ValueError: `kernel` cannot be named to another process.
    Cost: seconds to minutes; starts a process, which may use every core.
    """
    command = [sys.executable, "-m", "triage", "kernels", "validate", "--json"]
    command += ["--callable", _named(kernel), "--like", like, "--device", device]
    for option, values in (("--variant", variants), ("--dtype", dtypes), ("--check", checks)):
        command += [word for value in values for word in (option, value)]
    command += [
        word for ours, theirs in (names or {}).items() for word in ("--map", f"{ours}={theirs}")
    ]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise AssertionError(f"{_named(kernel)} could not be held to {like}: {said}") from None
    if not report["counts"]["FAIL"] and report["counts"]["PASS"]:
        return int(report["counts"]["PASS"])
    raise AssertionError(_sentence(_named(kernel), like, report))


def _named(kernel: str | Callable[..., Any]) -> str:
    if isinstance(kernel, str):
        return kernel
    module, name = getattr(kernel, "__module__", ""), getattr(kernel, "__qualname__", "")
    found = getattr(importlib.import_module(module), name, None) if module else None
    if found is not kernel:
        raise ValueError(
            f"{name or kernel!r} is not to be found as {module}:{name}, and another process has "
            "to: move it to the top of a module, or give 'package.module:function'"
        )
    return f"{module}:{name}"


def _sentence(kernel: str, like: str, report: dict[str, Any]) -> str:
    counts = ", ".join(f"{n} {outcome}" for outcome, n in report["counts"].items() if n)
    lines = [f"{kernel} is not what {like} is: {counts or 'nothing was run'}"]
    for result in report["results"]:
        if result["outcome"] == "FAIL" or not report["counts"]["PASS"]:
            lines.append(f"  {result['check']} ({result['dtype']}): {result['worst']}")
            lines.append(f"    again: {result['repro']}")
    return "\n".join(lines[:12])
