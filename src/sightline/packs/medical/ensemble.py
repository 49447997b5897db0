"""What several models say of one volume becomes one mask, with a map of how sure and how much at one they are.

Shape letters: IJK voxel axes, L labels without the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidModel
from sightline.packs.medical.components import largest, occupied, present, without_holes
from sightline.packs.medical.rooms import pieces, room

Halves = npt.NDArray[np.float16]


def joined(
    members: Sequence[Halves], threshold: float
) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float16]]]:
    """Return the mask, uint8 [I, J, K], and its maps, float16 [I, J, K].

    The mean of the members decides: a voxel has the likeliest label where that has at least `threshold`. `probability`
    is the likeliest label's; `agreement`, where there are several members, is 1 minus the greatest difference between
    two of them.

    Args:
        members: probabilities of one model each, float16 [L, I, J, K].
        threshold: 0 to 1.
    """
    num_labels, *grid = members[0].shape
    shape = (grid[0], grid[1], grid[2])
    labels_IJK: npt.NDArray[np.uint8] = room(shape, np.uint8)
    alone = len(members) == 1
    if alone and num_labels == 1:
        [[probability]] = members
        for part in pieces(shape):
            labels_IJK[part] = probability[part].astype(np.float32) >= threshold
        return labels_IJK, {"probability": probability}
    maps: dict[str, npt.NDArray[Any]] = {"probability": room(shape, np.float16)}
    if not alone:
        maps["agreement"] = room(shape, np.float16)
    for part in pieces(shape, (32 << 20) // (num_labels * len(members))):
        said = [member[:, part].astype(np.float32) for member in members]
        mean_LIJK = said[0] if alone else np.mean(said, axis=0)
        best = mean_LIJK.argmax(axis=0)
        likeliest = mean_LIJK.max(axis=0)
        labels_IJK[part] = np.where(likeliest >= threshold, best + 1, 0)
        maps["probability"][part] = likeliest
        if not alone:
            spread = np.max(said, axis=0) - np.min(said, axis=0)
            maps["agreement"][part] = 1 - np.take_along_axis(spread, best[None], axis=0)[0]
    return labels_IJK, maps


def check_alike(labels: Sequence[tuple[str, ...]], refs: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of the members of an ensemble.

    Raises:
        InvalidModel: they are not the same.
    """
    for other, ref in zip(labels[1:], refs[1:], strict=True):
        if other != labels[0]:
            raise InvalidModel(
                f"{refs[0]} has the labels {', '.join(labels[0])}, {ref} has {', '.join(other)}.",
                cure="Members of an ensemble give the same labels in the same order.",
            )
    return labels[0]


def tidied(labels_IJK: npt.NDArray[np.uint8], *, only_largest: bool, fills_holes: bool) -> npt.NDArray[np.uint8]:
    """Return the mask as the card of its model wants it: one body for each label, without holes."""
    if not (only_largest or fills_holes):
        return labels_IJK
    where = occupied(labels_IJK)
    if where is None:
        return labels_IJK
    inner = labels_IJK[where]
    result = room(labels_IJK.shape, np.uint8)
    target = result[where]
    for value in present(inner):
        body = inner == value
        if only_largest:
            body = largest(body)
        if fills_holes:
            body = without_holes(body)
        target[body & (target == 0)] = value
    return result
