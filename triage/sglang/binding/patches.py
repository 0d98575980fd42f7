"""The targets that every layer calls: wrapped by us, not by SGLang's HookRegistry.

The registry's wrapper alone costs half a microsecond a call, 52 us a forward of 42
layers before a hook of ours has looked at anything. So here we own the patching, and
owe what the registry gives: every target is resolved first; all are wrapped or none;
modules that imported a function by name get the wrapper too; `restore` restores the
very objects on their owners.

Installed once SGLang has applied the registry's hooks, so another plugin's hook on the
same target is wrapped with what it wraps, even where it replaces the function. Where
somebody wrapped ours since, taking it out would undo theirs: it stays and is disarmed.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from triage.errors import InstallError

_MARK = "_sglang_triage_patch"


@dataclass(frozen=True, slots=True)
class Patch:
    """`target`, a dotted path to a plain function, is to become `make(function)`."""

    target: str
    make: Callable[[Any], Any]
    why: str


@dataclass(slots=True)
class _Place:
    """Where a function was found, and what stands there instead."""

    patch: Patch
    owner: Any
    name: str
    own: bool  # the owner's, not one that it inherits
    original: Any
    wrapper: Any
    importers: list[tuple[types.ModuleType, str]] = field(default_factory=list)


class Patches:
    """What this process has patched. Empty until `install`."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self.patches = tuple(patches)
        self._places: list[_Place] = []

    def install(self) -> None:
        """Wrap every target.

        Raises InstallError, having changed nothing, if one cannot be wrapped.
        """
        places = [self._place(patch) for patch in self.patches]
        for place in places:
            setattr(place.owner, place.name, place.wrapper)
            place.importers = _importers(place.original, place.owner)
            for module, name in place.importers:
                setattr(module, name, place.wrapper)
        self._places = places

    @staticmethod
    def _place(patch: Patch) -> _Place:
        path, _, name = patch.target.rpartition(".")
        owner = pkgutil.resolve_name(path)
        original = inspect.getattr_static(owner, name)
        if not callable(original) or isinstance(original, (classmethod, staticmethod, type)):
            raise InstallError(f"{patch.target} is a {type(original).__name__}, not a function")
        if _ours(original):
            raise InstallError(f"{patch.target} is patched by sglang-triage already")
        wrapper = patch.make(original)
        setattr(wrapper, _MARK, True)
        return _Place(patch, owner, name, name in vars(owner), original, wrapper)

    def bound(self, patch: Patch) -> bool:
        """Does a call of the target reach our wrapper?"""
        place = next((place for place in self._places if place.patch is patch), None)
        return place is not None and place.wrapper in _chain(pkgutil.resolve_name(patch.target))

    def restore(self) -> list[str]:
        """Set again what was there. Returns the targets that somebody wrapped since."""
        kept = []
        for place in reversed(self._places):
            if inspect.getattr_static(place.owner, place.name) is not place.wrapper:
                kept.append(place.patch.target)
                continue
            if place.own:
                setattr(place.owner, place.name, place.original)
            else:
                delattr(place.owner, place.name)
            for module, name in place.importers:
                if vars(module).get(name) is place.wrapper:
                    setattr(module, name, place.original)
        self._places = []
        return kept


def _ours(function: Any) -> bool:
    return any(_MARK in vars(each) for each in _chain(function) if hasattr(each, "__dict__"))


def _chain(function: Any) -> list[Any]:
    """The function and what its wrappers say they wrap, outermost first."""
    found: list[Any] = []
    while function is not None and function not in found:
        found.append(function)
        function = getattr(function, "__wrapped__", None)
    return found


def _importers(original: Any, owner: Any) -> list[tuple[types.ModuleType, str]]:
    """Modules that hold `original` under a name of their own, by `from ... import`."""
    if not isinstance(owner, types.ModuleType):
        return []
    return [
        (module, name)
        for module in list(sys.modules.values())
        if isinstance(module, types.ModuleType) and module is not owner
        for name, value in list(vars(module).items())
        if value is original
    ]
