"""Bind functions to SGLang through its own HookRegistry, and know whether they are bound.

SGLang's registry logs and skips a hook that fails, and applies all hooks only
after every plugin has run; calling it early would make it drop later plugins'
hooks on the same targets. So: resolve every target first, register all or none,
and look at the result once SGLang has applied them.

Hooks stay bound for the life of the process; disarmed, each costs one attribute test.
The targets that every layer calls are not wrapped here but in `patches.py`.
"""

from __future__ import annotations

import functools
import logging
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from triage.errors import InstallError
from triage.sglang.binding.patches import Patch, Patches
from triage.sglang.binding.shell import Shell

logger = logging.getLogger("triage")

Around = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Hook:
    """One AROUND hook: `around(original, *args, **kwargs)` on the dotted path `target`.

    context: the target returns a context manager; `around` is what `Shell.around_context` takes.
    group: the hooks that share state with this one, as `Shells` names them.
    shelled: it has its shell, as what `Shell.beside` makes.
    """

    target: str
    around: Around
    why: str
    context: bool = False
    group: str = ""
    shelled: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """Whether a hook was found on its target after SGLang applied its hooks."""

    target: str
    why: str
    bound: bool


def inside(shell: Shell, hooks: Sequence[Hook]) -> list[Hook]:
    """The hooks, each inside `shell`, but for those that have theirs: see there."""
    return [
        hook
        if hook.shelled
        else replace(
            hook,
            around=(shell.around_context if hook.context else shell.around)(hook.around),
            context=False,
        )
        for hook in hooks
    ]


def resolve(hooks: Sequence[Hook | Patch]) -> None:
    """Raise InstallError naming every target that this SGLang does not have."""
    missing = []
    for hook in hooks:
        try:
            pkgutil.resolve_name(hook.target)
        except (ImportError, AttributeError) as error:
            missing.append(f"{hook.target} ({hook.why}): {error}")
    if missing:
        raise InstallError("not found in this SGLang: " + "; ".join(missing))


def register(
    hooks: Sequence[Hook],
    patches: Patches,
    verified: Callable[[list[Binding]], None],
    failed: Callable[[Exception], None],
    unlinked: Shell,
) -> None:
    """Hand the hooks to SGLang; `verified` gets the bindings once SGLang has applied them.

    The patches are installed then, if all hooks are bound. `failed` gets an error of ours on
    the way. Both may raise SystemExit, the one thing that leaves `load_plugins`: nothing is
    served before that returns. `unlinked` is told where several hooks on one target cannot be
    linked while SGLang serves.
    """
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    resolve([*hooks, *patches.patches])
    hooks = _merged(hooks, unlinked)
    for hook in hooks:
        HookRegistry.register(hook.target, hook.around, HookType.AROUND)
    original = HookRegistry.__dict__["apply_hooks"]

    def apply_hooks(cls: type) -> None:
        setattr(HookRegistry, "apply_hooks", original)  # noqa: B010, mypy rejects the assignment
        cls.apply_hooks()  # type: ignore[attr-defined]
        try:
            found = bindings(hooks)
            verified([*found, *_patched(patches, all(binding.bound for binding in found))])
        except Exception as error:  # a mistake of ours must not end SGLang's loader
            failed(error)

    setattr(HookRegistry, "apply_hooks", classmethod(apply_hooks))  # noqa: B010


def _patched(patches: Patches, wanted: bool) -> list[Binding]:
    """Install the patches if they are wanted; none of them is bound otherwise."""
    problem = "" if wanted else "left out, since not every hook was bound"
    if wanted:
        try:
            patches.install()
        except Exception as error:  # whatever another plugin left there
            problem = str(error)
            logger.error("sglang-triage: nothing was patched: %s", error)
    return [
        Binding(patch.target, f"{patch.why}: {problem}" if problem else patch.why, bound)
        for patch in patches.patches
        for bound in (not problem and patches.bound(patch),)
    ]


def _merged(hooks: Sequence[Hook], unlinked: Shell) -> list[Hook]:
    """One hook per target, the first outermost: SGLang warns about two AROUND hooks on one."""
    by_target: dict[str, list[Hook]] = {}
    for hook in hooks:
        by_target.setdefault(hook.target, []).append(hook)
    return [
        Hook(target, _chain([h.around for h in group], unlinked), ", ".join(h.why for h in group))
        for target, group in by_target.items()
    ]


def _chain(arounds: list[Around], unlinked: Shell) -> Around:
    """One hook that is `arounds`, the first outermost. Each of them has its shell inside."""
    if len(arounds) == 1:
        return arounds[0]

    linked: tuple[Any, Any] = None, None  # an original, and the chain around it

    def around(original: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal linked
        if linked[0] is not original:
            linked = original, unlinked.part(lambda: _link(arounds, original), original)
        return linked[1](*args, **kwargs)

    return around


def _link(arounds: Sequence[Around], original: Any) -> Any:
    """`arounds` around `original`; each sees the name and signature of SGLang's own."""
    call = original
    for inner in reversed(arounds):
        call = functools.update_wrapper(functools.partial(inner, call), original)
    return call


def bindings(hooks: Sequence[Hook]) -> list[Binding]:
    return [Binding(hook.target, hook.why, _is_bound(hook)) for hook in hooks]


def _is_bound(hook: Hook) -> bool:
    """Follow `__wrapped__` from what the target resolves to now, looking for our function."""
    function = pkgutil.resolve_name(hook.target)
    while function is not None:
        for cell in getattr(function, "__closure__", None) or ():
            if cell.cell_contents is hook.around:
                return True
        function = getattr(function, "__wrapped__", None)
    return False
