"""Bind a fix's hooks for a while, without SGLang's registry, which binds for good."""

from __future__ import annotations

import functools
import pkgutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from triage.sglang.binding.hooks import Hook, inside
from triage.sglang.binding.shell import Shells
from triage.sglang.fixes.fix import Fix


@contextmanager
def bound(fix: Fix) -> Iterator[Fix]:
    """Inside, every hook of `fix` stands on its target, as SGLang's registry would put it."""
    with ExitStack() as stack:
        for hook in inside(Shells().of("the fix"), fix.hooks()):
            path, _, name = hook.target.rpartition(".")
            owner = pkgutil.resolve_name(path)
            stack.enter_context(
                mock.patch.object(owner, name, _wrapped(hook, getattr(owner, name)))
            )
        yield fix


def _wrapped(hook: Hook, original: Any) -> Any:
    """A plain function, so that it binds as a method where its owner is a class."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        return hook.around(original, *args, **kwargs)

    return call
