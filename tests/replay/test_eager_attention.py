"""The eager reference outside the grid: other cache types, ragged prefill, symmetries.

Every slot that no query may see holds NaN, so a key read by mistake shows. The
grid of windows, pages, heads and lengths is in test_eager_grid.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.replay import oracles
from tests.replay.eager_grid import TOLERANCE, eager, worst_error


@pytest.mark.parametrize("kv_dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
@pytest.mark.parametrize("sinks", [False, True], ids=["no sinks", "sinks"])
def test_narrow_cache_types_with_scales(kv_dtype, sinks):
    problem = oracles.make_problem([3, 50, 64], window=20, kv_dtype=kv_dtype, sinks=sinks)
    assert worst_error(problem) <= TOLERANCE


def test_ragged_prefill_with_a_prefix_and_more_queries_than_one_block():
    problem = oracles.make_problem([300, 7, 150], q_lens=[290, 7, 1], window=48, num_kv_heads=1)
    assert worst_error(problem) <= TOLERANCE


def test_a_row_without_tokens_gives_zeros():
    problem = oracles.make_problem([9, 4], q_lens=[1, 1])
    problem = replace(problem, lengths=torch.tensor([9, 0]))
    assert eager(problem)[1].abs().max() == 0


def test_a_table_without_columns_is_computed_from_the_dummy_page():
    problem = oracles.make_problem([9, 4], q_lens=[1, 1])
    narrow = replace(problem, table=problem.table[:, :0])
    assert eager(narrow).shape == problem.query.shape


def test_renaming_pages_changes_nothing():
    problem = oracles.make_problem([40, 55], window=32)
    order = torch.randperm(len(problem.k_cache), generator=torch.Generator().manual_seed(3))
    moved = torch.argsort(order)
    known = problem.table < len(order)
    table = torch.where(known, moved[problem.table.clamp(max=len(order) - 1)], problem.table)
    renamed = replace(
        problem, k_cache=problem.k_cache[order], v_cache=problem.v_cache[order], table=table
    )
    assert torch.equal(eager(renamed), eager(problem))


def test_reordering_requests_reorders_outputs():
    problem = oracles.make_problem([40, 7, 55], window=32)
    order = torch.tensor([2, 0, 1])
    shuffled = replace(
        problem,
        query=problem.query[order],
        table=problem.table[order],
        lengths=problem.lengths[order],
    )
    assert torch.allclose(eager(shuffled), eager(problem)[order], atol=1e-6)


def test_dropping_whole_pages_before_the_window_changes_nothing():
    problem = oracles.make_problem([96], window=20)
    shifted = replace(
        problem,
        table=problem.table[:, 4:],
        lengths=problem.lengths - 4 * problem.page_size,
    )
    assert torch.allclose(eager(shifted), eager(problem), atol=1e-6)
