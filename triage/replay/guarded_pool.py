"""K and V caches that end exactly where unmapped memory begins.

PyTorch's allocator puts other tensors behind a cache, so an id past the last
page often reads a neighbour and nobody notices. Here each cache lies in a
virtual-memory reservation of its own::

    | guard, unmapped | slack |  K: N pages, mapped  | guard, unmapped: N pages and more |

The cache ends at the end of its mapping, and the guard behind it is as large
as the cache, so every id in N .. 2N-1 faults. `joined` places K and V next to
each other, as SGLang 0.5.23 does: K's ids in that band then read V.
"""

from __future__ import annotations

import importlib
from types import ModuleType, TracebackType
from typing import Any, Literal

import torch
from torch import Tensor

from triage.errors import ReplayError

Layout = Literal["separate", "joined"]


def driver_module() -> ModuleType | None:
    """cuda-python's driver API under its new or its old name; None if it is not installed."""
    for name in ("cuda.bindings.driver", "cuda.cuda"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def guards_available() -> bool:
    return torch.cuda.is_available() and driver_module() is not None


class GuardedPool:
    """Two caches of `shape` `(pages, Hkv, page_size, D)`; plain tensors without cuda-python.

    Use as a context manager: the tensors die with it. After an illegal access
    the context is lost, and so is what was mapped; nothing is unmapped then.
    """

    k_cache: Tensor
    v_cache: Tensor

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype,
        *,
        layout: Layout = "separate",
        fill: float = 0.0,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.layout = layout
        self.fill = fill
        self._ranges: list[GuardedRange] = []

    def __enter__(self) -> GuardedPool:
        driver = driver_module()
        if driver is None or not torch.cuda.is_available():
            self.k_cache = torch.full(self.shape, self.fill, dtype=self.dtype, device=_device())
            self.v_cache = torch.full(self.shape, self.fill, dtype=self.dtype, device=_device())
            return self
        count = _elements(self.shape)
        size = count * self.dtype.itemsize
        torch.cuda.current_stream().synchronize()  # makes the primary context current
        if self.layout == "joined":
            both = self._reserve(driver, 2 * size)
            self.k_cache, self.v_cache = both[:count], both[count:]
        else:
            self.k_cache, self.v_cache = self._reserve(driver, size), self._reserve(driver, size)
        self.k_cache = self.k_cache.view(self.shape).fill_(self.fill)
        self.v_cache = self.v_cache.view(self.shape).fill_(self.fill)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self.k_cache, self.v_cache
        if kind is None:
            torch.cuda.synchronize() if self._ranges else None
            for each in reversed(self._ranges):
                each.release()
        self._ranges.clear()

    def _reserve(self, driver: Any, size: int) -> Tensor:
        self._ranges.append(GuardedRange(driver, size, torch.cuda.current_device()))
        return self._ranges[-1].tensor(self.dtype)


class GuardedRange:
    """`size` bytes of device memory that end at an unmapped address and begin after one."""

    def __init__(self, driver: Any, size: int, device: int) -> None:
        self.driver = driver
        self.size = size
        location = driver.CUmemAllocationProp()
        location.type = driver.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        location.location.type = driver.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        location.location.id = device
        minimum = driver.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_MINIMUM
        granule = self._call("cuMemGetAllocationGranularity", location, minimum)
        self.mapped = -(-size // granule) * granule
        # The guard behind covers ids up to 2N - 1, the one before small negative offsets.
        self.reserved = self.mapped * 2 + 2 * granule
        self.base = int(self._call("cuMemAddressReserve", self.reserved, granule, 0, 0))
        self.start = self.base + granule
        self.handle: Any = None
        try:
            self.handle = self._call("cuMemCreate", self.mapped, location, 0)
            self._call("cuMemMap", self.start, self.mapped, 0, self.handle, 0)
            access = driver.CUmemAccessDesc()
            access.location = location.location
            access.flags = driver.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
            self._call("cuMemSetAccess", self.start, self.mapped, [access], 1)
        except ReplayError:
            self._call("cuMemAddressFree", self.base, self.reserved)
            raise

    @property
    def address(self) -> int:
        """Of the first usable byte; the last one is the last that is mapped."""
        return self.start + self.mapped - self.size

    def tensor(self, dtype: torch.dtype) -> Tensor:
        interface = {
            "shape": (self.size,),
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
            "strides": None,
        }
        holder = type("DeviceMemory", (), {"__cuda_array_interface__": interface})()
        return torch.as_tensor(holder, device="cuda").view(dtype)

    def release(self) -> None:
        self._call("cuMemUnmap", self.start, self.mapped)
        self._call("cuMemRelease", self.handle)
        self._call("cuMemAddressFree", self.base, self.reserved)

    def _call(self, name: str, *arguments: Any) -> Any:
        result = getattr(self.driver, name)(*arguments)
        status, values = result[0], result[1:]
        if int(status) != 0:
            raise ReplayError(f"the CUDA driver refused {name}: {status}")
        return values[0] if values else None


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
