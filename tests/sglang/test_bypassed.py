"""What a server's pools are of another class than those we stand at: said, never silent."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tests import prepared
from triage.lab import versions
from triage.sglang.binding.bypassed import bypassed, hooked_methods, of_scheduler


class Known:
    def alloc(self) -> int:
        return 1

    def free(self) -> None: ...


class Override(Known):
    def alloc(self) -> int:
        return 2


class GoesOn(Known):
    def alloc(self) -> int:
        return super().alloc() + 1


class Apart:
    def alloc(self) -> int:
        return 3


HOOKED = frozenset({(Known, "alloc"), (Known, "free")})


@pytest.mark.parametrize(
    ("kind", "unseen"),
    [(Known, ()), (Override, ("alloc",)), (GoesOn, ()), (Apart, ("alloc",)), (object, ())],
)
def test_a_call_is_seen_where_the_class_that_answers_it_has_the_hook(kind, unseen):
    assert bypassed(kind, HOOKED, ("alloc", "free")) == unseen


def test_only_paths_of_methods_are_hooked_methods():
    targets = ("collections.OrderedDict.pop", "json.dumps", "no.such.Thing.alloc")
    found = hooked_methods(targets)
    assert {(kind.__name__, name) for kind, name in found} == {("OrderedDict", "pop")}


def test_a_draft_that_is_not_looked_at_is_told_with_the_reason_and_others_are_not():
    # GIVEN workers by SGLang's names, one of them a subclass of a plugin's
    class EAGLEWorkerV2: ...

    class DFlashWorkerV2: ...

    class OwnWorker(DFlashWorkerV2): ...

    def told(worker: Any) -> dict[str, str]:
        return of_scheduler(SimpleNamespace(draft_worker=worker), frozenset())

    assert told(None) == told(EAGLEWorkerV2()) == {}
    ((what, why),) = told(OwnWorker()).items()
    assert what == "OwnWorker (draft)" and "set_kv_buffer_prefix_valid" in why


def test_the_reason_of_a_pool_is_that_of_its_nearest_class_that_is_known():
    class MLATokenToKVPool:
        def set_kv_buffer(self) -> None: ...

    class OwnPool(MLATokenToKVPool): ...

    allocator = SimpleNamespace(get_kvcache=OwnPool)
    hooked = frozenset({(Known, "set_kv_buffer")})
    found = of_scheduler(SimpleNamespace(token_to_kv_pool_allocator=allocator), hooked)
    assert "MLA: keys and values" in found["OwnPool.set_kv_buffer (I3)"]


@pytest.mark.parametrize("version", ("0.5.18", "0.5.23"))
def test_pools_of_other_classes_are_told_in_the_log_the_dump_and_what_is_not_covered(
    version, tmp_path
):
    if version not in versions.available():
        pytest.skip(f"SGLang {version} is not unpacked beside the installed one")
    # GIVEN the traps as they are by default
    done = prepared.python("-m", "tests.sglang.bypassed_child", tmp_path, version=version)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    # WHEN the server has SGLang's hybrid pools THEN there is nothing to say
    assert found.pop("hybrid") == {}
    # AND of a pool of one kind its writes are told, in what is not covered and in a dump
    writes = "MHATokenToKVPool.set_kv_buffer (I3)"
    assert list(found.pop("mha")) == [writes]
    assert found.pop("installed") == found.pop("dump") == [writes]
    # AND of a class that allocates by itself what it hands out
    for name, told in found.items():
        calls = "set_kv_buffer (I3)" if name.endswith("Pool") else "alloc, alloc_extend"
        assert any(f"{name}.{calls}" in each for each in told), (name, told)
    assert {"HiSparseTokenToKVPoolAllocator", "UnifiedSWAKVPool"} <= found.keys()
