"""The process that may die: imports what a server would, binds every hook, tells each stage.

`python -m triage.doctor.child [--release R | --source PATH] [--skip STAGE,...] [--flags JSON]`.
A JSON line when a stage begins and one when it ends go to the standard output this process was
given; whatever the packages print goes to the standard error. Imports nothing before the stage
about it.

    packages     what is installed, by name; nothing is imported
    gpu          asked of the CUDA driver itself, so a broken torch does not hide it
    torch, torchvision, flashinfer, sglang    imported, each for its own answer
    bind         every hook of every family, bound to the SGLang that was imported
    unhooked     what of its pools, allocators, stores and drafts no hook stands at, by its source
    requested    the fixes and fused ops the environment names, resolved as the plugin does

Long because the stages stand in the order in which each may end the process.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triage.doctor.quick_imports import CompilerBeside, ask_once, in_one_chunk
from triage.errors import TriageError, UnsupportedSGLang

PACKAGES = {
    "sglang": "sglang",
    "torch": "torch",
    "torchvision": "torchvision",
    "triton": "triton",
    "flashinfer": "flashinfer-python",
    "transformers": "transformers",
}
"""Import name -> distribution."""

FOUND, ABSENT, BROKEN, STOOD_IN, SKIPPED = "found", "absent", "broken", "stood in", "skipped"
READ = "read"
"""Of a release that is not installed: its source was read, nothing of it was imported."""

LATE = "not waited for"
"""What had not ended when the answer was due (`in_time.py`)."""

Facts = dict[str, Any]
Known = Mapping[str, Facts]


def main(
    skip: frozenset[str],
    tell: Callable[[Facts], None],
    source: str = "",
    flags: Sequence[str] = (),
) -> None:
    """Run every stage but those in `skip`; what one finds is known to the next.

    source: a wheel or folder of the SGLang that is asked about, "" for the importable one.
    flags: of `sglang.launch_server`, to be shown to SGLang's own parser.
    """
    known: dict[str, Facts] = {"asked": {"source": source, "flags": list(flags)}}
    for name, stage in STAGES.items():
        tell({"stage": name, "began": True})
        began = time.perf_counter()
        if name in skip:
            known[name] = {"state": SKIPPED}
        else:
            try:
                known[name] = stage(known)
            except Exception as error:  # what is broken here is the answer
                known[name] = {"state": BROKEN, "reason": _reason(error)}
        tell({"stage": name, **known[name], "seconds": round(time.perf_counter() - began, 2)})


def _packages(known: Known) -> Facts:
    installed = {}
    for name, distribution in PACKAGES.items():
        present = _present(name)
        installed[name] = {"present": present, "version": _version(distribution)}
    plugins = importlib.metadata.entry_points(group="sglang.srt.plugins")
    return {
        "state": FOUND,
        "python": platform.python_version(),
        "installed": installed,
        "entry_point": any(point.name == "sglang_triage" for point in plugins),
    }


def _gpu(known: Known) -> Facts:
    """The first visible GPU, by the driver's own calls (cuInit and what needs no context)."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"state": ABSENT}
    if code := driver.cuInit(0):
        return {"state": ABSENT, "reason": f"cuInit answers {code}"}
    number, device = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    if driver.cuDeviceGet(ctypes.byref(device), 0):
        return {"state": ABSENT, "reason": "a driver, but no visible device"}
    name = ctypes.create_string_buffer(100)
    driver.cuDeviceGetName(name, len(name), device)
    capability = []
    for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    major, minor = divmod(number.value, 1000)
    return {
        "state": FOUND,
        "name": name.value.decode(errors="replace"),
        "arch": f"sm_{capability[0]}{capability[1]}",
        "cuda_driver": f"{major}.{minor // 10}",
    }


def _torch(known: Known) -> Facts:
    """Not imported where there is no SGLang: seconds, and nobody to ask afterwards."""
    if not _is_present(known, "torch"):
        return {"state": ABSENT}
    if not _source(known) and not _is_present(known, "sglang"):
        return {"state": SKIPPED}
    if not _has_gpu(known):
        os.environ["TRITON_INTERPRET"] = "1"  # before the first import: there is no driver
    import torch

    facts: Facts = {"state": FOUND, "version": torch.__version__, "cuda": torch.version.cuda}
    if _has_gpu(known) and not torch.cuda.is_available():
        facts |= {"state": BROKEN, "reason": "there is a GPU and torch.cuda.is_available() is no"}
    return facts


