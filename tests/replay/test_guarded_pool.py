"""The guard ranges, on a driver that only keeps books: what is mapped, what is given back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from triage.errors import ReplayError
from triage.replay.guarded_pool import GuardedPool, GuardedRange

GRANULE = 1 << 21


class Ledger:
    """A CUDA driver of the virtual-memory calls; `fail` names a call that it refuses."""

    CUmemAllocationType = SimpleNamespace(CU_MEM_ALLOCATION_TYPE_PINNED=1)
    CUmemLocationType = SimpleNamespace(CU_MEM_LOCATION_TYPE_DEVICE=1)
    CUmemAllocationGranularity_flags = SimpleNamespace(CU_MEM_ALLOC_GRANULARITY_MINIMUM=0)
    CUmemAccess_flags = SimpleNamespace(CU_MEM_ACCESS_FLAGS_PROT_READWRITE=3)

    def __init__(self, fail: str = "") -> None:
        self.fail = fail
        self.reserved: dict[int, int] = {}
        self.mapped: dict[int, int] = {}
        self.handles = 0

    def CUmemAllocationProp(self):
        return SimpleNamespace(type=0, location=SimpleNamespace(type=0, id=0))

    def CUmemAccessDesc(self):
        return SimpleNamespace(location=None, flags=0)

    def _status(self, name):
        return 1 if name == self.fail else 0

    def cuMemGetAllocationGranularity(self, prop, flags):
        return 0, GRANULE

    def cuMemAddressReserve(self, size, alignment, address, flags):
        base = 1 << 40
        self.reserved[base] = size
        return 0, base

    def cuMemCreate(self, size, prop, flags):
        self.handles += not self._status("cuMemCreate")
        return self._status("cuMemCreate"), 7

    def cuMemMap(self, address, size, offset, handle, flags):
        self.mapped[address] = size
        return (0,)

    def cuMemSetAccess(self, address, size, access, count):
        assert (address, size) in self.mapped.items() and len(access) == count
        return (0,)

    def cuMemUnmap(self, address, size):
        assert self.mapped.pop(address) == size
        return (0,)

    def cuMemRelease(self, handle):
        self.handles -= 1
        return (0,)

    def cuMemAddressFree(self, base, size):
        assert self.reserved.pop(base) == size
        return (0,)


@pytest.mark.parametrize("size", [1, GRANULE - 16, GRANULE, 3 * GRANULE + 4096])
def test_the_cache_ends_where_unmapped_memory_begins(size):
    ledger = Ledger()

    cache = GuardedRange(ledger, size, device=0)

    (start, mapped), (base, reserved) = *ledger.mapped.items(), *ledger.reserved.items()
    assert cache.address + size == start + mapped
    assert start - base >= GRANULE
    assert base + reserved - (start + mapped) >= size, "an id of 2N-1 must land in the guard"
    cache.release()
    assert not ledger.mapped and not ledger.reserved and not ledger.handles


def test_memory_that_cannot_be_had_leaves_nothing_reserved():
    ledger = Ledger(fail="cuMemCreate")

    with pytest.raises(ReplayError, match="refused cuMemCreate"):
        GuardedRange(ledger, GRANULE, device=0)
    assert not ledger.reserved


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU gets guarded memory")
@pytest.mark.parametrize("layout", ["separate", "joined"])
def test_without_a_gpu_the_caches_are_plain_tensors(layout):
    with GuardedPool((3, 1, 4, 8), torch.bfloat16, layout=layout) as pool:
        assert pool.k_cache.shape == pool.v_cache.shape == (3, 1, 4, 8)
