"""A tombstone is recovered by freeing the full slots that a running request has locked."""

from contextlib import contextmanager

import torch
from triage.lab.patching import replaced

NAME = "swa_recover_frees_locked"
REFERENCE = "https://github.com/sgl-project/sglang/pull/29352"
SUBSYSTEM = "SWA radix cache"
WHAT = (
    "SWARadixCache._insert_helper recovers a tombstoned node by freeing the node's full KV and taking the incoming one,"
    " also when the node's full KV is locked by a running request that reads it."
)
RELEASES = ("0.5.18",)
EXPECTED = {
    "sentence": "Full slots of a node that is locked by a running request were freed (use after free for that request).",
    "keywords": ["locked", "in use", "live", "running request", "freed while", "still"],
}
PAGE = 16


def edited(function, *pairs):
    """The released function with a few of its lines put back to their earlier form."""
    import __future__
    import inspect
    import textwrap

    source = textwrap.dedent(inspect.getsource(function))
    for released, earlier in pairs:
        assert source.count(released) == 1, (source.count(released), released)
        source = source.replace(released, earlier)
    scope = {}
    flags = __future__.annotations.compiler_flag
    exec(compile(source, f"<{function.__qualname__} before the fix>", "exec", flags, True), function.__globals__, scope)
    return scope[function.__name__]


@contextmanager
def plant(harmed):
    from sglang.srt.mem_cache.swa_radix_cache import SWARadixCache

    def make(original):
        earlier = edited(
            original,
            (
                "if node.full_lock_ref > 0:\n                        # Full KV is still locked",
                "if False:\n                        # Full KV is still locked",
            ),
        )

        def _insert_helper(self, *args, **more):
            locked, stack = [], [self.root_node]
            while stack:
                node = stack.pop()
                stack.extend(node.children.values())
                if node is not self.root_node and node.full_lock_ref > 0:
                    locked.append(node.value)
            out = earlier(self, *args, **more)
            if locked:
                free = self.token_to_kv_pool_allocator.full_attn_allocator.free_pages
                gone = torch.isin(torch.cat(locked) // self.page_size, free)
                if gone.any():
                    harmed(f"locked full slots {torch.cat(locked)[gone].tolist()} are on the free list")
            return out

        return _insert_helper

    with replaced(SWARadixCache, "_insert_helper", make):
        yield


def extend(allocator, tokens):
    zero, length = torch.tensor([0]), torch.tensor([tokens])
    return allocator.alloc_extend(zero, zero, length, length, torch.tensor([-1]), tokens)


def drive(lab):
    from array import array

    from sglang.srt.mem_cache.base_prefix_cache import DecLockRefParams, InsertParams, MatchPrefixParams
    from sglang.srt.mem_cache.radix_cache import RadixKey

    bench = lab.bench(cache="swa-radix", requests=0)
    allocator, tree = bench.runtime.token_to_kv_pool_allocator, bench.driver.tree_cache

    def key():
        return RadixKey(array("q", range(1000, 1000 + 4 * PAGE)), None)

    lab.event("a prompt is cached")
    tree.insert(InsertParams(key=key(), value=extend(allocator, 4 * PAGE), prev_prefix_len=0))
    lab.step()
    lab.event("a running request locks it")
    node = tree.match_prefix(MatchPrefixParams(key=key())).last_device_node
    uuid = tree.inc_lock_ref(node).swa_uuid_for_lock
    lab.step()
    lab.event("it decodes past the window: its SWA lock is released, the leaf becomes a tombstone")
    tree.dec_swa_lock_only(node, uuid)
    lab.step()
    lab.event("another request computed the same prompt and is cached")
    tree.insert(InsertParams(key=key(), value=extend(allocator, 4 * PAGE), prev_prefix_len=0))
    lab.step()
    lab.event("a third request gets pages")
    third = extend(allocator, 2 * PAGE)
    lab.step()
    lab.event("the running request ends")
    tree.dec_lock_ref(node, DecLockRefParams(swa_uuid_for_lock=uuid), skip_swa=True)
    lab.step()
    lab.event("the third request ends")
    allocator.free(third)
    lab.step()
