"""The eager reference agrees with two independent oracles where upstream tests nothing.

Every slot that no token owns holds NaN, so a key read by mistake shows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.replay import oracles
from triage.replay.attention import paged_attention_eager, paged_cache_reader

# float32 accumulation over at most 1,100 keys of unit variance: the error of a
# dot product grows with sqrt(n) * eps, about 4e-6 here; 1e-4 leaves room for exp.
TOLERANCE = 1e-4


def run(problem: oracles.Problem) -> torch.Tensor:
    reader = paged_cache_reader(problem.k_cache, problem.v_cache, problem.k_scale, problem.v_scale)

    def never_outside(pages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert int(pages.max()) < len(problem.k_cache), "an unspecified entry was read"
        return reader(pages)

    return paged_attention_eager(
        problem.query,
        never_outside,
        problem.table,
        problem.lengths,
        problem.q_lens,
        page_size=problem.page_size,
        num_kv_heads=problem.k_cache.shape[1],
        window_left=problem.window_left,
        bmm1_scale=problem.scale,
        sinks=problem.sinks,
    )


def assert_agrees(problem: oracles.Problem) -> None:
    out = run(problem)
    assert np.abs(out.numpy() - oracles.dense_loop(problem)).max() < TOLERANCE
    if problem.sinks is None:
        assert (out - oracles.sdpa(problem)).abs().max() < TOLERANCE


def edge_lengths(window: int | None, page_size: int, q_len: int) -> list[int]:
    """Lengths on both sides of every boundary: window, tile and page."""
    reach = window or 64
    around = {1, reach - 1, reach, reach + 1, 2 * reach, 127, 128, 129, 3 * page_size - 1}
    around |= {3 * page_size, 3 * page_size + 1}
    return sorted({min(max(length, q_len), 1100) for length in around})


@pytest.mark.parametrize("window", [1, 16, 127, 128, 512, 1024, None])
@pytest.mark.parametrize("page_size", [16, 32, 64])
@pytest.mark.parametrize("q_len", [1, 4])
def test_lengths_at_every_edge(window, page_size, q_len):
    lengths = edge_lengths(window, page_size, q_len)
    problem = oracles.make_problem(
        lengths, q_lens=q_len, window=window, page_size=page_size, num_kv_heads=1, head_dim=8
    )
    assert_agrees(problem)


@pytest.mark.parametrize("head_dim", [64, 128, 256, 512])
@pytest.mark.parametrize("group", [1, 8])
def test_head_dims_and_groups(head_dim, group):
    assert_agrees(oracles.make_problem([5, 70], window=33, head_dim=head_dim, group=group))


@pytest.mark.parametrize("group", [2, 3, 5, 16])
@pytest.mark.parametrize("sinks", [False, True], ids=["no sinks", "sinks"])
@pytest.mark.parametrize("q_len", range(1, 9))
def test_query_lengths_groups_and_sinks(group, sinks, q_len):
    problem = oracles.make_problem(
        [q_len, 20, 41], q_lens=q_len, window=16, group=group, sinks=sinks, num_kv_heads=1
    )
    assert_agrees(problem)


@pytest.mark.parametrize("kv_dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
@pytest.mark.parametrize("sinks", [False, True], ids=["no sinks", "sinks"])
def test_narrow_cache_types_with_scales(kv_dtype, sinks):
    assert_agrees(oracles.make_problem([3, 50, 64], window=20, kv_dtype=kv_dtype, sinks=sinks))


def test_ragged_prefill_with_a_prefix_and_more_queries_than_one_block():
    problem = oracles.make_problem([300, 7, 150], q_lens=[290, 7, 1], window=48, num_kv_heads=1)
    assert_agrees(problem)


def test_a_row_without_tokens_gives_zeros():
    problem = oracles.make_problem([9, 4], q_lens=[1, 1])
    problem = replace(problem, lengths=torch.tensor([9, 0]))
    assert run(problem)[1].abs().max() == 0


def test_renaming_pages_changes_nothing():
    problem = oracles.make_problem([40, 55], window=32)
    order = torch.randperm(len(problem.k_cache), generator=torch.Generator().manual_seed(3))
    moved = torch.argsort(order)
    known = problem.table < len(order)
    table = torch.where(known, moved[problem.table.clamp(max=len(order) - 1)], problem.table)
    renamed = replace(
        problem, k_cache=problem.k_cache[order], v_cache=problem.v_cache[order], table=table
    )
    assert torch.equal(run(renamed), run(problem))


def test_reordering_requests_reorders_outputs():
    problem = oracles.make_problem([40, 7, 55], window=32)
    order = torch.tensor([2, 0, 1])
    shuffled = replace(
        problem,
        query=problem.query[order],
        table=problem.table[order],
        lengths=problem.lengths[order],
    )
    assert torch.allclose(run(shuffled), run(problem)[order], atol=1e-6)


def test_dropping_whole_pages_before_the_window_changes_nothing():
    problem = oracles.make_problem([96], window=20)
    shifted = replace(
        problem,
        table=problem.table[:, 4:],
        lengths=problem.lengths - 4 * problem.page_size,
    )
    assert torch.allclose(run(shifted), run(problem), atol=1e-6)
