"""How fast a dump is replayed, explained and minimised, on one core.

The eager reference stands beside the plainest way to compute the same thing:
a loop over rows and heads that gathers one row's keys at a time.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

from triage.bench.figure import Figure, at_most, median_seconds
from triage.dump.expected_ids import tables_of
from triage.dump.file import read_dump
from triage.dump.sections import Dump
from triage.explain import explain
from triage.minimise import minimise
from triage.replay.deduction import deduce
from triage.replay.emulator import emulate

ROWS, CONTEXT_TOKENS, PAGE_SIZE, POOL_PAGES = 4096, 131_072, 16, 1_000_000


def figures(path: Path) -> list[Figure]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        dump = read_dump(path)
        return [*_emulator(), _whole_replay(dump), _eager_beside_loop(dump), _minimise(dump)]
    finally:
        torch.set_num_threads(threads)


def _emulator() -> list[Figure]:
    """A table of 33 million entries, one in ten of them bad: the slow path, not a clean scan."""
    rng = np.random.default_rng(0)
    columns = CONTEXT_TOKENS // PAGE_SIZE
    table = rng.integers(0, POOL_PAGES, (ROWS, columns), dtype=np.int32)
    lengths = np.full(ROWS, CONTEXT_TOKENS, dtype=np.int32)

    def run(num_pages: int) -> None:
        emulate(table, lengths, page_size=PAGE_SIZE, window_left=-1, num_pages=num_pages, q_lens=1)

    bad = _cpu_seconds(lambda: run(POOL_PAGES * 9 // 10))
    clean = _cpu_seconds(lambda: run(POOL_PAGES))
    tracemalloc.start()
    run(POOL_PAGES * 9 // 10)
    peak = tracemalloc.get_traced_memory()[1] + table.nbytes
    tracemalloc.stop()
    rate = table.size / bad / 1e6
    return [
        Figure(
            "emulator, 10 % bad ids",
            rate,
            "M/s",
            ">= 50 M/s",
            rate >= 50,
            f"clean: {table.size / clean / 1e6:,.0f} million entries a second",
        ),
        at_most("emulator, 4096 rows at 128k context", bad, 10, "s"),
        at_most("emulator memory there, table included", peak / 2**30, 1, "GiB"),
    ]


def _cpu_seconds(call: Callable[[], object]) -> float:
    """The least CPU time of three runs: a rate per core must not depend on who else is here."""
    spent = []
    for _ in range(3):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return min(spent)


def _whole_replay(dump: Dump) -> Figure:
    """Emulator, eager and explain on the 64-row dump, everything imported."""
    from triage.replay.eager import run_eager

    def run() -> None:
        deduce(dump)
        run_eager(dump)
        explain(dump)

    deduced = median_seconds(lambda: deduce(dump), 5)
    return at_most(
        "replay (emulator, eager) and explain, 64 rows",
        median_seconds(run, 5),
        1.0,
        "s",
        f"the emulator alone {deduced * 1e3:.1f} ms",
    )


def _eager_beside_loop(dump: Dump) -> Figure:
    """Both over one cache in memory, in CPU time: what is compared is the arithmetic."""
    import torch

    from triage.replay.attention import paged_attention_eager, paged_cache_reader
    from triage.replay.kv_source import inputs_of
    from triage.replay.values import q_lens_of

    assert dump.launch is not None
    launch, tables = dump.launch, tables_of(dump)
    inputs = inputs_of(dump, int(q_lens_of(dump).sum()))
    ids = tables.page_table.padded()
    ids = np.where((ids >= 0) & (ids < launch.num_pages), ids, 0)
    pages, places = np.unique(ids, return_inverse=True)
    places = places.reshape(ids.shape).astype(np.int64)
    read = inputs.read_kv(torch.from_numpy(pages.astype(np.int64))[None, :])
    keys, values = (part[0].contiguous() for part in read)

    def eager() -> torch.Tensor:
        return paged_attention_eager(
            inputs.query,
            paged_cache_reader(keys, values),
            torch.from_numpy(places),
            torch.from_numpy(tables.cache_seqlens.astype(np.int64)),
            torch.from_numpy(q_lens_of(dump)),
            page_size=launch.page_size,
            num_kv_heads=launch.num_kv_heads,
            window_left=launch.window_left,
            bmm1_scale=inputs.bmm1_scale,
        )

    def loop() -> np.ndarray:
        query = inputs.query.numpy()
        return _loop(dump, query, keys.numpy(), values.numpy(), places, inputs.bmm1_scale)

    fast, slow = _cpu_seconds(eager), _cpu_seconds(loop)
    apart = float(np.abs(loop() - eager().numpy()).max())
    return Figure(
        "loop over tokens / eager, 64 rows",
        slow / fast,
        "x",
        ">= 10 x",
        slow / fast >= 10 and apart < 1e-4,
        f"{slow * 1e3:.0f} against {fast * 1e3:.0f} ms, {apart:.1e} apart",
    )


def _loop(
    dump: Dump,
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
    scale: float,
) -> np.ndarray:
    """Decode attention, one token of one head at a time, in float64.

    Args:
        keys, values: `(pages, Hkv, page_size, D)`, which `ids` index.
    """
    assert dump.launch is not None
    launch = dump.launch
    page, group = launch.page_size, launch.num_q_heads // launch.num_kv_heads
    out = np.zeros(query.shape)
    for row, length in enumerate(tables_of(dump).cache_seqlens.tolist()):
        first = 0 if launch.window_left < 0 else max(length - 1 - launch.window_left, 0)
        for head in range(launch.num_q_heads):
            kv_head, asked = head // group, query[row, head].astype(np.float64)
            logits, held = [], []
            for at in range(first, length):
                where = int(ids[row, at // page])
                logits.append(scale * float(keys[where][kv_head, at % page] @ asked))
                held.append(values[where][kv_head, at % page])
            weights = np.exp(np.array(logits) - max(logits))
            out[row, head] = weights / weights.sum() @ np.array(held)
    return out


def _minimise(dump: Dump) -> Figure:
    found = minimise(dump)
    assert found is not None
    return at_most(
        "minimise the 64-row dump",
        median_seconds(lambda: minimise(dump), 3),
        10,
        "s",
        f"to {found.after.rows} row, {found.after.visible_pages} page, "
        f"{found.after.encoded_bytes} bytes",
    )
