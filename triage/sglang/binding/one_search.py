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

    def of(self, original: object) -> list[tuple[types.ModuleType, str]]:
        """Those that held `original` when all were searched: anew after an import."""
        if len(sys.modules) != self._seen:
            self._search()
        return self._found.get(id(original), [])

    def put(self, wrapped: object, held: list[tuple[types.ModuleType, str]]) -> None:
        """`wrapped` stands under these names now, for the hook that comes around it next."""
        self._found[id(wrapped)] = held

    def _search(self) -> None:
        self._found = {}
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
        bound, held = 0, []
        for module, name in holders.of(original):
            if module is not source and vars(module).get(name) is original:
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(module, name, wrapped)
                    bound += 1
            if vars(module).get(name) is wrapped:
                held.append((module, name))
        holders.put(wrapped, held)
        return bound

    if not hasattr(hook_registry, "_propagate_patch"):
        yield
        return
    with mock.patch.object(hook_registry, "_propagate_patch", propagate):
        yield