def _torchvision(known: Known) -> Facts:
    if _sglang_out_of_reach(known):
        return {"state": SKIPPED}
    if not _is_present(known, "torchvision"):
        return {"state": ABSENT}
    if _has_gpu(known):
        importlib.import_module("torchvision")
        return {"state": FOUND}
    from triage.lab.bootstrap import stand_in_for_torchvision

    defined = stand_in_for_torchvision()
    if not defined:
        return {"state": FOUND}
    what = f"the schemas of {len(defined)} operators; its compiled library does not load"
    return {"state": STOOD_IN, "what": what, "operators": defined}


def _flashinfer(known: Known) -> Facts:
    if _sglang_out_of_reach(known):
        return {"state": SKIPPED}
    if _is_present(known, "flashinfer"):
        for module in ("flashinfer.decode", "flashinfer.prefill"):
            importlib.import_module(module)
        return {"state": FOUND}
    if _has_gpu(known):
        return {"state": ABSENT}
    return {"state": STOOD_IN, "what": "its two attention calls; it is not installed"}


def _without_torch(who: str, torch: dict[str, Any]) -> str:
    install = ": pip install torch" if torch["state"] == ABSENT else ""
    return f"torch, which {who}, is {torch['state']}{install}"


def _sglang(known: Known) -> Facts:
    if _source(known):
        return _read(known)
    if not _is_present(known, "sglang"):
        return {"state": ABSENT}
    if (torch := known["torch"])["state"] in (ABSENT, BROKEN) and "version" not in torch:
        return {"state": BROKEN, "reason": _without_torch("it needs", torch)}
    compiler = CompilerBeside()
    compiler.start()
    try:
        import sglang
        import sglang.srt.layers.attention.trtllm_mha_backend
        import sglang.srt.managers.schedule_batch

        facts: Facts = {"state": FOUND, "version": sglang.__version__, "path": sglang.__file__}
        try:
            importlib.import_module("sglang.srt.managers.scheduler")
        except ImportError as error:
            facts["no_scheduler"] = _reason(error)
    finally:
        compiler.finish()
    return facts | _flags(known)


def _flags(known: Known) -> Facts:
    """The sentence with which SGLang's parser refuses the flags; nothing where it accepts them."""
    flags = known.get("asked", {}).get("flags", [])
    if not flags:
        return {}
    from triage.lab.server_flags import FlagsRefused, check_server

    try:
        check_server(["--model-path", "MODEL", *flags])
    except FlagsRefused as error:
        return {"refused_flags": str(error).rpartition("error: ")[2]}
    except Exception:  # a parser that cannot be built here: a server's own start will tell
        return {}
    return {}


def _read(known: Known) -> Facts:
    """The release at `source` as modules that its text describes; see `skeleton.py`."""
    if (torch := known["torch"])["state"] in (ABSENT, BROKEN) and "version" not in torch:
        return {"state": BROKEN, "reason": _without_torch("our hooks need", torch)}
    from triage.doctor.skeleton import Skeletons
    from triage.doctor.source_tree import SourceTree

    tree = SourceTree(Path(_source(known)))
    facts = {"version": tree.version, "path": str(tree.path)}
    try:
        Skeletons(tree).install()
    except UnsupportedSGLang as error:
        return {**facts, "state": BROKEN, "reason": str(error)}
    return {**facts, "state": READ}


def _bind(known: Known) -> Facts:
    """Every family in mode `raise`, which binds the most; nothing is launched or written."""
    if known["sglang"]["state"] not in (FOUND, READ):
        return {"state": SKIPPED}
    if known["flashinfer"]["state"] == STOOD_IN or known["sglang"]["state"] == READ:
        from triage.lab.flashinfer_stub import StandInFlashInfer

        StandInFlashInfer(lambda call: None).install()
    from sglang.srt.plugins.hook_registry import HookRegistry

    from triage import config
    from triage.errors import InstallError
    from triage.invariants.catalogue import FAMILIES, READS_DEVICE
    from triage.sglang.binding.one_search import one_search_for_all
    from triage.sglang.install import install

    everything = {
        config.DEBUG: "1",
        config.CHECKS: ",".join(FAMILIES),
        config.DIRECTORY: tempfile.gettempdir(),
        config.STRICT: "0",
    }
    facts: Facts = {"state": FOUND, "hooks": [], "not_applicable": {}, "active": False}
    facts["reads_device"] = sorted(READS_DEVICE)
    try:
        made = install(config.from_environment(everything))
    except InstallError as error:
        return {**facts, "state": BROKEN, "reason": str(error)}
    with one_search_for_all():
        HookRegistry.apply_hooks()
    facts["hooks"] = [
        {"target": each.target, "why": each.why, "bound": each.bound} for each in made.bindings
    ]
    return {**facts, "not_applicable": made.not_covered, "active": made.active}


