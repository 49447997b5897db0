"""A batch of work: runs the model on it and gives every caller its rows.

Knows tensors, and what nets do with their first axis; the queue that the batch comes from is in `engine/work`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sightline.core.errors import InvalidInput
from sightline.core.ports import Array, Tensors
from sightline.engine.work import Work


def run_batch(
    batch: Sequence[Work],
    run: Callable[[Tensors], Mapping[str, Array]],
    *,
    fixed_rows: int | None,
    batchable: bool,
) -> bool:
    """Run the model on `batch` and answer every future; return False when its outputs cannot be split by rows.

    Args:
        batch: work of one signature.
        run: the session's run.
        fixed_rows: the number of rows that the net insists on; None when it takes any number.
        batchable: False runs every work by itself, as it is.
    """
    if not batchable:
        for work in batch:
            _answer_as_it_is(work, run)
        return True
    if len(batch) == 1:
        return _answered_alone(batch, run, fixed_rows)
    rows = sum(work.rows for work in batch)
    begin_s = time.monotonic()
    try:
        feeds = {name: np.concatenate([work.feeds[name] for work in batch]) for name in batch[0].feeds}
        outputs = _in_parcels(feeds, rows, run, fixed_rows)
    except Exception:  # noqa: BLE001 - whatever it is, it must reach the one caller whose rows caused it
        return _answered_alone(batch, run, fixed_rows)
    if outputs is None or not _by_rows(outputs, rows):
        _answered_alone(batch, run, fixed_rows)
        return False
    start, end_s = 0, time.monotonic()
    for work in batch:
        work.ran(begin_s, end_s)
        part = slice(start, start + work.rows)
        work.future.set_result({name: tensor[part] for name, tensor in outputs.items()})
        start += work.rows
    return True


def _answered_alone(
    batch: Sequence[Work], run: Callable[[Tensors], Mapping[str, Array]], fixed_rows: int | None
) -> bool:
    """Run every work by itself; return False when the outputs of one cannot be split by rows."""
    split = True
    for work in batch:
        begin_s = time.monotonic()
        try:
            outputs = _in_parcels(work.feeds, work.rows, run, fixed_rows)
            if outputs is None:
                raise InvalidInput(
                    f"The model takes {fixed_rows} rows at once and its outputs cannot be told apart by rows, so it "
                    f"cannot take {work.rows}.",
                    cure=f"Give it {fixed_rows} rows a call.",
                )
        except Exception as error:  # noqa: BLE001 - it belongs to the caller, who waits for it
            work.future.set_exception(error)
        else:
            work.ran(begin_s, time.monotonic())
            split = split and _by_rows(outputs, work.rows)
            work.future.set_result(outputs)
    return split


def _in_parcels(
    feeds: Tensors, rows: int, run: Callable[[Tensors], Mapping[str, Array]], fixed_rows: int | None
) -> dict[str, Array] | None:
    """Run a net with a fixed number of rows as often as needed; the last parcel is filled with its last row.

    None when that takes more than one call, or less than a whole one, and an output has not a row for each row.
    """
    if fixed_rows is None or rows == fixed_rows:
        return dict(run(feeds))
    parts: list[Mapping[str, Array]] = []
    for start in range(0, rows, fixed_rows):
        parcel = {name: tensor[start : start + fixed_rows] for name, tensor in feeds.items()}
        missing = fixed_rows - min(fixed_rows, rows - start)
        if missing:
            parcel = {
                name: np.concatenate([tensor, np.repeat(tensor[-1:], missing, axis=0)])
                for name, tensor in parcel.items()
            }
        outputs = run(parcel)
        if not _by_rows(outputs, fixed_rows):
            return None
        parts.append({name: tensor[: fixed_rows - missing] for name, tensor in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _by_rows(outputs: Mapping[str, Array], rows: int) -> bool:
    """Return whether every output has a row for each row of the inputs."""
    return all(tensor.ndim > 0 and len(tensor) == rows for tensor in outputs.values())


def _answer_as_it_is(work: Work, run: Callable[[Tensors], Mapping[str, Array]]) -> None:
    begin_s = time.monotonic()
    try:
        outputs = dict(run(work.feeds))
    except Exception as error:  # noqa: BLE001 - it belongs to the caller, who waits for it
        work.future.set_exception(error)
    else:
        work.ran(begin_s, time.monotonic())
        work.future.set_result(outputs)
