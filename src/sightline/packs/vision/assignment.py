"""Who belongs to whom at the least total cost; knows numbers only.

Shape letters: R rows, C columns, P pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def match(cost_RC: Floats, limit: float) -> tuple[Ints, Ints]:
    """Return rows [P] and columns [P] of the best pairs whose cost is below `limit`.

    A pair gains `limit - cost`; the pairs with the greatest total gain are chosen, so a row stays alone rather than
    take a column at a cost of `limit` or more. Costs may be infinite, not NaN.
    """
    gain_RC = np.maximum(limit - cost_RC, 0.0)
    rows = np.flatnonzero(gain_RC.any(axis=1))
    if not rows.size:
        return rows, rows
    best = gain_RC[rows].argmax(axis=1)
    # Where every row can have its own favourite nothing better exists; this is most frames of most videos.
    if np.bincount(best).max() == 1:
        return rows, best
    columns = np.flatnonzero(gain_RC[rows].any(axis=0))
    loss = -gain_RC[np.ix_(rows, columns)]
    chosen_rows, chosen_columns = assign(loss)
    worth = loss[chosen_rows, chosen_columns] < 0
    return rows[chosen_rows[worth]], columns[chosen_columns[worth]]


def assign(cost_RC: Floats) -> tuple[Ints, Ints]:
    """Return rows and columns [min(R, C)] of the complete assignment of least total cost, rows ascending.

    Costs must be finite. Shortest augmenting paths with dual variables, O(n^3): Jonker and Volgenant, "A shortest
    augmenting path algorithm for dense and sparse linear assignment problems", Computing 38 (1987), in the form
    without their initial reductions (as in Crouse, "On implementing 2D rectangular assignment algorithms", 2016).
    """
    cost_RC = np.asarray(cost_RC, np.float64)
    num_rows, num_columns = cost_RC.shape
    if num_rows > num_columns:
        columns, rows = assign(cost_RC.T)
        order = rows.argsort()
        return rows[order], columns[order]
    row_dual_R = np.zeros(num_rows)
    column_dual_C = np.zeros(num_columns)
    row_of_C = np.full(num_columns, -1, np.int64)
    column_of_R = np.full(num_rows, -1, np.int64)
    for start in range(num_rows):
        shortest_C = np.full(num_columns, np.inf)
        previous_C = np.full(num_columns, -1, np.int64)
        open_C = np.ones(num_columns, np.bool_)
        seen_rows: list[int] = []
        row, length = start, 0.0
        while True:  # Dijkstra over the reduced costs, until it reaches a free column
            seen_rows.append(row)
            reach_C = length + cost_RC[row] - row_dual_R[row] - column_dual_C
            better_C = open_C & (reach_C < shortest_C)
            shortest_C[better_C] = reach_C[better_C]
            previous_C[better_C] = row
            column = int(np.where(open_C, shortest_C, np.inf).argmin())
            length = float(shortest_C[column])
            open_C[column] = False
            if row_of_C[column] < 0:
                break
            row = int(row_of_C[column])
        row_dual_R[start] += length
        for seen in seen_rows[1:]:
            row_dual_R[seen] += length - shortest_C[column_of_R[seen]]
        closed_C = ~open_C
        column_dual_C[closed_C] -= length - shortest_C[closed_C]
        while True:  # walk the path back and swap what was assigned
            row = int(previous_C[column])
            row_of_C[column] = row
            column, column_of_R[row] = int(column_of_R[row]), column
            if row == start:
                break
    return np.arange(num_rows), column_of_R
