"""One search through all modules for all hooks, where SGLang's registry makes one for each.

`HookRegistry.apply_hooks` puts a wrapper wherever its function was imported by name, and looks
through every attribute of every module at every target to find those: 90 searches of some 20 ms
in a process of the lab. With an index the same names are bound to the same wrappers. For the
lab and `triage doctor`, which bind in many short processes; a server's registry is left as it is.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from unittest import mock


class Holders:
    """Which module holds an object under which name, by the object's id."""

    def __init__(self) -> None:
        self._found: dict[int, list[tuple[types.ModuleType, str]]] = {}
        self._seen = 0
        self._wrappers: set[int] = set()

    def of(self, original: object) -> list[tuple[types.ModuleType, str]]:
        """Those that hold `original` now. Searches anew after an import, and for a wrapper that
        was put somewhere since the last search."""
        if len(sys.modules) != self._seen or id(original) in self._wrappers:
            self._search()
        held = self._found.get(id(original), [])
        return [(module, name) for module, name in held if vars(module).get(name) is original]

    def put(self, wrapped: object) -> None:
        """A function was replaced by `wrapped`, under names that the index does not have."""
        self._wrappers.add(id(wrapped))

    def _search(self) -> None:
        self._found, self._wrappers = {}, set()
        self._seen = len(sys.modules)
        for module in list(sys.modules.values()):
            if isinstance(module, types.ModuleType):
                for name, value in list(vars(module).items()):
                    if callable(value):  # as whatever a hook replaces is
                        self._found.setdefault(id(value), []).append((module, name))


@contextlib.contextmanager
def one_search_for_all() -> Iterator[None]:
    """SGLang's `_propagate_patch` with an index; left alone in a release that has none."""
    from sglang.srt.plugins import hook_registry

    holders = Holders()

    def propagate(original: object, wrapped: object, source: object) -> int:
        bound = 0
        for module, name in holders.of(original):
            if module is not source:
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(module, name, wrapped)
                    bound += 1
        holders.put(wrapped)
        return bound

    if not hasattr(hook_registry, "_propagate_patch"):
        yield
        return
    with mock.patch.object(hook_registry, "_propagate_patch", propagate):
        yield
