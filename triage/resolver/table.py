"""The trtllm-gen attention kernels of a cubin set, by the traits they are selected with."""

from __future__ import annotations

import functools
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"

COLUMNS = (
    *("name", "sm", "q", "k", "v", "o", "mask", "kernel", "scheduler", "multi_ctas"),
    *("head_dim", "head_dim_per_cta", "tile_q", "tile_kv", "step_q", "step_kv", "page", "smem"),
    *("groups_heads", "groups_tokens", "skips_softmax"),
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """One cubin. `kernel` is 0 context, 2 SwapsMmaAb, 3 KeepsMmaAb; see `select` for the rest."""

    name: str
    sm: str
    q: str
    k: str
    v: str
    o: str
    mask: int
    kernel: int
    scheduler: int
    multi_ctas: int
    head_dim: int
    head_dim_per_cta: int
    tile_q: int
    tile_kv: int
    step_q: int
    step_kv: int
    page: int
    smem: int
    groups_heads: bool
    groups_tokens: bool
    skips_softmax: bool

    @property
    def dynamic_page(self) -> bool:
        """A kernel for any page size of 128 and more; it shares its key with a fixed P128 one."""
        return self.page == 128 and "P128" not in self.name


@functools.cache
def shipped_kernels(kernel_set: str) -> tuple[Kernel, ...]:
    """The kernels of a set in `triage.resolver.pins.SHIPPED`."""
    text = lzma.decompress((DATA / f"fmha_{kernel_set}.tsv.xz").read_bytes()).decode()
    return tuple(kernel_of(line.split("\t")) for line in text.splitlines()[1:])


def kernel_of(cells: Sequence[str]) -> Kernel:
    """From the cells of one row, in the order of COLUMNS."""
    numbers = [int(cell) for cell in cells[6:18]]
    flags = [cell == "1" for cell in cells[18:]]
    return Kernel(*cells[:6], *numbers, *flags)  # type: ignore[arg-type]
