"""Runs of the lab that are forked from one process: what each would do again is done once there.

A run in a process where nothing is bound yet takes 3.3 s of CPU, of which most is the import of
what a run imports and SGLang's registry, which walks through every module at every hook. Here the
modules are imported before the fork, and the registry sees those alone that could hold a
target under a name of their own; 0.9 s are left.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import pkgutil
import sys
import types
from typing import Any


def seen_of_a_run() -> dict[str, list[str]]:
    """In a process that made a run: the targets of its hooks, and the modules it has imported."""
    from triage.lab import process

    return {
        "targets": [each.target for each in process._process.installed.bindings],
        "modules": [name for name, each in sys.modules.items() if _is_file(each)],
    }


def _is_file(module: Any) -> bool:
    """Is it imported from a file, and no stand-in?"""
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.has_location and spec.name == module.__name__


def be_quick(modules: list[str], targets: list[str]) -> None:
    """For the process that forks, where nothing is bound: what `seen_of_a_run` said elsewhere."""
    for name in modules:
        with contextlib.suppress(ImportError):  # of what needs a stand-in that a run makes
            importlib.import_module(name)
    from sglang.srt.plugins import hook_registry

    hook_registry.sys = _Walked(targets)
    gc.collect()
    gc.freeze()


class _Walked(types.ModuleType):
    """What SGLang's registry sees of `sys`: the modules that hold a target under a name of
    their own, and all that are imported after it was made."""

    def __init__(self, targets: list[str]) -> None:
        super().__init__("sys")
        found = []
        for each in targets:
            with contextlib.suppress(ImportError, AttributeError):  # of a stand-in's, made later
                found.append(id(pkgutil.resolve_name(each)))
        wanted, known = frozenset(found), list(sys.modules.values())
        self._hold = [
            each
            for each in known
            if any(id(value) in wanted for value in list(vars(each).values()))
        ]
        self._known = len(known)

    @property
    def modules(self) -> dict[int, Any]:
        later = itertools.islice(sys.modules.values(), self._known, None)
        return dict(enumerate([*self._hold, *later]))
