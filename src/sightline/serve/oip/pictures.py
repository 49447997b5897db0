"""Pictures sent as BYTES to a model whose card says that it looks at pictures: the server decodes and prepares them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from sightline.core.errors import InvalidInput
from sightline.core.model import ModelCard
from sightline.core.ports import Array, Tensors

if TYPE_CHECKING:
    from sightline.engine.requests import Requests

_MOST_PICTURES = 64


def holds_pictures(feeds: Tensors, card: ModelCard) -> bool:
    """Return whether the one input is BYTES, and the model wants numbers and says how pictures become them."""
    if len(feeds) != 1 or not card.preprocessing:
        return False
    [array] = feeds.values()
    return array.dtype.kind == "O" and all(spec.dtype != "object" for spec in card.inputs)


def picture_feeds(pictures: Tensors, requests: Requests) -> dict[str, Array]:
    """Return the input tensor of encoded pictures, one row a picture.

    Args:
        pictures: one array of `bytes`, each the contents of a picture file.
        requests: decodes pictures and prepares them for the model.

    Raises:
        InvalidInput: there is none, or they are too many.
        InvalidMedia: one is no picture.
    """
    [files] = pictures.values()
    if not 0 < files.size <= _MOST_PICTURES:
        raise InvalidInput(f"{files.size} pictures were sent; 1 to {_MOST_PICTURES} are taken.")
    prepared = [
        requests.feeds(requests.load(io.BytesIO(file), f"picture {number}" if files.size > 1 else "the picture", ""))
        for number, file in enumerate(files.ravel().tolist())
    ]
    if len(prepared) == 1:
        return dict(prepared[0])
    return {name: np.concatenate([feeds[name] for feeds in prepared]) for name in prepared[0]}
