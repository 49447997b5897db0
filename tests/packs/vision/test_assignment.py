from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sightline.packs.vision.assignment import assign, match

COSTS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5),
    elements=st.integers(-20, 20).map(float),
)


def cheapest(cost: np.ndarray) -> float:
    """Return the least total of a complete assignment, by trying all."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    rows = range(cost.shape[0])
    return min(
        sum(float(cost[row, columns[row]]) for row in rows) for columns in permutations(range(cost.shape[1]), len(rows))
    )


def best_gain(cost: np.ndarray, limit: float) -> float:
    """Return the greatest total gain of pairs, by trying all; a row may stay alone."""

    def gain(row: int, taken: frozenset[int]) -> float:
        if row == cost.shape[0]:
            return 0.0
        alone = gain(row + 1, taken)
        free = (column for column in range(cost.shape[1]) if column not in taken and cost[row, column] < limit)
        return max([alone, *(limit - float(cost[row, column]) + gain(row + 1, taken | {column}) for column in free)])

    return gain(0, frozenset())


@given(COSTS)
def test_a_complete_assignment_costs_the_least(cost: np.ndarray) -> None:
    rows, columns = assign(cost)

    assert len(set(rows.tolist())) == len(set(columns.tolist())) == min(cost.shape)
    assert cost[rows, columns].sum() == cheapest(cost)


@given(COSTS, st.integers(-10, 20).map(float))
def test_matched_pairs_gain_the_most(cost: np.ndarray, limit: float) -> None:
    rows, columns = match(cost, limit)

    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert (cost[rows, columns] < limit).all()
    assert (limit - cost[rows, columns]).sum() == best_gain(cost, limit)


def test_an_infinite_cost_is_never_taken() -> None:
    rows, columns = match(np.array([[np.inf, 0.2], [np.inf, 0.1]]), 1.0)

    assert rows.tolist() == [1]
    assert columns.tolist() == [1]


def test_a_hundred_by_a_hundred_is_solved() -> None:
    cost = np.random.default_rng(7).random((100, 90))
    rows, columns = assign(cost)

    assert len(rows) == 90
    # No swap of two pairs makes an optimal assignment cheaper.
    own = cost[rows, columns]
    swapped = cost[rows[:, None], columns[None]]
    assert (own[:, None] + own[None] <= swapped + swapped.T + 1e-12).all()


def test_nobody_and_nothing_match_nothing() -> None:
    for shape in ((0, 3), (3, 0), (0, 0)):
        rows, columns = match(np.zeros(shape), 1.0)
        assert rows.size == columns.size == 0
