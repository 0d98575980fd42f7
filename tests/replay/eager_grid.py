"""The grid on which the eager reference is held against both oracles.

    python -m tests.replay.eager_grid [WINDOW ...]

runs the whole product, 43,008 settings of window, page size, head_dim, group,
query length, sinks and cache type, each at every length in `lengths_of`, and
exits 1 if a value is off; with windows (`none` is one) their part of it.
`covering` is the subset for every day: each pair of values of any two axes, the
length among them, meets in some case.

Settings that share a cache run as one batch, a row for each length and query
length, and share the oracles' answer: what a query sees depends neither on how
many queries come with it nor on how many heads share its keys.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from tests.replay import oracles
from triage.replay.attention import KVReader, paged_attention_eager, paged_cache_reader

WINDOWS = (1, 16, 127, 128, 512, 1024, None)
PAGE_SIZES = (16, 32, 64)
HEAD_DIMS = (64, 128, 256, 512)
GROUPS = tuple(range(1, 17))
Q_LENS = tuple(range(1, 9))
SINKS = (False, True)
KV_DTYPES = (torch.float32, torch.float8_e4m3fn)
TILES = (128, 256)  # keys that a kernel's tile holds
REACH_WITHOUT_WINDOW = 512

# Eager sums in float32, the oracles in float64. A logit, of unit variance over at most 512
# terms, is off by about sqrt(512) * eps = 3e-6 of itself, and so is its weight; the
# weighted sum of values of unit variance, doubled for the fp8 cache, adds as much.
TOLERANCE = 1e-5


LENGTH_EDGES = (
    *("1", "W-1", "W", "W+1", "2W"),
    *(f"tile {tile}{shift}" for tile in TILES for shift in ("-1", "", "+1")),
    *(f"{pages} pages{shift}" for pages in (1, 3) for shift in ("-1", "", "+1")),
)
AXES: dict[str, tuple[Any, ...]] = {
    "edge": LENGTH_EDGES,
    "group": GROUPS,
    "q_len": Q_LENS,
    "window": WINDOWS,
    "head_dim": HEAD_DIMS,
    "page_size": PAGE_SIZES,
    "sinks": SINKS,
    "kv_dtype": KV_DTYPES,
}

Case = dict[str, Any]
"""Axis -> value."""
Pair = tuple[str, Any, str, Any]


def length_of(edge: str, window: int | None, page_size: int) -> int:
    """The length that an edge stands for; zero and less is none."""
    reach = window or REACH_WITHOUT_WINDOW
    named = {"1": 1, "W-1": reach - 1, "W": reach, "W+1": reach + 1, "2W": 2 * reach}
    named |= {f"tile {tile}": tile for tile in TILES}
    named |= {f"{pages} pages": pages * page_size for pages in (1, 3)}
    shift = {"-1": -1, "+1": 1}.get(edge[-2:], 0)
    return named[edge] if edge in named else named[edge[:-2]] + shift


def lengths_of(window: int | None, page_size: int, q_len: int) -> list[int]:
    """Every length of the grid that holds the queries."""
    found = {length_of(edge, window, page_size) for edge in LENGTH_EDGES}
    return sorted(length for length in found if length >= q_len)


def reader_of(problem: oracles.Problem) -> KVReader:
    """Of the problem's cache; an entry outside it is an AssertionError."""
    reader = paged_cache_reader(problem.k_cache, problem.v_cache, problem.k_scale, problem.v_scale)

    def never_outside(pages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert int(pages.max()) < len(problem.k_cache), "an unspecified entry was read"
        return reader(pages)

    return never_outside


def eager(problem: oracles.Problem, reader: KVReader | None = None) -> torch.Tensor:
    """Our reference on `problem`."""
    return paged_attention_eager(
        problem.query,
        reader or reader_of(problem),
        problem.table,
        problem.lengths,
        problem.q_lens,
        page_size=problem.page_size,
        num_kv_heads=problem.k_cache.shape[1],
        window_left=problem.window_left,
        bmm1_scale=problem.scale,
        sinks=problem.sinks,
    )


def worst_error(problem: oracles.Problem) -> float:
    """Largest difference to either oracle; NaN if there is one."""
    out = eager(problem).double()
    loop = torch.from_numpy(oracles.dense_loop(problem))
    return float(torch.stack([out - loop, out - oracles.sdpa(problem)]).abs().max())


def possible(case: Case) -> bool:
    """Does the length hold the queries, as far as the case says both?"""
    edge, q_len = case.get("edge"), case.get("q_len", 1)
    if edge is None or (edge.endswith(("W", "W-1", "W+1")) and "window" not in case):
        return True
    return length_of(edge, case.get("window"), case.get("page_size", PAGE_SIZES[0])) >= q_len


def pairs_of(case: Case) -> set[Pair]:
    return {(a, case[a], b, case[b]) for a, b in itertools.combinations(AXES, 2)}


def all_pairs() -> list[Pair]:
    """Every pair of values of two axes that some case can have."""
    return [
        (a, one, b, other)
        for a, b in itertools.combinations(AXES, 2)
        for one, other in itertools.product(AXES[a], AXES[b])
        if possible({a: one, b: other})
    ]


def covering() -> Iterator[Case]:
    """Cases in which every pair of `all_pairs` occurs; greedy, the same in every run."""
    still_open = dict.fromkeys(all_pairs())
    while still_open:
        a, one, b, other = next(iter(still_open))
        case = {a: one, b: other}
        for axis, values in AXES.items():
            if axis in case:
                continue

            def gain(value: Any, axis: str = axis, case: Case = case) -> int:
                known = [(name, case[name]) for name in AXES if name in case]
                return sum(
                    (*pair, axis, value) in still_open or (axis, value, *pair) in still_open
                    for pair in known
                )

            case[axis] = max(
                (value for value in values if possible(case | {axis: value})), key=gain
            )
        for pair in pairs_of(case):
            still_open.pop(pair, None)
        yield case


def problem_of(case: Case) -> oracles.Problem:
    """One row of two KV heads."""
    return oracles.make_problem(
        [length_of(case["edge"], case["window"], case["page_size"])],
        q_lens=case["q_len"],
        window=case["window"],
        page_size=case["page_size"],
        head_dim=case["head_dim"],
        group=case["group"],
        num_kv_heads=2,
        sinks=case["sinks"],
        kv_dtype=case["kv_dtype"],
    )


@dataclass
class Tally:
    """What the whole product came to. `rows` counts (setting, length) pairs."""

    settings: int = 0
    rows: int = 0
    values: int = 0
    worst_loop: float = 0.0
    worst_sdpa: float = 0.0
    off: int = 0

    def add(self, out: torch.Tensor, loop: torch.Tensor, sdpa: torch.Tensor) -> None:
        apart = (out - loop).abs(), (out - sdpa).abs()
        self.values += out.numel()
        self.off += sum(int((~(each <= TOLERANCE)).sum()) for each in apart)
        self.worst_loop = max(self.worst_loop, float(apart[0].max()))
        self.worst_sdpa = max(self.worst_sdpa, float(apart[1].max()))


def product_of(window: int | None) -> Iterator[tuple[str, Tally]]:
    """Every setting of one window; after each cache its name and the tally so far."""
    tally = Tally()
    for head_dim, page_size, kv_dtype in itertools.product(HEAD_DIMS, PAGE_SIZES, KV_DTYPES):
        for sinks in SINKS:
            _one_cache(tally, window, page_size, head_dim, kv_dtype, sinks)
        yield f"window {window}, D {head_dim}, page {page_size}, {kv_dtype}", tally


def _one_cache(
    tally: Tally,
    window: int | None,
    page_size: int,
    head_dim: int,
    kv_dtype: torch.dtype,
    sinks: bool,
) -> None:
    """All groups and query lengths over one cache, against one answer of each oracle."""
    lengths = lengths_of(window, page_size, 1)
    largest = oracles.make_problem(
        lengths,
        q_lens=[min(length, Q_LENS[-1]) for length in lengths],
        window=window,
        page_size=page_size,
        head_dim=head_dim,
        group=GROUPS[-1],
        num_kv_heads=2 if head_dim <= 128 else 1,
        sinks=sinks,
        kv_dtype=kv_dtype,
    )
    heads = (-1, largest.k_cache.shape[1], GROUPS[-1])
    loop = torch.from_numpy(oracles.dense_loop(largest)).unflatten(1, heads[1:])
    sdpa = oracles.sdpa(largest).unflatten(1, heads[1:])
    query = largest.query.unflatten(1, heads[1:])
    sink = None if largest.sinks is None else largest.sinks.reshape(heads[1:])
    # A row for each length and query length: its queries are the last of the length's.
    pairs = [
        (row, q_len) for q_len in Q_LENS for row, length in enumerate(lengths) if length >= q_len
    ]
    ends = torch.cumsum(largest.q_lens, 0)
    tokens = torch.cat(
        [torch.arange(int(ends[row]) - q_len, int(ends[row])) for row, q_len in pairs]
    )
    rows = torch.tensor([row for row, _ in pairs])
    q_lens = torch.tensor([q_len for _, q_len in pairs])
    # Whatever the group, the same pages are read, and what nobody sees in them is zeroed.
    read = reader_of(largest)
    held: dict[bytes, tuple[torch.Tensor, torch.Tensor]] = {}

    def remembered(pages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        key = pages.numpy().tobytes()
        if key not in held:
            held[key] = read(pages)
        return held[key]

    for group in GROUPS:
        part = replace(
            largest,
            query=query[tokens, :, :group].flatten(1, 2),
            table=largest.table[rows],
            lengths=largest.lengths[rows],
            q_lens=q_lens,
            sinks=None if sink is None else sink[:, :group].flatten(),
        )
        out = eager(part, remembered).double().unflatten(1, (heads[1], group))
        tally.add(out, loop[tokens, :, :group], sdpa[tokens, :, :group])
    tally.settings += len(GROUPS) * len(Q_LENS)
    tally.rows += len(GROUPS) * len(pairs)


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    windows = [None if each == "none" else int(each) for each in arguments] or WINDOWS
    off = 0
    for window in windows:
        started, tally = time.process_time(), Tally()
        for name, tally in product_of(window):
            print(f"  {name}: {tally.settings} settings, {tally.off} values off", flush=True)
        print(
            f"window {window}: {tally.settings} settings, {tally.rows} rows, {tally.values} "
            f"values; off by more than {TOLERANCE:g}: {tally.off}; worst against the loop "
            f"{tally.worst_loop:.2e}, against torch {tally.worst_sdpa:.2e}; "
            f"{time.process_time() - started:.0f} s of processor time",
            flush=True,
        )
        off += tally.off
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
