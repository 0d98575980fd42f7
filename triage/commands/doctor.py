"""`triage doctor`: what this machine has, and which hooks bind on its SGLang."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

PACKAGES = ("sglang", "flashinfer-python", "torch", "triton", "transformers")


@click.command()
@click.option("--sglang", "release", help="Ask this release instead of the installed one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(release: str | None, as_json: bool) -> None:
    """Check this machine and its SGLang: every hook is bound for real, in this process.

    Exit code: 0 every trap binds, 1 one does not, 3 no SGLang to ask.
    """
    from triage.lab import bootstrap, versions

    if release is not None and release != bootstrap.sglang_version():
        versions.restart(release, ["doctor", *(["--json"] if as_json else [])])
    found = examine()
    click.echo(json.dumps(found, indent=2) if as_json else _text(found))
    raise SystemExit(0 if found["traps_active"] else 1)


def examine() -> dict[str, Any]:
    """Bind every family of traps to the SGLang at hand and say what happened."""
    from triage import config
    from triage.errors import InstallError
    from triage.lab import bootstrap
    from triage.lab.flashinfer_stub import StandInFlashInfer
    from triage.lab.matrix import EVERYTHING
    from triage.sglang.binding.install import install

    installed = bootstrap.prepare()
    gpu = _gpu()
    stand_in = gpu["cuda"] is None or importlib.util.find_spec("flashinfer") is None
    if stand_in:
        StandInFlashInfer(lambda call: None).install()
    logging.getLogger("triage").setLevel(logging.CRITICAL)
    environment = {
        **os.environ,
        config.DEBUG: "1",
        config.MODE: "raise",
        config.CHECKS: EVERYTHING,
        config.DIRECTORY: tempfile.gettempdir(),
        config.STRICT: "0",
        config.FIXES: "",
    }
    problem, made = "", None
    try:
        made = install(config.from_environment(environment))
    except InstallError as error:
        problem = str(error)
    if made is not None:
        from sglang.srt.plugins.hook_registry import HookRegistry

        HookRegistry.apply_hooks()
    bindings = [] if made is None else made.bindings
    return {
        "sglang": installed,
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "gpu": gpu,
        "flashinfer": "stand-in of the lab" if stand_in else "installed",
        "entry_point": _entry_point(),
        "traps_active": made is not None and made.active,
        "problem": problem,
        "hooks": [{"target": b.target, "why": b.why, "bound": b.bound} for b in bindings],
        "not_applicable": {} if made is None else made.not_covered,
        "left_out": {mode: _left_out() for mode in ("contain", "log")},
    }


def _left_out() -> list[str]:
    """What the modes that wait for nothing cannot check: it reads back from the device."""
    from triage.config import invariants_of
    from triage.lab.matrix import EVERYTHING
    from triage.sglang.binding.lifecycle import READS_DEVICE

    return sorted(invariants_of(tuple(EVERYTHING.split(","))) & READS_DEVICE)


def _gpu() -> dict[str, Any]:
    import torch

    if not torch.cuda.is_available():
        return {"cuda": None, "name": None, "trtllm_gen": False}
    major, minor = torch.cuda.get_device_capability()
    return {
        "cuda": torch.version.cuda,
        "name": f"{torch.cuda.get_device_name()} (sm_{major}{minor})",
        "trtllm_gen": (major, minor) in {(10, 0), (10, 3)},
    }


def _entry_point() -> bool:
    """Will SGLang's `load_plugins` find us?"""
    from importlib.metadata import entry_points

    return any(point.name == "sglang_triage" for point in entry_points(group="sglang.srt.plugins"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _text(found: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {text}" for name, text in found["packages"].items())
    gpu = found["gpu"]["name"] or "no GPU"
    kernels = (
        "trtllm-gen runs here" if found["gpu"]["trtllm_gen"] else "trtllm-gen needs sm_100/103"
    )
    plugin = "found by SGLang" if found["entry_point"] else "NOT found: pip install sglang-triage"
    bound = sum(hook["bound"] for hook in found["hooks"])
    lines = [
        f"SGLang {found['sglang']}; Python {found['python']}; {packages}",
        f"{gpu}: {kernels}; FlashInfer: {found['flashinfer']}",
        f"plugin entry point {plugin}",
        f"{bound} of {len(found['hooks'])} hooks bind"
        + ("" if found["traps_active"] else ": the traps are NOT active"),
    ]
    lines += [f"  problem: {found['problem']}"] if found["problem"] else []
    for hook in found["hooks"]:
        lines.append(f"  {'bound ' if hook['bound'] else 'MISSED'} {_short(hook['target'])}")
        lines.append(f"         {hook['why']}")
    for target, why in found["not_applicable"].items():
        lines.append(f"  n/a    {_short(target)}: {why}")
    for mode, names in found["left_out"].items():
        lines.append(f"  mode {mode} reads nothing back and leaves out {', '.join(names)}")
    return "\n".join(lines)


def _short(target: str) -> str:
    return ".".join(target.split(".")[-2:])
