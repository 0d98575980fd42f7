"""The eager reference agrees with both oracles over a covering subset of the grid.

The whole product takes about a quarter of an hour of one quiet core:
`python -m tests.replay.eager_grid`. Here every pair of values of two axes meets.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.replay import eager_grid as grid

CASES = list(grid.covering())
PARTS = 8


def test_any_two_values_of_different_axes_meet():
    met = set().union(*map(grid.pairs_of, CASES))

    assert set(grid.all_pairs()) <= met
    assert all(grid.possible(case) for case in CASES)


def test_the_edges_of_window_tile_and_page_are_among_the_lengths():
    lengths = grid.lengths_of(512, 64, 1)

    assert {1, 511, 512, 513, 1024, 127, 129, 255, 257, 63, 65, 191, 193} <= set(lengths)
    assert {127, 129, 255, 257, 15, 17, 47, 49} <= set(grid.lengths_of(None, 16, 8))
    assert {len(grid.AXES), math.prod(map(len, list(grid.AXES.values())[1:]))} == {8, 43_008}


@pytest.mark.parametrize("part", range(PARTS))
def test_values_agree_with_both_oracles(part):
    for case in CASES[part::PARTS]:
        assert grid.worst_error(grid.problem_of(case)) <= grid.TOLERANCE, case


@pytest.mark.parametrize(
    "change", [{"window_left": 1}, {"scale": 1.001}, {"sinks": None}, {"v_scale": 0.999}]
)
def test_the_comparison_sees_a_change(change):
    # GIVEN a case with sinks, and the same with one thing changed for the oracles only
    case = {**CASES[0], "edge": "2W", "window": 16, "sinks": True, "q_len": 2}
    problem = grid.problem_of(case)
    out = grid.eager(problem).double()

    # THEN both oracles are off by more than is let through
    changed = replace(problem, **change)
    assert (out - grid.oracles.sdpa(changed)).abs().max() > grid.TOLERANCE
    assert abs(out.numpy() - grid.oracles.dense_loop(changed)).max() > grid.TOLERANCE


def test_several_rows_with_their_own_lengths_and_queries_agree_in_one_batch():
    problem = grid.oracles.make_problem(
        [1, 15, 17, 33, 64, 129], q_lens=[1, 8, 2, 5, 1, 8], window=17, group=3, sinks=True
    )

    assert grid.worst_error(problem) <= grid.TOLERANCE
