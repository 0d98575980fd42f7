"""What fusing would save: launches and bytes per layer, pattern by pattern.

Three ways to run a pattern are set against one launch that reads every input once and
writes every output once: the kernels as captured, SGLang's chain of separate kernels, and
every ATen operation on its own. The bytes of SGLang's chain are worked out from its number
of launches: each writes a row that the next one reads.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from triage.fusions.catalogue import Pattern, has_router, pattern_of
from triage.fusions.reader import Capture, GeneratedLaunch, Kernel
from triage.fusions.sizes import BYTES, count

_VIEWS = frozenset(
    (
        "reshape", "view", "split", "split_with_sizes", "unsqueeze", "squeeze", "getitem",
        "select", "slice", "permute", "expand", "t", "transpose", "alias", "detach", "placeholder",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KernelRow:
    """One generated kernel: what it is fused from, what it moves, how often it runs."""

    kernel: str
    language: str
    pattern: str
    origins: tuple[str, ...]
    operations: int
    launches: int
    per_layer: float
    reads_bytes: int
    writes_bytes: int
    unknown_arguments: int


@dataclass(frozen=True, slots=True)
class PatternRow:
    """One pattern: per layer, as captured, as SGLang's chain, as one launch.

    Attributes:
        eager_launches, eager_bytes: every ATen operation on its own; 0 where the capture
            does not say which there were.
        one_launch_bytes: inputs once and outputs once.
        saved_launches, saved_bytes: one launch instead of SGLang's chain, per layer.
    """

    pattern: str
    what: str
    kernels: tuple[str, ...]
    captured_launches: float
    captured_bytes: int
    chain_launches: int
    chain_bytes: int
    eager_launches: int
    eager_bytes: int
    one_launch_bytes: int
    saved_launches: int
    saved_bytes: int
    sglang: str
    ours: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """The catalogue of a capture."""

    files: tuple[str, ...]
    layers: int
    layers_from: str
    kernels: tuple[KernelRow, ...]
    patterns: tuple[PatternRow, ...]
    externs: dict[str, int]


def rank(capture: Capture, layers: int | None = None, tokens: int = 16) -> Ranking:
    """Patterns of a capture, those first whose fusion saves most.

    Args:
        layers: how many layers it holds; else one for each call of attention.
    """
    number, source = (layers, "as given") if layers else _layers(capture)
    moe = has_router(capture)
    of: dict[str, list[GeneratedLaunch]] = defaultdict(list)
    patterns: dict[str, Pattern] = {}
    for launch in capture.launches:
        pattern = pattern_of(capture.kernels[launch.kernel], launch, moe)
        patterns[pattern.name] = pattern
        of[pattern.name].append(launch)
    rows = [
        _pattern_row(pattern, of[name], capture, number, tokens)
        for name, pattern in patterns.items()
    ]
    rows.sort(key=lambda row: (-row.saved_bytes, -row.saved_launches, row.pattern))
    found = {launch.kernel: name for name, members in of.items() for launch in members}
    return Ranking(
        files=tuple(map(str, capture.files)),
        layers=number,
        layers_from=source,
        kernels=tuple(_kernel_rows(capture, found, number)),
        patterns=tuple(rows),
        externs=dict(Counter(capture.externs)),
    )


def _layers(capture: Capture) -> tuple[int, str]:
    attention = sum("attention" in name for name in capture.externs)
    if attention:
        return attention, "calls of attention"
    counts = Counter(launch.kernel for launch in capture.launches)
    usual = Counter(counts.values()).most_common(1)
    return (usual[0][0] if usual else 1), "how often most kernels run"


def _kernel_rows(capture: Capture, found: dict[str, str], layers: int) -> list[KernelRow]:
    launches: dict[str, list[GeneratedLaunch]] = defaultdict(list)
    for launch in capture.launches:
        launches[launch.kernel].append(launch)
    return [
        KernelRow(
            kernel=name,
            language=capture.kernels[name].language,
            pattern=found[name],
            origins=capture.kernels[name].origins,
            operations=sum(not _is_view(o.target) for o in capture.kernels[name].graph),
            launches=len(members),
            per_layer=len(members) / layers,
            reads_bytes=members[0].reads,
            writes_bytes=members[0].writes,
            unknown_arguments=members[0].unknown,
        )
        for name, members in launches.items()
    ]


def _is_view(target: str) -> bool:
    return not _VIEWS.isdisjoint(target.split("."))


def _pattern_row(
    pattern: Pattern,
    launches: Sequence[GeneratedLaunch],
    capture: Capture,
    layers: int,
    tokens: int,
) -> PatternRow:
    total = sum(launch.reads + launch.writes for launch in launches)
    names = tuple(dict.fromkeys(launch.kernel for launch in launches))
    mine = {id(launch) for launch in launches}
    others = (launch for launch in capture.launches if id(launch) not in mine)
    elsewhere = capture.outside | {t.buffer for other in others for t in other.touched}
    between = sum(_intermediate(group, elsewhere) for group in _by_layer(launches, layers))
    once = (total - between) // layers
    row = max((launch.writes // max(1, launch.rows_written) for launch in launches), default=0)
    chain_bytes = once + 2 * max(0, pattern.chain - 1) * row
    eager = [_eager(capture.kernels[launch.kernel], tokens) for launch in launches]
    return PatternRow(
        pattern=pattern.name,
        what=pattern.what,
        kernels=names,
        captured_launches=len(launches) / layers,
        captured_bytes=total // layers,
        chain_launches=pattern.chain,
        chain_bytes=chain_bytes,
        eager_launches=sum(number for number, _ in eager) // layers,
        eager_bytes=sum(moved for _, moved in eager) // layers,
        one_launch_bytes=once,
        saved_launches=max(0, pattern.chain - 1),
        saved_bytes=chain_bytes - once,
        sglang=pattern.sglang,
        ours=pattern.ours,
    )


def _by_layer(launches: Sequence[GeneratedLaunch], layers: int) -> list[Sequence[GeneratedLaunch]]:
    size = max(1, -(-len(launches) // layers))
    return [launches[i : i + size] for i in range(0, len(launches), size)]


def _intermediate(group: Sequence[GeneratedLaunch], elsewhere: set[str]) -> int:
    """Bytes that one launch of the group saves: of what one writes and another reads.

    What is used `elsewhere` is still written.
    """
    saved = 0
    written: dict[str, int] = {}
    for launch in group:
        for touched in launch.touched:
            if touched.read and touched.buffer in written:
                saved += touched.read
                if touched.buffer not in elsewhere:
                    saved += written[touched.buffer]
                    written[touched.buffer] = 0
        for touched in launch.touched:
            if touched.written:
                written[touched.buffer] = written.get(touched.buffer, 0) + touched.written
    return saved


def _eager(kernel: Kernel, tokens: int) -> tuple[int, int]:
    """Launches and bytes of the operations that a kernel was fused from, each on its own."""
    size: dict[str, int] = {}
    launches = moved = 0
    for operation in kernel.graph:
        elements = count(operation.shape, tokens) if operation.shape else None
        size[operation.name] = (elements or 0) * BYTES.get(operation.dtype, 0)
        if _is_view(operation.target):
            continue
        launches += 1
        moved += size[operation.name] + sum(size.get(read, 0) for read in operation.reads)
    return launches, moved
