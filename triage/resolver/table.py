"""The trtllm-gen attention kernels of a cubin set, by the traits they are selected with."""

from __future__ import annotations

import functools
import lzma
from dataclasses import dataclass
from pathlib import Path

from triage.errors import ReplayError

DATA = Path(__file__).parent / "data"

COLUMNS = (
    *("name", "sm", "q", "k", "v", "o", "mask", "kernel", "scheduler", "multi_ctas"),
    *("head_dim", "head_dim_per_cta", "tile_q", "tile_kv", "step_q", "step_kv", "page", "smem"),
    *("groups_heads", "groups_tokens", "skips_softmax"),
)

CUBIN_SETS = {
    # FlashInfer release -> cubin set (flashinfer/artifacts.py of that release)
    (0, 6, 11): "1d876ee6",
    (0, 6, 12): "158f6fa1",
    (0, 6, 13): "158f6fa1",
    (0, 6, 14): "158f6fa1",
    (0, 6, 15): "158f6fa1",
    (0, 6, 16): "158f6fa1",
    (0, 6, 17): "158f6fa1",
}


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


def parse_version(text: str) -> tuple[int, int, int]:
    """`0.6.11.post1` -> (0, 6, 11). Raises ReplayError for anything else."""
    parts = text.split(".")
    if len(parts) < 3 or not all(part.isdigit() for part in parts[:3]):
        raise ReplayError(f"{text!r} is no FlashInfer version such as 0.6.12")
    return int(parts[0]), int(parts[1]), int(parts[2])


@functools.cache
def kernels_of(version: tuple[int, int, int]) -> tuple[Kernel, ...]:
    """The kernels that a FlashInfer release ships.

    Raises:
        ReplayError: for a release whose table is not here.
    """
    if version not in CUBIN_SETS:
        known = f"{_dotted(min(CUBIN_SETS))} to {_dotted(max(CUBIN_SETS))}"
        raise ReplayError(
            f"no kernel table for FlashInfer {_dotted(version)}; there is for {known}"
        )
    text = lzma.decompress((DATA / f"fmha_{CUBIN_SETS[version]}.tsv.xz").read_bytes()).decode()
    return tuple(_kernel(line.split("\t")) for line in text.splitlines()[1:])


def _kernel(cells: list[str]) -> Kernel:
    numbers = [int(cell) for cell in cells[6:18]]
    flags = [cell == "1" for cell in cells[18:]]
    return Kernel(*cells[:6], *numbers, *flags)  # type: ignore[arg-type]


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
