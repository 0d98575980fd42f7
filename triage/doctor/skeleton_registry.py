"""SGLang's `HookRegistry` for a release that is only read: the one thing that has to work there.

Ours stands in, doing what SGLang's does for an AROUND hook, if the release has a registry of the
shape that we use; whether it has is read from its source.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from triage.errors import UnsupportedSGLang

REGISTRY = "sglang.srt.plugins.hook_registry"


def stand_in() -> None:
    """Put one that works where the release has its own, if that is of the shape we use."""
    try:
        module = importlib.import_module(REGISTRY)
    except ModuleNotFoundError as error:
        raise UnsupportedSGLang(
            f"it has no {REGISTRY}: plugins are there from SGLang 0.5.12 on"
        ) from error
    theirs = getattr(module, "HookRegistry", None)
    lacking = [name for name in ("register", "apply_hooks") if not hasattr(theirs, name)]
    kinds = getattr(module, "HookType", None)
    lacking += [] if hasattr(kinds, "AROUND") else ["HookType.AROUND"]
    if lacking:
        raise UnsupportedSGLang(f"its {REGISTRY} has no {', '.join(lacking)}")
    hooks: dict[str, list[Callable[..., Any]]] = defaultdict(list)

    class HookType(Enum):
        AROUND = "around"

    class HookRegistry:
        """As SGLang's does it: a hook that cannot be applied is passed over."""

        @classmethod
        def register(cls, target: str, hook: Callable[..., Any], hook_type: HookType) -> None:
            hooks[target].append(hook)

        @classmethod
        def apply_hooks(cls) -> None:
            for target, around in hooks.items():
                path, _, name = target.rpartition(".")
                try:
                    _apply(path, name, around)
                except (ImportError, AttributeError, TypeError):
                    continue

    module.HookRegistry = HookRegistry  # type: ignore[attr-defined]
    module.HookType = HookType  # type: ignore[attr-defined]


def _apply(path: str, name: str, hooks: Sequence[Callable[..., Any]]) -> None:
    owner = pkgutil.resolve_name(path)
    raw = vars(owner).get(name) if isinstance(owner, type) else None
    kind = type(raw) if isinstance(raw, (classmethod, staticmethod)) else None
    wrapped = raw.__func__ if kind is not None else getattr(owner, name)  # type: ignore[union-attr]
    if not callable(wrapped) or isinstance(wrapped, type):
        raise TypeError(f"{path}.{name} is no function")
    for hook in hooks:
        wrapped = _around(wrapped, hook)
    setattr(owner, name, wrapped if kind is None else kind(wrapped))


def _around(original: Callable[..., Any], hook: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return hook(original, *args, **kwargs)

    return wrapper
