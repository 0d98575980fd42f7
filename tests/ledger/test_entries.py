"""The ledger hears every method of a released allocator that moves a page."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from triage.lab import versions
from triage.sglang.binding.names import SUB_ALLOCATORS
from triage.sglang.state_hooks import PAGES_BACK, PAGES_OUT, PAGES_RESET

LISTS = {"free_pages", "release_pages", "staged_pages"}
HEARD = {*PAGES_OUT, *PAGES_BACK, *PAGES_RESET}
REORDERS = {"__init__", "merge_and_sort_free"}
"""Construction, before anything is allocated, and what only moves pages between the lists."""


def movers(release: Path) -> dict[str, set[str]]:
    """Method -> the methods of its class that call it, for those that write a list of pages."""
    package = release / "sglang" / "srt" / "mem_cache"
    files = [package / "allocator.py", *sorted((package / "allocator").glob("*.py"))]
    found: dict[str, set[str]] = {}
    kinds = (*SUB_ALLOCATORS, "BaseTokenToKVPoolAllocator")
    for file in filter(Path.exists, files):
        for kind in ast.parse(file.read_text()).body:
            if not isinstance(kind, ast.ClassDef) or kind.name not in kinds:
                continue
            methods = [each for each in kind.body if isinstance(each, ast.FunctionDef)]
            for method in methods:
                if _writes(method):
                    callers = {m.name for m in methods if _calls(m, method.name)}
                    found.setdefault(method.name, set()).update(callers)
    return found


def _writes(method: ast.FunctionDef) -> bool:
    for node in ast.walk(method):
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AugAssign) else targets
        names = {each.attr for t in targets for each in ast.walk(t) if hasattr(each, "attr")}
        if names & LISTS:
            return True
    return False


def _calls(method: ast.FunctionDef, name: str) -> bool:
    called = (node.func for node in ast.walk(method) if isinstance(node, ast.Call))
    return any(isinstance(each, ast.Attribute) and each.attr == name for each in called)


@pytest.mark.parametrize("release", versions.available().values(), ids=versions.available())
def test_no_page_moves_unheard(release: Path):
    # GIVEN every method of the wheel's sub-allocators that writes a list of free pages
    found = movers(release)
    assert {"alloc", "free", "clear"} <= set(found) | set().union(*found.values())
    # THEN it has a hook, or is called only by those that have one
    for name, callers in found.items():
        heard = name in HEARD or (name.startswith("_") and callers and callers <= HEARD)
        assert heard or name in REORDERS, (name, callers)
