"""Fix `keep-locked-prefix`: an insert that revives a prefix leaves its pages to whoever reads them.

The failure (up to 0.5.14, sgl-project/sglang#29352): the SWA side of a cached prefix is evicted,
its full side stays since a running request reads it. Another request computes the same prefix
anew and is inserted. The tree takes its slots for the node, so that the window can be matched
again, and frees the node's own full slots, without asking whether the node is locked. The running
request's row still names them: they are lent again, cached, freed, while it reads them.

The rule, as upstream's correction has it: a locked node keeps its full slots, the mapping points
them at the fresh SWA slots, and the slots that came with the insert go back without an SWA side.
Done before SGLang's own insert, which then finds a node that it need not revive. No host read;
three indexing kernels for each node that is revived while it is locked.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor

from triage.sglang.binding.hooks import Hook
from triage.sglang.fixes.fix import SHAPE_ERRORS, Fix, Probe, already_fixed, needed, not_applicable
from triage.sglang.fixes.revived_prefix import SWA_TREE, TREES, RevivedPrefix

COMPONENT = "sglang.srt.mem_cache.unified_cache_components.swa_component.SWAComponent"
"""What decides it for UnifiedRadixCache, up to 0.5.18."""


class KeepLockedPrefix(Fix):
    name = "keep-locked-prefix"
    what = "a prefix whose SWA side is revived keeps the full pages that a running request reads"

    @staticmethod
    def probe() -> Probe:
        """Revive a locked prefix in each of SGLang's trees, on the CPU, and look for its pages."""
        broken, sound = _asked()
        if broken:
            pages = RevivedPrefix.PAGES
            return needed(
                f"{' and '.join(broken)} frees {pages} pages that a running request reads"
            )
        if not sound:
            return not_applicable("this SGLang has no radix tree over two pools")
        return already_fixed(f"{' and '.join(sound)} keeps the pages of a locked prefix")

    def __init__(self) -> None:
        super().__init__()
        self.broken, _ = _asked()  # asked before anything of ours stands there

    def hooks(self) -> list[Hook]:
        why = f"fix {self.name}"
        insert = f"{TREES[SWA_TREE]}.{SWA_TREE}._insert_helper"
        overlap = f"{COMPONENT}.update_component_on_insert_overlap"
        places = {
            SWA_TREE: Hook(insert, self.before_insert, why),
            "UnifiedRadixCache": Hook(overlap, self.before_overlap, why),
        }
        return [places[tree] for tree in self.broken]

    def before_insert(
        self,
        original: Any,
        cache: Any,
        node: Any,
        key: Any,
        value: Tensor,
        update_kv_after_len: int,
        swa_evicted_seqlen: int = 0,
    ) -> Any:
        """`SWARadixCache._insert_helper`: revive what is locked on the way, then SGLang's own."""
        if self.armed:
            self._walk(cache, node, key, value, update_kv_after_len, swa_evicted_seqlen)
        return original(cache, node, key, value, update_kv_after_len, swa_evicted_seqlen)

    def _walk(
        self, cache: Any, node: Any, key: Any, value: Tensor, after: int, evicted: int
    ) -> None:
        page, done = cache.page_size, 0
        while len(key) and (name := key.child_key(page)) in node.children:
            node = node.children[name]
            shared = node.key.match(key, page_size=page)
            locked = node.swa_tombstone and node.full_lock_ref > 0 and node.swa_lock_ref == 0
            if locked and max(after, evicted) < done + shared:
                if shared < len(node.key):
                    node = cache._split_node(node.key, node, shared)
                start = max(0, evicted - done)
                if start:  # the parent it is split from stays without an SWA side
                    cache._split_node(node.key, node, start)
                _move_swa(cache.token_to_kv_pool_allocator, value[start:shared], node.value)
                node.swa_tombstone = False
                cache.swa_lru_list.insert_mru(node)
                cache.swa_evictable_size_ += len(node.value)
                self.uses += 1
            elif shared < len(node.key):
                return
            done, key, value = done + shared, key[shared:], value[shared:]

    def before_overlap(
        self,
        original: Any,
        component: Any,
        node: Any,
        prefix_len: int,
        total_prefix_len: int,
        value_slice: Tensor,
        params: Any,
    ) -> Any:
        """`SWAComponent.update_component_on_insert_overlap` of the unified tree: the same."""
        full, swa = self._full(node), node.component_data[component.component_type]
        first = max(params.prev_prefix_len, params.swa_evicted_seqlen)
        locked = swa.value is None and full.lock_ref > 0 and swa.lock_ref == 0
        if self.armed and locked and first < total_prefix_len + prefix_len:
            start = max(0, params.swa_evicted_seqlen - total_prefix_len)
            if start:
                component.cache._split_node(node.key, node, start)
            allocator = component.cache.token_to_kv_pool_allocator
            kept = self._full(node).value
            _move_swa(allocator, value_slice[start:], kept)
            component._restore_device_value(node, component._translate_full_to_swa(kept))
            self.uses += 1
        return original(component, node, prefix_len, total_prefix_len, value_slice, params)

    @staticmethod
    def _full(node: Any) -> Any:
        module = importlib.import_module(COMPONENT.rpartition(".")[0])
        return node.component_data[module.BASE_COMPONENT_TYPE]


def _move_swa(allocator: Any, source: Tensor, target: Tensor) -> None:
    """Full slots `target` get the SWA slots of the full slots `source`, which are left without."""
    mapping = allocator.full_to_swa_index_mapping
    mapping[target.long()] = mapping[source.long()]
    mapping[source.long()] = 0


def _asked() -> tuple[list[str], list[str]]:
    """Names of this SGLang's trees: those that free what is locked, and those that keep it."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for tree in TREES:
        try:
            made = RevivedPrefix(tree)
        except (ModuleNotFoundError, *SHAPE_ERRORS):
            continue
        made.insert_again()
        found[bool(made.freed_while_read())].append(tree)
    return found[True], found[False]
