"""What hypothesis makes predictions, samples and damaged messages of.

Shape letters: N items, H rows, W columns.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sightline.core.prediction import (
    Boxes,
    Finding,
    Findings,
    Generated,
    Labels,
    Mask,
    Prediction,
    Rejected,
    Scalar,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
shares = st.floats(0, 1, width=32)
whole = st.integers(-(2**53), 2**53)
times = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
stamps: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"model": st.none() | texts, "latency_ms": st.none() | st.floats(0, 1e6)}
)


@st.composite
def boxes(draw: st.DrawFn) -> Boxes:
    num = draw(st.integers(0, 4))

    def rows(items: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(items, min_size=num, max_size=num))

    pixels = st.floats(-5000, 5000, width=32)
    return Boxes(
        xyxy=np.array(rows(st.tuples(pixels, pixels, pixels, pixels)), np.float32).reshape(-1, 4),
        confidence=np.array(rows(shares), np.float32),
        class_id=np.array(rows(whole), np.int64),
        class_name=tuple(rows(texts)),
        tracker_id=np.array(rows(whole), np.int64) if num and draw(st.booleans()) else None,
        **draw(stamps),
    )


@st.composite
def labels(draw: st.DrawFn) -> Labels:
    items = draw(st.lists(st.tuples(whole, shares, texts), max_size=4))
    return Labels(
        class_id=np.array([item[0] for item in items], np.int64),
        confidence=np.array([item[1] for item in items], np.float32),
        class_name=tuple(item[2] for item in items),
        **draw(stamps),
    )


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    kinds: list[np.dtype[Any]] = [np.dtype(np.uint8), np.dtype(np.uint16)]
    dtype = draw(st.sampled_from(kinds))
    shape = draw(npst.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5))
    few = st.sampled_from([0, 1, 2, int(np.iinfo(dtype).max)])
    return Mask(
        labels_HW=draw(npst.arrays(dtype, shape, elements=few)),
        class_name=tuple(draw(st.lists(texts, max_size=3))),
        **draw(stamps),
    )


findings = st.builds(
    Finding,
    name=texts,
    value=st.none() | numbers | texts.filter(bool),
    unit=texts,
    subject=texts,
    event=st.none() | st.sampled_from(["line.crossed", "my.own"]),
    data=st.none() | json_objects,
)
plain: st.SearchStrategy[Prediction] = st.one_of(
    st.builds(lambda items, stamp: Findings(items=tuple(items), **stamp), st.lists(findings, max_size=3), stamps),
    st.builds(lambda stamp, **rest: Generated(**rest, **stamp), stamps, text=texts, num_tokens=whole),
    st.builds(lambda stamp, **rest: Scalar(**rest, **stamp), stamps, name=texts, value=numbers, unit=texts),
    st.builds(lambda stamp, **rest: Rejected(**rest, **stamp), stamps, reason=texts, kind=texts, stage=texts, by=texts),
)
predictions: st.SearchStrategy[Prediction] = st.one_of(boxes(), labels(), masks(), plain)


@st.composite
def damaged(draw: st.DrawFn, sound: st.SearchStrategy[Any]) -> Any:
    """Return a message in which one part, anywhere, was replaced, taken out or put in."""
    message = draw(sound)
    inside = message
    while isinstance(inside, dict | list) and inside:
        key = draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        deeper = inside[key]
        if isinstance(deeper, dict | list) and deeper and draw(st.integers(0, 3)):
            inside = deeper
            continue
        if draw(st.booleans()):
            inside[key] = draw(json_values)
        else:
            del inside[key]
        break
    return message
