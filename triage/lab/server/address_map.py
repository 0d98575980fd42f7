"""Where a server's KV buffers lie, and which page ids of the full pool leave all mapped memory.

The attention kernel computes `base + id * page_bytes`. A wrong id faults only where no
memory is mapped: SGLang allocates SWA K, SWA V, then the full pool's buffers, so the ids just
past the SWA pool's end read a neighbour and nobody notices. This map says before a run
which ids must fault:

    mapped    what PyTorch's allocator holds (`torch.cuda.memory_snapshot`), and every readable
              mapping of the process: a GPU with heterogeneous memory management reads those too
    beyond    ids of the full pool whose page lies wholly outside of all of it, from the
              base of every SWA buffer
    asked     for a sample of those, the driver itself is asked whether it knows the address

Not seen: memory of the driver's own (contexts, modules), but for the sample that it is asked.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triage.lab.server import plugin_folder
from triage.lab.server.late import Observer, Step, complain, moments, observe

Span = tuple[int, int]
"""Half-open: addresses, or page ids."""

ASKED = 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """One KV buffer of one layer. `pages` counts the dummy page."""

    name: str  # "swa K 0": pool, K or V, index within the pool
    base: int
    page_bytes: int
    pages: int

    @property
    def end(self) -> int:
        return self.base + self.pages * self.page_bytes


def merged(spans: Iterable[Span]) -> list[Span]:
    """`spans` in order, those that touch or overlap as one; empty ones left out."""
    found: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def ids_outside(buffer: Buffer, ids: int, mapped: Sequence[Span]) -> list[Span]:
    """Page ids in [0, `ids`) whose page, from `buffer`'s base, touches no byte of `mapped`.

    mapped: as `merged` returns it. Returns half-open ranges of ids in ascending order.
    """
    base, size = buffer.base, buffer.page_bytes
    touched = merged(
        (max(0, (start - base) // size), min(ids, -((base - end) // size)))
        for start, end in mapped
        if end > base
    )
    edges = [0, *(edge for span in touched for edge in span), ids]
    return [(low, high) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high]


def common(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """What lies in both; each given in ascending order without overlaps."""
    return [(max(a, c), min(b, d)) for a, b in first for c, d in second if max(a, c) < min(b, d)]


def beyond(buffers: Sequence[Buffer], ids: int, mapped: Sequence[Span]) -> list[Span]:
    """Ids that leave all of `mapped` from the base of every one of `buffers`."""
    found: list[Span] = [(0, ids)] if ids > 0 and buffers else []
    for buffer in buffers:
        found = common(found, ids_outside(buffer, ids, mapped))
    return found


def readable(maps: str) -> list[Span]:
    """Readable address ranges in the text of `/proc/PID/maps`."""
    found = []
    for line in maps.splitlines():
        span, _, rest = line.partition(" ")
        if rest[:1] == "r":
            start, _, end = span.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return merged(found)


# -- in the server ---------------------------------------------------------------------


def buffers_of(pool: Any) -> list[Buffer]:
    """Every K and V buffer of an SWAKVPool, SWA first, as SGLang allocates them."""
    found = []
    for name, half in (("swa", pool.swa_kv_pool), ("full", pool.full_kv_pool)):
        for side, tensors in (("K", half.k_buffer), ("V", half.v_buffer)):
            for index, tensor in enumerate(tensors):
                page_bytes = tensor.stride(0) * tensor.element_size() * pool.page_size
                pages = tensor.shape[0] // pool.page_size
                found.append(
                    Buffer(f"{name} {side} {index}", int(tensor.data_ptr()), page_bytes, pages)
                )
    return found


def mapped() -> tuple[list[Span], list[Span]]:
    """What this process has mapped: by PyTorch's CUDA allocator, and readable on the host."""
    import torch

    segments = [
        (int(segment["address"]), int(segment["address"]) + int(segment["total_size"]))
        for segment in (torch.cuda.memory_snapshot() if torch.cuda.is_available() else ())
    ]
    return merged(segments), readable(Path("/proc/self/maps").read_text())


def outside_all(pool: Any) -> list[Span]:
    """Ids of `pool`'s full half that leave all of `mapped` from every SWA buffer's base."""
    cuda, host = mapped()
    swa = [buffer for buffer in buffers_of(pool) if buffer.name.startswith("swa")]
    return beyond(swa, pool.size // pool.page_size + 1, merged([*cuda, *host]))


def address_map(pool: Any) -> dict[str, Any]:
    """The map of this process as JSON values. `asked`: the highest ids that leave everything."""
    cuda, host = mapped()
    buffers, full_pages = buffers_of(pool), pool.size // pool.page_size + 1
    swa = [buffer for buffer in buffers if buffer.name.startswith("swa")]
    outside = outside_all(pool)
    asked = [page for low, high in reversed(outside) for page in range(high - 1, low - 1, -1)]
    asked = asked[:ASKED]
    return {
        "buffers": [asdict(buffer) for buffer in buffers],
        "cuda_segments": cuda,
        "cuda_mapped_bytes": sum(end - start for start, end in cuda),
        "host_readable_ranges": len(host),
        "full_pages": full_pages,
        "swa_pages": pool.size_swa // pool.page_size + 1,
        "beyond_cuda_segments": beyond(swa, full_pages, cuda),
        "beyond_all_mapped": outside,
        "asked": asked,
        "driver_knows": driver_knows([b.base + page * b.page_bytes for b in swa for page in asked]),
    }


def driver_knows(addresses: Sequence[int]) -> int | None:
    """How many of `addresses` lie in an allocation the CUDA driver knows; None without a driver."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    base, size = ctypes.c_uint64(), ctypes.c_size_t()
    ask = library.cuMemGetAddressRange_v2
    return sum(
        ask(ctypes.byref(base), ctypes.byref(size), ctypes.c_uint64(address)) == 0
        for address in addresses
    )


class AddressMap(Observer):
    """Writes the map before the first step: pools and graphs are there, no request is yet."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def begin(self, step: Step) -> None:
        if step.number != 1:
            return
        found = [address_map(pool) for pool in moments().pools]
        self.out.write_text(json.dumps(found, indent=1) + "\n")
        for one in found:
            complain(
                f"full page ids beyond all mapped memory from every SWA buffer: "
                f"{one['beyond_all_mapped'] or 'none'} of {one['full_pages']}; of the highest "
                f"{len(one['asked'])} the driver knows {one['driver_knows']} addresses"
            )


def plugin(directory: Path, out: Path) -> Path:
    """A plugin folder with which a server writes its address map to `out`."""
    return plugin_folder.write(directory, "z-address-map", f"{__name__}:insert", out=str(out))


def insert(out: str) -> None:
    observe(AddressMap(Path(out)))
