"""What a release has of pools, allocators, stores and drafts: hooked, or left out with a reason."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.doctor.releases import wheel
from triage.doctor.ask import ask
from triage.doctor.source_classes import SourceClasses
from triage.doctor.source_tree import SourceTree
from triage.lab import versions
from triage.sglang.binding.left_out import (
    ALLOCATOR,
    DRAFT,
    LEFT_OUT,
    NEW,
    POOL,
    READS,
    SEEN_OTHERWISE,
    STORE,
    Unhooked,
    markdown_table,
    of,
)

RELEASES = ("0.5.12.post1", "0.5.13.post1", "0.5.14", "0.5.15.post1", "0.5.18", "0.5.23")

POOLS = """
import torch
class KVCache(abc.ABC):
    def set_kv_buffer(self, layer, loc, cache_k, cache_v):
        raise NotImplementedError()
class Known(KVCache):
    def set_kv_buffer(self, layer, loc, cache_k, cache_v):
        self.k_buffer[loc] = cache_k
class GoesOnPool(Known):
    def set_kv_buffer(self, layer, loc, cache_k, cache_v):
        super().set_kv_buffer(layer, loc + 1, cache_k, cache_v)
class OverridesPool(Known):
    def set_kv_buffer(self, layer, loc, cache_k, cache_v):
        self.other[loc] = cache_k
class StatePool:
    def clear(self): ...
if torch.version.hip:
    class HiddenAllocator:
        def alloc(self, need): return 1
def store_rows(rows, k_cache: torch.Tensor = f(1), *, slot_mapping): ...
def gather(rows, loc): ...
"""
SPECULATIVE = "class StrangeWorkerV3(EAGLEWorkerV2):\n    pass\n"


def test_what_no_hook_stands_at_is_found_by_the_source_alone(tmp_path):
    # GIVEN a release with classes that nobody has written down, and a hook at one of them
    path = wheel(
        tmp_path,
        sglang__srt__mem_cache__strange=POOLS,
        sglang__srt__speculative__strange=SPECULATIVE,
    )
    found = SourceClasses(SourceTree(path)).unhooked(["sglang.srt.mem_cache.x.Known.set_kv_buffer"])
    names = {(each.kind, each.name) for each in found if "strange" in each.file}
    # THEN an override, a pool without any call we know, a class of a branch, a store and a
    # worker are named; what is hooked, or goes on to what is, is not
    assert names == {
        (POOL, "OverridesPool.set_kv_buffer"),
        (POOL, "StatePool"),
        (ALLOCATOR, "HiddenAllocator.alloc"),
        (STORE, "store_rows"),
        (DRAFT, "StrangeWorkerV3"),
    }


@pytest.mark.parametrize(
    ("unhooked", "why"),
    [
        (Unhooked(POOL, "MLATokenToKVPool", "set_kv_buffer", "m.py"), "MLA"),
        (Unhooked(ALLOCATOR, "MLATokenToKVPool", "set_kv_buffer", "m.py"), NEW),
        (Unhooked(STORE, "", "store_cache", "m.py"), ""),
        (Unhooked(STORE, "", "flash_mla_with_kvcache", "m.py"), ""),
        (Unhooked(POOL, "Any", "set_kv_buffer", "sglang/srt/hardware_backend/npu/m.py"), "Ascend"),
        (Unhooked(POOL, "StrangePool", "set_kv_buffer", "m.py"), NEW),
    ],
)
def test_each_is_seen_otherwise_left_out_for_a_reason_or_new(unhooked, why):
    assert of(unhooked) == why or (why and of(unhooked).startswith(why))


@cache
def _targets() -> tuple[str, ...]:
    """Where hooks bind in the oldest and the newest release: between them every name we know."""
    here = versions.available()
    found: set[str] = set()
    for path in (here[min(here)], here[max(here)]):
        stages = ask({}, source=path)
        found |= {each["target"] for each in stages["bind"]["hooks"] if each["bound"]}
    return tuple(sorted(found))


@cache
def _unhooked(path: Path) -> tuple[Unhooked, ...]:
    return tuple(SourceClasses(SourceTree(path)).unhooked(_targets()))


@pytest.mark.parametrize("version", RELEASES)
def test_a_release_has_nothing_that_is_neither_hooked_nor_left_out_for_a_reason(version):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    found = _unhooked(versions.available()[version])
    assert len(found) > 50
    assert [each for each in found if of(each) == NEW] == []


def test_nothing_is_left_out_that_no_release_has():
    here = versions.available()
    if not set(RELEASES) <= set(here):
        pytest.skip("not all six releases are unpacked here")
    found = {each for version in RELEASES for each in _unhooked(here[version])}
    names = {each.name for each in found} | {each.owner for each in found}
    written_down = {name for each in LEFT_OUT for name in each.names}
    assert (written_down | SEEN_OTHERWISE.keys() | READS) - names == set()


def test_the_documentation_has_the_table():
    page = Path(__file__).parents[2] / "docs/traps.md"
    assert markdown_table() in page.read_text(encoding="utf-8"), (
        "docs/traps.md: put in what `python -m triage.sglang.binding.left_out` prints"
    )
