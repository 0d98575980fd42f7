"""The Triton kernel agrees with the oracles in value and with the emulator in count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests import dumps_fixture as dumps
from tests.replay import oracles
from triage.replay.emulator import emulate
from triage.replay.triton_paged import (
    count_footprint_triton,
    paged_attention_triton,
    run_triton,
)
from triage.replay.verdict import Outcome

# float32 with a running softmax: the same bound as the eager reference's.
TOLERANCE = 1e-4


def run(problem: oracles.Problem) -> torch.Tensor:
    return paged_attention_triton(
        problem.query,
        problem.k_cache,
        problem.v_cache,
        problem.table,
        problem.lengths,
        problem.q_lens,
        window_left=problem.window_left,
        bmm1_scale=problem.scale * problem.k_scale,
        bmm2_scale=problem.v_scale,
        sinks=problem.sinks,
    )


@pytest.mark.parametrize("window", [1, 16, 127, None])
@pytest.mark.parametrize("page_size", [16, 64])
@pytest.mark.parametrize("q_len", [1, 4])
def test_values_at_window_and_page_edges(window, page_size, q_len):
    reach = window or 64
    lengths = sorted({max(q_len, edge) for edge in (1, reach - 1, reach, reach + 1, 3 * page_size)})
    problem = oracles.make_problem(
        lengths, q_lens=q_len, window=window, page_size=page_size, num_kv_heads=1
    )
    assert np.abs(run(problem).numpy() - oracles.dense_loop(problem)).max() < TOLERANCE


@pytest.mark.parametrize("sinks", [False, True], ids=["no sinks", "sinks"])
@pytest.mark.parametrize(
    "kv_dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]
)
def test_cache_types_sinks_and_groups(kv_dtype, sinks):
    problem = oracles.make_problem(
        [3, 50], window=20, kv_dtype=kv_dtype, sinks=sinks, group=5, head_dim=24
    )
    assert np.abs(run(problem).numpy() - oracles.dense_loop(problem)).max() < TOLERANCE


def test_ragged_queries_of_more_than_one_block():
    problem = oracles.make_problem([90, 3], q_lens=[80, 2], window=30, group=4, num_kv_heads=1)
    assert np.abs(run(problem).numpy() - oracles.dense_loop(problem)).max() < TOLERANCE


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window_left", [-1, 40])
def test_counts_are_the_emulators(seed, window_left):
    rng = np.random.default_rng(seed)
    table = rng.integers(-3, 30, (5, 20)).astype(np.int32)
    lengths = rng.integers(0, 321, 5)
    q_lens = np.minimum(rng.integers(1, 4, 5), np.maximum(lengths, 1))
    sizes = {"page_size": 16, "window_left": window_left, "num_pages": 10}

    counted = count_footprint_triton(
        torch.from_numpy(table), torch.from_numpy(lengths), torch.from_numpy(q_lens), **sizes
    )

    assert counted == emulate(table, lengths, q_lens=q_lens, **sizes).bad


def test_the_verdict_is_that_of_the_other_kernels():
    dump = dumps.make_dump(replace(dumps.SMALL, q_len=2))

    assert run_triton(dump).outcome is Outcome.REPRODUCED
    assert run_triton(dump, "clamp").exit_code == 4
    assert run_triton(dump, "state-swap").exit_code == 0
    assert run_triton(dump).figures["counted"]["must"]["fault"] > 0
