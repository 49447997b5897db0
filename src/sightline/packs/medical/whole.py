"""The box that a first net finds for a second one, which sees it whole.

Shape letters: IJK voxel axes; DHW those of the first net.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import NotProcessed
from sightline.packs.medical.components import largest

Box = tuple[slice, slice, slice]


def whole_box(shape: tuple[int, ...]) -> Box:
    """Return the box that holds all of a volume."""
    return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])


def box_of(outline_DHW: npt.NDArray[Any], shape: tuple[int, ...], margin: float, share: float) -> Box:
    """Return the box, in voxels of a volume of `shape`, of what a net found at its own size.

    As PyPI deepbet 1.0.2 (`get_bbox_with_margin`): of the largest component above 0.5, the planes of which more than
    `share` is found, and `margin` of their number on each side.

    Raises:
        NotProcessed: hardly anything was found.
    """
    found_DHW = largest(outline_DHW > 0.5, connectivity=26)
    edges = []
    for axis, num in enumerate(shape):
        others = tuple(other for other in range(3) if other != axis)
        planes = np.flatnonzero(found_DHW.mean(axis=others) > share)
        if not len(planes):
            raise NotProcessed(
                "The net that looks for the head finds none in the volume.",
                cure="This model is for whole heads; choose another profile or model.",
            )
        ratio = num / outline_DHW.shape[axis]
        low, high = int(planes[0]), int(planes[-1]) + 1
        centre = np.round(ratio * (low + high) / 2)
        side = np.round((1 + 2 * margin) * ratio * (high - low))
        edges.append(slice(max(0, int(centre - side / 2)), min(num, int(centre + side / 2))))
    return edges[0], edges[1], edges[2]
