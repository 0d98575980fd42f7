"""Which trtllm-gen attention kernel a paged GQA call selects, without a GPU.

FlashInfer chooses on the host, in passes: derive traits from the call, look up
the kernel, work out the grid, and change a trait where the grid says so (one
split of the KV sequence needs no reduction, up to sixteen can reduce through a
cluster). One question only a GPU answers: whether that cluster fits the
device. So a resolution may have two candidates.

The host code differs between releases in the points named in `Rules`.
Source: flashinfer data/include/flashinfer/trtllm/fmha/fmhaKernels.cuh.

Long because FlashInfer's choice is one chain of conditions, kept in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from triage.errors import ReplayError
from triage.resolver.pins import choose
from triage.resolver.table import Kernel, shipped_kernels

UNLIMITED = (1 << 31) - 1
DYNAMIC_PAGE = 128  # page sizes from here on share one kernel, keyed 128
MAX_PASSES = 4
MAX_CLUSTER = 16
B200_SMEM_BYTES = 232448  # opt-in shared memory a block, sm_100 and sm_103


class Mask(IntEnum):
    CAUSAL = 1
    SLIDING = 2


class Kind(IntEnum):
    CONTEXT = 0
    SWAPS = 2
    KEEPS = 3


class Splits(IntEnum):
    """How the parts of a split KV sequence are reduced."""

    OFF = 0
    GMEM = 1
    GMEM_SEPARATE = 2
    CGA = 3


class Rules:
    """What differs between FlashInfer releases."""

    def __init__(self, version: tuple[int, int, int]) -> None:
        self.has_dynamic_page = version >= (0, 6, 12)  # flashinfer-ai/flashinfer#3259
        self.dynamic_page_needs_group = version < (0, 6, 16)  # flashinfer-ai/flashinfer#4095
        self.keeps_traits_in_step = version >= (0, 6, 14)  # flashinfer-ai/flashinfer#3393
        self.drops_oversized = version >= (0, 6, 17)
        self.keys_grouping = version >= (0, 6, 18)
        self.transforms_mixed_types = version >= (0, 6, 18)


@dataclass(frozen=True, slots=True)
class Call:
    """What the selection depends on. Types are BF16, FP16 or E4M3, `arch` is 100 or 103.

    `max_kv_len` is the host argument, not the lengths on the device.
    """

    version: tuple[int, int, int]
    arch: str
    sm_count: int
    q_type: str
    kv_type: str
    out_type: str
    num_q_heads: int
    num_kv_heads: int
    head_dim: int
    page_size: int
    batch_size: int
    max_q_len: int
    max_kv_len: int
    window_left: int
    context: bool = False
    skips_softmax: bool = False

    @property
    def group(self) -> int:
        return self.num_q_heads // self.num_kv_heads

    @property
    def window(self) -> int:
        return UNLIMITED if self.window_left < 0 else self.window_left + 1


@dataclass(frozen=True, slots=True)
class Traits:
    """What a kernel is looked up by."""

    kind: Kind
    mask: Mask
    splits: Splits
    persistent: bool
    head_dim: int
    head_dim_per_cta: int
    tile_q: int
    page: int
    dynamic_page: bool
    skips_softmax: bool
    force_gmem: bool = False

    def key(self) -> str:
        """The traits as FlashInfer words them in its missing-kernel error."""
        return (
            f"qkvLayout=2, maskType={self.mask:d}, kernelType={self.kind:d}, "
            f"tileScheduler={self.persistent:d}, multiCtasKvMode={self.splits:d}, "
            f"headDimPerCtaV={self.head_dim_per_cta}, headDimQk={self.head_dim}, "
            f"headDimV={self.head_dim}, tileSizeQ={self.tile_q}, tileSizeKv=128, "
            f"numTokensPerPage={self.page}"
        )


@dataclass(frozen=True, slots=True)
class Grid:
    """CTAs of a launch, into how many parts each KV sequence is split, and the traits it wants."""

    ctas: int
    splits: int
    traits: Traits


@dataclass(frozen=True, slots=True)
class Resolution:
    """The kernels a call may run. `missing` is the key that no kernel has; then there are none."""

    candidates: tuple[Kernel, ...]
    splits: int = 0
    missing: str = ""
    note: str = ""


class MissingKernel(Exception):
    """No kernel has these traits; carries the key."""


class Selector:
    """The kernels one call may choose from, and the choice.

    Args:
        kernels: of the set that the release runs; else the shipped table that is nearest.
    Raises:
        ReplayError: for a release or a call that no table here can answer for.
    """

    def __init__(self, call: Call, kernels: Sequence[Kernel] = ()) -> None:
        self.call = call
        self.rules = Rules(call.version)
        self.kernels: dict[tuple[object, ...], Kernel] = {}
        if self.rules.transforms_mixed_types and call.q_type != call.kv_type and not call.context:
            raise ReplayError(
                f"from FlashInfer 0.6.18 on, {call.q_type} queries over an {call.kv_type} cache "
                "run kernels of their own, which the tables here do not list"
            )
        for kernel in kernels or shipped_kernels(choose(call.version).used):
            if not self._loadable(kernel):
                continue
            traits = (
                *(kernel.kernel, kernel.mask, kernel.multi_ctas, kernel.scheduler),
                *(kernel.head_dim, kernel.head_dim_per_cta, kernel.tile_q, kernel.page),
                *(kernel.dynamic_page, kernel.skips_softmax),
            )
            # An exact architecture is preferred to its family.
            if traits not in self.kernels or self.kernels[traits].sm == "100f":
                self.kernels[traits] = kernel

    def resolve(self) -> Resolution:
        """Follow FlashInfer's passes to the kernel, or to the key that has none."""
        traits = self._first_traits()
        try:
            for _ in range(MAX_PASSES):
                traits = self._select(traits)
                kernel = self._find(traits)
                grid = self._grid(kernel, traits)
                if grid.traits == traits:
                    break
                traits = grid.traits
            candidates = [kernel]
            if traits.splits is Splits.CGA:
                fallback = replace(traits, force_gmem=True, splits=Splits.GMEM)
                candidates.append(self._find(self._select(fallback)))
        except MissingKernel as missing:
            return Resolution((), missing=str(missing))
        note = ""
        if len(candidates) == 2:
            note = "the second if the device cannot hold all clusters at once (a GPU decides)"
        return Resolution(tuple(candidates), grid.splits, note=note)

    def _loadable(self, kernel: Kernel) -> bool:
        call = self.call
        return (
            kernel.sm in (call.arch, "100f")
            and (kernel.q, kernel.k, kernel.v, kernel.o)
            == (call.q_type, call.kv_type, call.kv_type, call.out_type)
            and kernel.head_dim == call.head_dim
            and kernel.tile_kv == 128
            and not (self.rules.drops_oversized and kernel.smem + 1024 > B200_SMEM_BYTES)
            and (kernel.groups_tokens or call.context or not self.rules.keys_grouping)
        )

    def _first_traits(self) -> Traits:
        call = self.call
        return Traits(
            kind=Kind.CONTEXT if call.context else Kind.SWAPS,
            mask=Mask.CAUSAL,
            splits=Splits.OFF if call.context else Splits.GMEM,
            persistent=call.context,
            head_dim=call.head_dim,
            head_dim_per_cta=call.head_dim,
            tile_q=128,
            page=call.page_size,
            dynamic_page=False,
            skips_softmax=call.skips_softmax,
        )

    def _select(self, traits: Traits) -> Traits:
        """The traits that call and grid so far ask for."""
        call = self.call
        if self._page_is_dynamic():
            traits = replace(traits, page=DYNAMIC_PAGE, dynamic_page=True)
        if not call.context:
            traits = self._select_generation(traits)
        if call.head_dim > 256 and traits.kind is not Kind.SWAPS:
            traits = replace(traits, head_dim_per_cta=256)
        if call.max_kv_len > call.window:
            traits = replace(traits, mask=Mask.SLIDING)
        return traits

    def _page_is_dynamic(self) -> bool:
        enough = self.call.group > 1 or not self.rules.dynamic_page_needs_group
        return self.rules.has_dynamic_page and enough and self.call.page_size >= DYNAMIC_PAGE

    def _select_generation(self, traits: Traits) -> Traits:
        call = self.call
        if call.q_type != call.kv_type:
            tile = 8 if call.group <= 8 else 16
            return replace(traits, tile_q=tile, kind=Kind.SWAPS)
        lanes = call.group * call.max_q_len
        tile = next((tile for tile in (8, 16, 32, 64) if lanes <= tile), 128)
        traits = replace(traits, tile_q=tile, kind=_kind_of(tile))
        if self.rules.keeps_traits_in_step:
            traits = self._in_step(traits)
        return self._cheapest_tile(traits) if call.max_q_len > 1 else traits

    def _in_step(self, traits: Traits) -> Traits:
        """Head-dim part and reduction follow the kind, so that a probe looks up what is shipped."""
        splits = traits.splits
        if traits.kind is Kind.KEEPS and self.call.head_dim > 256:
            if splits is not Splits.OFF:
                splits = Splits.GMEM_SEPARATE
            return replace(traits, head_dim_per_cta=256, splits=splits)
        if splits is Splits.GMEM_SEPARATE:
            splits = Splits.GMEM
        return replace(traits, head_dim_per_cta=self.call.head_dim, splits=splits)

    def _cheapest_tile(self, traits: Traits) -> Traits:
        """With several query tokens a smaller tile may fill the device better, by a cost model.

        Cost a tile and key: 1.0, 1.2, 1.48, 1.68, 2.2 from tile 8 to 128; reduction,
        a part and 128 keys: 1.0, 1.03, 1.08, 1.2, 1.32.
        """
        call = self.call
        loop = {8: 1.0, 16: 1.2, 32: 1.48, 64: 1.68, 128: 2.2}
        reduction = {8: 1.0, 16: 1.03, 32: 1.08, 64: 1.2, 128: 1.32}
        probe = traits
        kernel = self._find(probe)
        grid = self._grid(kernel, probe)
        probe = grid.traits
        if grid.ctas * 2 > call.sm_count or traits.tile_q <= 8:
            return traits
        best, least = traits.tile_q, float("inf")
        for tile in (128, 64, 32, 16, 8):
            if tile > traits.tile_q or tile < call.group:
                continue
            probe = replace(probe, tile_q=tile, kind=_kind_of(tile))
            if self.rules.keeps_traits_in_step:
                probe = self._in_step(probe)
            kernel = self._find(probe)
            grid = self._grid(kernel, probe)
            probe = grid.traits
            keys = _ceil(_ceil(call.max_kv_len, kernel.step_kv), grid.splits) * kernel.step_kv
            cost = loop[tile] * keys + reduction[tile] * 128 * grid.splits
            cost *= _ceil(grid.ctas, call.sm_count)
            if cost < least:
                best, least = tile, cost
        chosen = replace(traits, tile_q=best, kind=_kind_of(best))
        return self._in_step(chosen) if self.rules.keeps_traits_in_step else chosen

    def _find(self, traits: Traits) -> Kernel:
        key = (
            *(int(traits.kind), int(traits.mask), int(traits.splits), int(traits.persistent)),
            *(traits.head_dim, traits.head_dim_per_cta, traits.tile_q, traits.page),
            *(traits.dynamic_page, traits.skips_softmax),
        )
        if key not in self.kernels:
            raise MissingKernel(traits.key())
        return self.kernels[key]

    def _grid(self, kernel: Kernel, traits: Traits) -> Grid:
        """The grid of `kernel`, and the traits with what the number of splits changes in them."""
        call = self.call
        q_ctas = _ceil(call.max_q_len, kernel.step_q)
        if call.max_q_len > 1 and not call.context:
            q_ctas = call.max_q_len
            if kernel.groups_tokens:
                q_ctas = _ceil(call.max_q_len, max(1, kernel.step_q // call.group))
        heads_per_cta = min(call.group, kernel.step_q) if kernel.groups_heads else 1
        head_ctas = call.num_q_heads // heads_per_cta
        others = q_ctas * head_ctas * (call.head_dim // traits.head_dim_per_cta) * call.batch_size
        if traits.splits is Splits.OFF:
            return Grid(others, 1, traits)
        keys = call.max_kv_len
        if traits.mask is Mask.SLIDING and keys > call.window:
            # The first tile may begin before the window.
            keys = min(keys, call.window + kernel.step_kv - 1)
        splits = min(_ceil(keys, 2 * kernel.step_kv), max(1, call.sm_count // others))
        if splits <= 1:
            traits = replace(traits, splits=Splits.OFF, persistent=True)
        elif (
            splits <= MAX_CLUSTER
            and traits.kind is Kind.SWAPS
            and traits.splits is Splits.GMEM
            and not traits.force_gmem
            and call.head_dim < 512
        ):
            traits = replace(traits, splits=Splits.CGA)
        return Grid(others * splits, splits, traits)


def _kind_of(tile: int) -> Kind:
    return Kind.KEEPS if tile >= 64 else Kind.SWAPS


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)
