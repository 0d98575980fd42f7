"""Another plugin's hooks at every target of ours.

    python -m tests.torture.plugins_child MODES [KIND ...]      MODES: raise,contain,log

Through SGLang's own registry, on SGLang's own classes, in the release that is first on the
path. In each cell the other plugin registers before ours, or after it; the lab then runs in a
forked process without a defect and in another with one. Prints one JSON line for each cell;
`wrong_in` says what a cell should not have.
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
from tests.torture.quick import be_quick, seen_of_a_run

MIXED = "MIXED"
"""All four kinds in one cell: the targets take them by turns."""
KINDS = ("BEFORE", "AFTER", "AROUND", "REPLACE")
CLASS = "class REPLACE"
WHENS = ("before", "after")
DEFECT = "stale-swa-state"
BACKEND = "sglang.srt.layers.attention.trtllm_mha_backend.TRTLLMHAAttnBackend"


def main(modes: list[str], kinds: list[str]) -> None:
    from triage.lab import bootstrap

    bootstrap.prepare()

    def said(**values: Any) -> None:
        print(json.dumps(values), flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        first = in_a_child(lambda: _first(directory))
        targets = first["targets"]
        be_quick(first["modules"], [*targets, BACKEND])

        def cell(kind: str, when: str, mode: str) -> dict[str, Any]:
            theirs = [BACKEND] if kind == CLASS else targets if kind else []
            found = in_a_child(lambda: _beside(kind, theirs, when, mode, directory, None))
            if when != "alone":
                spoiled = in_a_child(lambda: _beside(kind, theirs, when, mode, directory, DEFECT))
                found["spoiled"] = {**spoiled.pop("run", {}), **spoiled}
            return found

        said(cell="without us", run=in_a_child(_alone))
        alone = {kind: cell(kind, "alone", "raise").get("calls") for kind in kinds}
        for mode in modes:
            said(cell="ours alone", mode=mode, **cell("", "before", mode))
            for kind in kinds:
                for when in WHENS:
                    found = cell(kind, when, mode)
                    said(cell=f"{kind} {when} ours", mode=mode, alone=alone[kind], **found)
        for strict in ("1", "0"):
            found = in_a_child(lambda s=strict: _applied_early(s, targets, directory))
            said(cell="applied early", strict=strict, **found)


def wrong_in(
    cell: dict[str, Any], plain: dict[str, Any], ours: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What of a cell is not as it must be; empty for a good one.

    plain: the cell without us. ours: of the same mode, without the other plugin.
    """
    if "strict" in cell:
        return _wrong_early(cell, plain)
    wrong: dict[str, Any] = {}

    def same(of: str, found: Any, expected: Any) -> None:
        if found != expected:
            wrong[of] = {"found": found, "expected": expected}

    def same_run(of: str, found: dict[str, Any], expected: dict[str, Any], *keys: str) -> None:
        for key in ("outcome", "digest", "launches", *keys):
            same(f"{of}: {key}", found.get(key), expected.get(key))

    run = cell.get("run", {})
    same_run("SGLang without a defect", run, plain["run"])
    same("not covered", run.get("not_covered"), [])
    same("hooks of ours that are bound", cell.get("bound"), cell.get("wanted", "any"))
    if cell.get("bound", 0) < 30:
        wrong["too few hooks of ours"] = cell.get("bound")
    if ours is None:  # this is the cell with ours alone
        spoiled = cell.get("spoiled", {})
        if cell["mode"] != "log" and not spoiled.get("trapped"):
            wrong["the defect is not found"] = spoiled
        return wrong
    same("calls of their hooks", cell.get("calls"), cell["alone"])
    if sum(cell.get("calls", {}).values()) <= 10:
        wrong["too few calls of theirs"] = cell.get("calls")
    same("what we looked at", cell.get("counts"), ours["counts"])
    same_run("with a defect", cell.get("spoiled", {}), ours["spoiled"], "trapped", "counts")
    return wrong


def _wrong_early(cell: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """The server does not start, or it starts with everything of ours off, and that is said."""
    if cell["strict"] == "1":
        return {} if "not bound" in cell.get("ended", "") else {"not ended": cell}
    off = (cell.get("armed"), cell.get("active"), cell.get("said")) == (False, False, True)
    run = cell.get("run", {})
    same = all(run.get(key) == plain["run"][key] for key in ("outcome", "digest", "launches"))
    return {} if off and same else {"not off, or not said": cell}


def _alone() -> dict[str, Any]:
    return lab_run("raise", None, False, Path("unused"))


def _first(directory: Path) -> dict[str, Any]:
    lab_run("raise", DEFECT, True, directory)
    return seen_of_a_run()


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

    for number, target in enumerate(targets):
        path, _, name = target.rpartition(".")
        real = getattr(pkgutil.resolve_name(path), name)
        of = KINDS[number % len(KINDS)] if kind == MIXED else kind
        hook = _hook(of, target, real, calls)
        HookRegistry.register(target, hook, HookType[of.removeprefix("class ")])


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
    main(sys.argv[1].split(","), sys.argv[2:] or [*KINDS, CLASS])
