"""The locks of a tree whose nodes are out of reach: SGLang 0.5.23's compiled core (I16).

The failure is that of `tree_locks.py`. The core shows no node and no count, but two things in host
integers: the path of a node, with the tokens of each step of it, and how many tokens are locked
(`full_protected_size`). The rule: what is locked is the union of the paths that the requests'
receipts name. Fewer tokens locked: a lock was given back twice, and its node may be evicted under
its request. More: one was never given back.

Not covered: how many requests lock a node (a lock too few shows with the last holder), and the SWA
side, whose boundaries are inside the core.

Source: `UnifiedTreeCoreInterface.collect_path_info`, `full_protected_size`; no lock of a node that
has no device value counts there.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

NOT_COVERED = (
    "tree locks of a compiled core (I16)",
    "how many requests lock a node, and the SWA side of locks, lie inside the core: the tokens "
    "that are locked on the full side are compared with those that requests hold",
)


def core_is_compiled() -> bool:
    """Does this release bring the compiled core, which it then takes by itself?"""
    try:
        return find_spec("sglang.srt.mem_cache.rust_tree_core") is not None
    except ImportError:
        return False


class LockedTokens(NamedTuple):
    """locked: tokens that the tree says are locked. held: those on the paths of the holders.

    complete: were all of these requests' locks to be read? outside: whose node is gone.
    """

    locked: int
    held: int
    complete: bool
    outside: list[Any]


def locked_tokens(cache: Any, requests: list[Any]) -> LockedTokens | None:
    """Of `cache` and the requests that may hold its nodes; None where its core shows no paths.

    Host integers only: the core is asked once for each request. Legal under a capture.
    """
    core = getattr(cache, "tree_core", None)
    paths, size = (
        getattr(core, name, None) for name in ("collect_path_info", "full_protected_size")
    )
    if paths is None or size is None:
        return None
    nodes: dict[Any, int] = {}
    complete, outside = True, []
    for request in requests:
        lock = getattr(request, "lock", None)
        if lock is None:
            complete &= hasattr(request, "lock")
            continue
        if any(kind.name == "FULL" for kind in lock.receipt.skipped_lock_components):
            continue
        try:
            (path,) = paths([lock.node])
        except KeyError:
            outside.append(request)
            continue
        nodes |= {node.node_id: int(node.full_value_len or 0) for node in path}
    return LockedTokens(int(size()), sum(nodes.values()), complete and not outside, outside)
