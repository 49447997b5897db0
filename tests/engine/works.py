"""Work for the queue of a model. Shape letters: N rows, C columns."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np

from sightline.core.ports import Array, Tensors
from sightline.engine.call import Call, Priority
from sightline.engine.work import Work, make_work


def work(
    rows: int = 1, priority: Priority = Priority.REQUEST, *, value: float = 0, width: int = 2, **call: Any
) -> Work:
    x_NC = np.full((rows, width), value, np.float32)
    return make_work({"x": x_NC}, Call(priority=priority, **call))


def doubled(feeds: Tensors) -> Mapping[str, Array]:
    return {"y": feeds["x"] * 2}


def error_of(future: Future[Any]) -> BaseException | None:
    return future.exception(timeout=20)
