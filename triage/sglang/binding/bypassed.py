"""Calls that go around our hooks, because the class of a server's pool has its own.

A hook stands at a class. SGLang builds other pools for other models and flags (unified, ring,
HiSparse, interleaved): a subclass that overrides a call, or a class beside ours, is never seen
there, and silence would read as sound. What is asked is which class answers a call; no call is
made and no device value is read.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Any

from triage.sglang.binding.left_out import ALLOCATOR, DRAFT, POOL, reason

_SUB_ALLOCATORS = (
    *("full_attn_allocator", "swa_attn_allocator"),
    *("logical_attn_allocator", "hisparse_attn_allocator"),
)
_ALLOCATES = ("alloc", "alloc_extend", "alloc_decode", "free")
_WRITES = "set_kv_buffer"

Hooked = frozenset[tuple[type, str]]


def hooked_methods(targets: Iterable[str]) -> Hooked:
    """(class, method) of every dotted path that names a method of a class."""
    found = set()
    for target in targets:
        owner, _, name = target.rpartition(".")
        try:
            owning = pkgutil.resolve_name(owner)
        except (ImportError, AttributeError, ValueError):
            continue
        if inspect.isclass(owning):
            found.add((owning, name))
    return frozenset(found)


def of_scheduler(scheduler: Any, hooked: Hooked) -> dict[str, str]:
    """What of the scheduler's pools and drafts is not seen: class and calls -> what, and why."""
    found = _of_draft(scheduler)
    allocator = getattr(scheduler, "token_to_kv_pool_allocator", None)
    if allocator is None:
        return found
    for owner in (allocator, *_parts(allocator)):
        calls = bypassed(type(owner), hooked, _ALLOCATES)
        if calls and any(name in _ALLOCATES for _, name in hooked):
            found[f"{type(owner).__name__}.{', '.join(calls)} (I20, I4 to I8, I17)"] = (
                "no hook stands at this class: what it hands out and takes back is not checked"
                f"{_because(ALLOCATOR, owner, calls)}"
            )
    pool = getattr(allocator, "get_kvcache", lambda: None)()
    asked = any(name == _WRITES for _, name in hooked)
    seen = pool is None or _WRITES in vars(pool)  # the object is hooked: `plain_writes.py`
    if asked and not seen and bypassed(type(pool), hooked, (_WRITES,)):
        found[f"{type(pool).__name__}.{_WRITES} (I3)"] = (
            "no hook stands at this class: the slots that a forward writes are not checked"
            f"{_because(POOL, pool, (_WRITES,))}"
        )
    return found


def _of_draft(scheduler: Any) -> dict[str, str]:
    worker = getattr(scheduler, "draft_worker", None)
    why = "" if worker is None else reason(DRAFT, *_line(worker))
    return {f"{type(worker).__name__} (draft)": why} if why else {}


def _because(kind: str, owner: Any, calls: Iterable[str]) -> str:
    """Of the class and its bases, the nearest that is known."""
    line = _line(owner)
    named = [name for each in line for name in (*(f"{each}.{call}" for call in calls), each)]
    why = reason(kind, *named)
    return f" ({why})" if why else ""


def _line(one: Any) -> list[str]:
    return [each.__name__ for each in type(one).__mro__]


def bypassed(kind: type, hooked: Hooked, names: Iterable[str]) -> tuple[str, ...]:
    """Of `names`, those that `kind` has and answers where no hook stands.

    An override that calls the method it overrides is seen there.
    """
    return tuple(name for name in names if hasattr(kind, name) and not _seen(kind, name, hooked))


def _seen(kind: type, name: str, hooked: Hooked) -> bool:
    for owner in kind.__mro__:
        if (owner, name) in hooked:
            return True
        if name in vars(owner) and not _goes_on(vars(owner)[name], name):
            return False
    return False


def _goes_on(function: Any, name: str) -> bool:
    """Does it name `super` and the method of that name?"""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and {"super", name} <= set(code.co_names)


def _parts(allocator: Any) -> Iterator[Any]:
    for name in _SUB_ALLOCATORS:
        part = getattr(allocator, name, None)
        if part is not None:
            yield part
