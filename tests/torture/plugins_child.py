"""Another plugin's hooks at every target of ours.

    python -m tests.torture.plugins_child MODE [KIND ...]

Through SGLang's own registry, on SGLang's own classes, in the release that is first on the
path. In each cell the other plugin registers before ours, or after it; the lab then runs in a
forked process without a defect and in another with one. Prints one JSON line for each cell.
"""

from __future__ import annotations

import json
import logging
import os
import pkgutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.torture.inject_child import in_a_child, lab_run

KINDS = ("BEFORE", "AFTER", "AROUND", "REPLACE")
CLASS = "class REPLACE"
WHENS = ("before", "after")
DEFECT = "stale-swa-state"
BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"


def main(mode: str, kinds: list[str]) -> None:
    from triage.lab import bootstrap

    bootstrap.prepare()

    def said(**values: Any) -> None:
        print(json.dumps(values), flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        said(cell="without us", run=in_a_child(_alone))
        targets = in_a_child(lambda: _targets(directory))["targets"]

        def cell(kind: str, when: str) -> dict[str, Any]:
            theirs = [BACKEND] if kind == CLASS else targets if kind else []
            found = in_a_child(lambda: _beside(kind, theirs, when, mode, directory, None))
            if when != "alone":
                spoiled = in_a_child(lambda: _beside(kind, theirs, when, mode, directory, DEFECT))
                found["spoiled"] = spoiled.get("run", spoiled)
            return found

        said(cell="ours alone", **cell("", "before"))
        for kind in kinds:
            alone = cell(kind, "alone").get("calls")
            for when in WHENS:
                said(cell=f"{kind} {when} ours", theirs_alone=alone, **cell(kind, when))
        for strict in ("1", "0"):
            found = in_a_child(lambda s=strict: _applied_early(s, targets, directory))
            said(cell="applied early", strict=strict, **found)


def _alone() -> dict[str, Any]:
    return lab_run("raise", None, False, Path("unused"))


def _targets(directory: Path) -> dict[str, Any]:
    """Every function of SGLang's and FlashInfer's that we stand at, in this release."""
    from triage.lab import process

    lab_run("raise", None, True, directory)
    return {"targets": [each.target for each in process._process.installed.bindings]}


def _beside(
    kind: str, targets: list[str], when: str, mode: str, directory: Path, defect: str | None
) -> dict[str, Any]:
    """A run of the lab, and how often each of the other plugin's hooks was called.

    when: "alone" is without us.
    """
    from triage import plugin
    from triage.lab import process

    calls: Counter[str] = Counter()
    made = _with_the_stand_in(defect)
    if when == "after":
        ours = plugin.register

        def both() -> None:
            ours()
            _register(kind, targets, calls)

        plugin.register = both
    else:
        _register(kind, targets, calls)
    run = lab_run(mode, defect, when != "alone", directory)
    found: dict[str, Any] = {"run": run, "calls": dict(calls), "hooks": len(targets)}
    if made.installed is not None:
        bindings = process._process.installed.bindings
        found |= {
            "wanted": len(bindings),
            "bound": sum(each.bound for each in bindings),
            "counts": dict(made.traps.counts),
        }
    return found


def _with_the_stand_in(defect: str | None = None) -> Any:
    """FlashInfer's calls are targets too: its stand-in is there before anybody hooks them."""
    from triage.lab import bootstrap, process

    process._process = made = process.LabProcess(bootstrap.sglang_version())
    if defect is not None:
        made.reinject(defect)
    bind = made.bind

    def start(**wanted: Any) -> Any:
        if made.installed is None and wanted["traps"]:
            bind(True, (), wanted["directory"], wanted["checks"], wanted["mode"])
        elif made.installed is None:
            from sglang.srt.plugins import load_plugins

            load_plugins()
        if made.installed is not None:
            made.arm(traps=wanted["traps"], fixes=(), directory=wanted["directory"])
        return made

    from triage.lab import run

    run.start = start
    return made


def _register(kind: str, targets: list[str], calls: Counter[str]) -> None:
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    for target in targets:
        path, _, name = target.rpartition(".")
        real = getattr(pkgutil.resolve_name(path), name)
        hook = _hook(kind, target, real, calls)
        HookRegistry.register(target, hook, HookType[kind.removeprefix("class ")])


def _hook(kind: str, target: str, real: Any, calls: Counter[str]) -> Any:
    """What a plugin writes that looks on and changes nothing."""
    if kind == CLASS:

        class Theirs(real):  # type: ignore[misc]
            def init_forward_metadata(self, *args: Any, **kwargs: Any) -> Any:
                calls[target] += 1
                return super().init_forward_metadata(*args, **kwargs)

        return Theirs

    def before(*args: Any, **kwargs: Any) -> Any:
        calls[target] += 1
        return args, kwargs

    def after(result: Any, *args: Any, **kwargs: Any) -> Any:
        calls[target] += 1
        return result

    def around(original: Any, *args: Any, **kwargs: Any) -> Any:
        calls[target] += 1
        return original(*args, **kwargs)

    def replace(*args: Any, **kwargs: Any) -> Any:
        calls[target] += 1
        return real(*args, **kwargs)

    return {"BEFORE": before, "AFTER": after, "AROUND": around, "REPLACE": replace}[kind]


def _applied_early(strict: str, targets: list[str], directory: Path) -> dict[str, Any]:
    """A plugin that applies the hooks by itself: SGLang passes over ours on the same targets."""
    import io

    from sglang.srt.plugins.hook_registry import HookRegistry

    from triage import config
    from triage.lab import process
    from triage.sglang.install import state

    calls: Counter[str] = Counter()
    told = io.StringIO()
    logging.getLogger("triage").addHandler(logging.StreamHandler(told))
    os.environ[config.STRICT] = strict
    _with_the_stand_in()
    _register("AROUND", targets, calls)
    HookRegistry.apply_hooks()
    try:
        process._load_plugins(True, (), directory, "", "raise")
    except SystemExit as end:
        return {"ended": str(end)}
    except Exception:  # the lab's, that it cannot use what is not active
        pass
    installed = state()
    assert installed is not None
    process._process.installed = None
    found = {"armed": installed.traps.armed, "active": installed.active}
    return {**found, "said": "NOT active" in told.getvalue(), "run": _alone()}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or [*KINDS, CLASS])
