"""Replace one function of SGLang for a while, below the hooks that stand on it.

SGLang's hook registry wraps a function once and for all. A defect belongs
under that wrapper: the trap must see what SGLang would have done, not what a
patch did to the trap's own view.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CellType
from typing import Any

Make = Callable[[Any], Any]
"""Takes the original function, returns its replacement."""


@contextmanager
def replaced(owner: Any, name: str, make: Make) -> Iterator[None]:
    """Inside, `owner.name` does what `make(original)` does; hooks on it stay where they are."""
    held = inspect.getattr_static(owner, name)
    function = held.__func__ if isinstance(held, (staticmethod, classmethod)) else held
    cell = _innermost(function)
    if cell is not None:
        original = cell.cell_contents
        cell.cell_contents = make(original)
        try:
            yield
        finally:
            cell.cell_contents = original
        return
    own = name in vars(owner)
    replacement = make(function)
    setattr(owner, name, staticmethod(replacement) if _is_static(held) else replacement)
    try:
        yield
    finally:
        bound = _innermost(inspect.getattr_static(owner, name))
        if bound is not None and bound.cell_contents is replacement:
            bound.cell_contents = function  # hooks were bound meanwhile, and stay
        elif own:
            setattr(owner, name, held)
        else:
            delattr(owner, name)


def _is_static(held: Any) -> bool:
    return isinstance(held, staticmethod)


def _innermost(function: Any) -> CellType | None:
    """The closure cell in which the innermost hook wrapper keeps the original function."""
    found = None
    while (wrapped := getattr(function, "__wrapped__", None)) is not None:
        for cell in getattr(function, "__closure__", None) or ():
            if cell.cell_contents is wrapped:
                found = cell
        function = wrapped
    return found