def _unhooked(known: Known) -> Facts:
    """`left_out`: what is not covered of this release, and why; by its source alone."""
    if known["bind"]["state"] != FOUND:
        return {"state": SKIPPED}
    from triage.doctor.source_classes import SourceClasses
    from triage.doctor.source_tree import SourceTree
    from triage.sglang.binding import left_out

    sglang = known["sglang"]
    place = Path(sglang["path"]) if sglang["state"] == READ else Path(sglang["path"]).parents[1]
    targets = [each["target"] for each in known["bind"]["hooks"] if each["bound"]]
    found = [
        {"kind": each.kind, "what": each.name, "file": each.file, "why": why}
        for each in SourceClasses(SourceTree(place)).unhooked(targets)
        if (why := left_out.of(each))
    ]
    return {"state": FOUND, "left_out": found}


def _requested(known: Known) -> Facts:
    """A name that the plugin would refuse is `refused`: the sentence it would end with."""
    from triage import config
    from triage.errors import ConfigError, InstallError

    if known["bind"]["state"] != FOUND or _source(known):
        return {"state": SKIPPED}  # a fix is probed by running what it corrects
    try:
        asked = config.from_environment()
    except ConfigError:
        return {"state": SKIPPED}  # the asking process says so, from its own reading
    wanted = (*asked.fixes, *(("mm-piecewise-graphs",) if asked.mm_graphs else ()))
    facts: Facts = {"state": FOUND, "fixes": {}, "fused": []}
    try:
        if wanted:
            from triage.sglang.fixes import plan

            planned = plan(wanted)
            facts["fixes"] = {name: "needed, bound" for name in planned.fixes} | {
                name: str(probe) for name, probe in planned.skipped.items()
            }
        if asked.fused:
            from triage.sglang.fixes.fused import FusedLayers

            facts["fused"] = sorted(FusedLayers(asked.fused).ops)
    except InstallError as error:
        facts["refused"] = str(error)
    return facts


STAGES: Mapping[str, Callable[[Known], Facts]] = {
    "packages": _packages,
    "gpu": _gpu,
    "torch": _torch,
    "torchvision": _torchvision,
    "flashinfer": _flashinfer,
    "sglang": _sglang,
    "bind": _bind,
    "unhooked": _unhooked,
    "requested": _requested,
}


def _present(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_present(known: Known, name: str) -> bool:
    return bool(known["packages"]["installed"][name]["present"])


def _has_gpu(known: Known) -> bool:
    return known["gpu"]["state"] == FOUND


def _source(known: Known) -> str:
    return str(known.get("asked", {}).get("source", ""))


def _sglang_out_of_reach(known: Known) -> bool:
    if _source(known):
        return True
    return not _is_present(known, "sglang") or known["torch"]["state"] == ABSENT


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _reason(error: BaseException) -> str:
    """`RuntimeError: what it said (file.py:12)`, the place being where it was raised."""
    places = traceback.extract_tb(error.__traceback__)
    real = [place for place in places if not place.filename.startswith("<frozen")]
    where = ""
    if real:
        file = "/".join(real[-1].filename.split("/")[-2:])
        where = f" ({file}:{real[-1].lineno})"
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}{where}"


def _become(release: str, arguments: list[str]) -> None:
    """Start over with another release first on the path. Raises LabError if it is not there."""
    from triage.lab import versions

    found = versions.environment(release)
    environment = {**os.environ, "PYTHONPATH": found["PYTHONPATH"]}
    os.execve(sys.executable, [sys.executable, "-m", __spec__.name, *arguments], environment)


def _run() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", default="")
    parser.add_argument("--source", default="")
    parser.add_argument("--skip", default="")
    parser.add_argument("--flags", default="[]")
    given = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)

    def tell(facts: Facts) -> None:
        print(json.dumps(facts), file=answers)

    if given.release:
        try:
            _become(given.release, ["--skip", given.skip, "--flags", given.flags])
        except TriageError as error:
            tell({"stage": "packages", "state": BROKEN, "no_release": str(error)})
            return
    ask_once()
    gc.disable()  # a fifth of the time of these imports goes into it, and nothing is freed
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.dup2(2, 1)  # libraries print, from C too
    skip = frozenset(filter(None, given.skip.split(",")))
    in_one_chunk(main)(skip, tell, given.source, json.loads(given.flags))
    answers.flush()
    os._exit(0)  # no teardown of what was imported: it can abort, and has nothing to say


if __name__ == "__main__":
    _run()
