"""An open model that gives each voxel of a volume a probability for each of its labels, on the grid of the volume.

Knows how a volume gets to the net and back, for nets that see it `whole` and for those that see windows (`sliding`).
What a mask is made of that for is `ensemble`'s business.

Shape letters: IJK voxel axes of the volume as it was taken, C channels of the net, L labels without the background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import InvalidModel
from sightline.core.model import ModelCard
from sightline.core.ports import Array, ModelHandle
from sightline.packs.medical.grids import (
    Affine,
    checked_affine,
    is_sheared,
    resized_affine,
    sampled,
    spacing_of,
    turn_to,
    upright,
)
from sightline.packs.medical.profiles import Profile
from sightline.packs.medical.recipes import recipe_of
from sightline.packs.medical.resampling import resized
from sightline.packs.medical.rooms import room
from sightline.packs.medical.scaling import Scaling
from sightline.packs.medical.sliding import Windows, num_windows, slide
from sightline.packs.medical.whole import box_of, whole_box

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Done = Callable[[int, int], None]
"""Is told how many calls of the net are done, of how many; may raise to end the work."""

Seen = Callable[[str, npt.NDArray[Any], Affine], None]
"""Is shown what lies on the way: what it is, its voxels, and their place in the patient."""

_ALIKE = 0.01  # share by which a spacing may differ from the wanted one without being resampled


@dataclass(frozen=True, kw_only=True)
class _Look:
    """How a volume is looked at, and who watches."""

    profile: Profile
    done: Done
    seen: Seen | None

    def show(self, name: str, voxels: npt.NDArray[Any], affine: Affine) -> None:
        if self.seen is not None:
            self.seen(name, voxels, affine)


class SegmentationModel:
    """An open model with its recipe.

    Args:
        handle: the open model.
        open_model: opens the model that finds the box, where the card names one.

    Attributes:
        card: the model's card.
        recipe: what it says.
        labels: names of all labels, the background first.

    Raises:
        InvalidModel: the card is for another task, or something in it is missing, unknown or wrong.
    """

    def __init__(self, handle: ModelHandle, open_model: Callable[[str], ModelHandle]) -> None:
        self._handle = handle
        self.card: ModelCard = handle.card
        self.recipe = recipe_of(self.card)
        self.box: SegmentationModel | None = None
        if self.recipe.box_model:
            self.box = SegmentationModel(open_model(self.recipe.box_model), open_model)
            if self.box.recipe.inference != "whole" or self.box.recipe.box_model:
                raise InvalidModel(
                    f"The model {self.box.card.ref} cannot find a box for {self.card.ref}.",
                    cure="A box_model sees the volume whole, and has no box_model itself.",
                )
        self.labels = tuple(label or str(number) for number, label in enumerate(self.card.labels))

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of all files that have a say in the answer."""
        own = self.card.digest or self.card.ref
        return (own,) if self.box is None else (own, *self.box.digests)

    def probabilities(
        self,
        voxels_IJK: npt.NDArray[Any],
        affine: Affine,
        profile: Profile,
        done: Done = lambda *_: None,
        seen: Seen | None = None,
    ) -> Halves:
        """Return the probability of each label but the background at each voxel, float16 [L, I, J, K].

        Args:
            voxels_IJK: any type of number.
            affine: voxel index to RAS mm.
            profile: how carefully it is looked at.
            done: see `Done`.
            seen: is shown `resampled` and `scaled`, what the net is given before and after its values are scaled.

        Raises:
            InvalidInput: the affine gives the voxels no place in space.
            InvalidModel: the net gives something else than its card says.
        """
        look = _Look(profile=profile, done=done, seen=seen)
        turn = turn_to(checked_affine(affine))
        turned, lead = turn.applied(voxels_IJK), turn.affine(affine, voxels_IJK.shape)
        if not is_sheared(lead):
            return turn.undone(self._looked(turned, lead, look))
        # What a net learned from is square to the patient: it is shown the box, and asked at the sheared voxels.
        box, shape = upright(lead, turned.shape)
        fill = float(np.min(turned))
        squared = self._looked(sampled(turned, lead, box, shape, order=1, fill=fill), box, look)
        back = room((len(squared), *turned.shape), np.float16)
        for found, asked in zip(back, squared, strict=True):
            found[:] = sampled(asked.astype(np.float32), box, lead, turned.shape, order=1, fill=0)
        return turn.undone(back)

    def _looked(self, volume: npt.NDArray[Any], affine: Affine, look: _Look) -> Halves:
        """Return the probabilities of a volume whose axes are square and in the order RAS."""
        turn = turn_to(affine, self.recipe.orientation)
        turned, placed = turn.applied(volume), turn.affine(affine, volume.shape)
        axes = _axes_of(self.recipe.orientation)
        flips = [tuple(axes[letter] for letter in word) for word in look.profile.flips]
        if self.recipe.inference == "whole":
            found = self._whole(turned, placed, flips, look)
        else:
            found = self._sliding(turned, placed, flips, look)
        return turn.undone(found)

    def _whole(self, volume: npt.NDArray[Any], affine: Affine, flips: Sequence[tuple[int, ...]], look: _Look) -> Halves:
        recipe = self.recipe
        where = whole_box(volume.shape)
        limits = None
        if recipe.normalising.kind == "percentile":  # of all of it, also where only a box is looked at
            limits = recipe.normalising.limits(volume)
        if self.box is not None:
            [outline, *_] = self.box.outlined(volume)
            where = box_of(outline, volume.shape, recipe.box_margin, recipe.box_share)
            look.done(0, 1)
        part = volume[where]
        small = resized(part, recipe.size, recipe.interpolation)
        scaled = recipe.normalising.fitted(small, limits)(small)
        placed = resized_affine(affine, part.shape, small.shape, [each.start for each in where])
        look.show("resampled", small, placed)
        look.show("scaled", scaled, placed)
        small_LDHW = self._activated(self._asked(scaled, flips).result())
        look.done(1, 1)
        found = room((len(small_LDHW), *volume.shape), np.float16)
        for label, values in zip(found, small_LDHW, strict=True):
            label[where] = resized(values, part.shape, recipe.interpolation)
        return found

    def outlined(self, volume: npt.NDArray[Any]) -> Floats:
        """Return the probabilities at the size of the net, float32 [L, D, H, W]; for finding a box."""
        small = resized(volume, self.recipe.size, self.recipe.interpolation)
        return self._activated(self._asked(self.recipe.normalising.fitted(small)(small), ()).result())

    def _sliding(
        self, volume: npt.NDArray[Any], affine: Affine, flips: Sequence[tuple[int, ...]], look: _Look
    ) -> Halves:
        profile, done = look.profile, look.done
        seen = self._at_spacing(volume, affine, profile)
        windows = Windows(tile=profile.tile or self.recipe.size, overlap=profile.overlap, blend=profile.blend)
        scaling: Scaling = self.recipe.normalising.fitted(seen)
        if look.seen is not None:  # windows are scaled one by one; the whole is made to be looked at only
            placed = resized_affine(affine, volume.shape, seen.shape)
            look.show("resampled", seen, placed)
            look.show("scaled", scaling(seen), placed)
        found: Halves | None = None
        done(0, num_windows(seen.shape, windows))
        for slab in slide(seen, scaling, lambda piece: self._asked(piece, flips), windows, done=done):
            part = self._activated(slab.outputs_CIJK)
            if found is None:
                found = room((len(part), *seen.shape), np.float16)
            found[(slice(None), *slab.where)] = part
        if found is None:
            raise InvalidModel(f"The model {self.card.ref} was shown a volume without voxels.")
        if seen.shape == volume.shape:
            return found
        back = room((len(found), *volume.shape), np.float16)
        for target, values in zip(back, found, strict=True):
            target[:] = resized(values, volume.shape, "linear")
        return back

    def _at_spacing(self, volume: npt.NDArray[Any], affine: Affine, profile: Profile) -> npt.NDArray[Any]:
        """Return the volume at the spacing that the profile, else the card, wants."""
        if profile.spacing_mm is not None:  # is told for right, front and up
            axes = _axes_of(self.recipe.orientation)
            wanted = np.empty(3)
            wanted[[axes["x"], axes["y"], axes["z"]]] = profile.spacing_mm
        elif self.recipe.spacing_mm is not None:
            wanted = np.array(self.recipe.spacing_mm)
        else:
            return volume
        ratio = spacing_of(affine) / wanted
        if np.abs(ratio - 1).max() <= _ALIKE:
            return volume
        shape = [max(1, round(num * share)) for num, share in zip(volume.shape, ratio.tolist(), strict=True)]
        return resized(volume, (shape[0], shape[1], shape[2]), "area")

    def _asked(self, piece: Floats, flips: Sequence[tuple[int, ...]]) -> Future[Floats]:
        """Ask the net about a piece, and about its mirror images; the answer is their mean."""
        return _Answer(
            [(axes, self._handle.submit({self.recipe.input: self._tensor(piece, axes)})) for axes in ((), *flips)],
            self._read,
        )

    def _tensor(self, piece: Floats, axes: tuple[int, ...]) -> Array:
        seen = np.flip(piece, axes) if axes else piece
        tensor = seen[None, ..., None] if self.recipe.channels_last else seen[None, None]
        return np.ascontiguousarray(tensor, self.recipe.dtype)

    def _read(self, outputs: dict[str, Array]) -> Floats:
        """Return the output that counts, float32 [C, D, H, W]."""
        output = outputs.get(self.recipe.output)
        if output is None:
            raise InvalidModel(
                f"The model {self.card.ref} gives no output {self.recipe.output!r}, only {', '.join(outputs)}."
            )
        if output.ndim != 5 or len(output) != 1:
            raise InvalidModel(
                f"The model {self.card.ref} gives {list(output.shape)}; a volume in its layout is wanted.",
                cure="Export it with an output of five axes, of one row.",
            )
        return np.asarray(np.moveaxis(output[0], -1, 0) if self.recipe.channels_last else output[0], np.float32)

    def _activated(self, outputs_CDHW: Floats) -> Floats:
        """Return the probabilities of the labels but the background, float32 [L, D, H, W]; may change the outputs."""
        recipe = self.recipe
        if recipe.activation == "sigmoid":
            # By tanh: exp would overflow for scores far below 0.
            outputs_CDHW *= 0.5
            np.tanh(outputs_CDHW, out=outputs_CDHW)
            outputs_CDHW += 1
            outputs_CDHW *= 0.5
        elif recipe.activation == "softmax":
            outputs_CDHW -= outputs_CDHW.max(axis=0)
            np.exp(outputs_CDHW, out=outputs_CDHW)
            outputs_CDHW /= outputs_CDHW.sum(axis=0)
        has_background = len(outputs_CDHW) > 1 if recipe.has_background is None else recipe.has_background
        found = outputs_CDHW[1:] if has_background else outputs_CDHW
        if not len(found) or (self.labels and len(self.labels) != len(found) + 1):
            raise InvalidModel(
                f"The model {self.card.ref} gives {len(found)} labels beside the background, its card names "
                f"{max(0, len(self.labels) - 1)}.",
                cure="Correct the labels, the background first: sightline models add FILE --labels background,brain",
            )
        return found


class _Answer(Future[Floats]):
    """The mean of several answers of a net; the piece of each was mirrored along some axes."""

    def __init__(
        self,
        asked: Sequence[tuple[tuple[int, ...], Future[dict[str, Array]]]],
        read: Callable[[dict[str, Array]], Floats],
    ) -> None:
        super().__init__()
        self._asked, self._read = asked, read

    def result(self, timeout: float | None = None) -> Floats:
        """Return the mean; float32 [C, D, H, W] that may be written."""
        total: Floats | None = None
        for axes, future in self._asked:
            output = self._read(future.result(timeout))
            if axes:
                output = np.flip(output, tuple(axis + 1 for axis in axes))
            if total is None:
                total = output if output.flags.writeable and len(self._asked) == 1 else output.copy()
            else:
                total += output
        if total is None:
            raise ValueError("nothing was asked")
        if len(self._asked) > 1:
            total /= len(self._asked)
        return total

    def cancel(self) -> bool:
        """Cancel what was not begun."""
        cancelled = [future.cancel() for _, future in self._asked]
        return all(cancelled)


def _axes_of(orientation: str) -> dict[str, int]:
    """Return which voxel axis runs left-right (x), back-front (y) and down-up (z)."""
    pairs = {"x": "RL", "y": "AP", "z": "SI"}
    return {name: next(n for n, letter in enumerate(orientation) if letter in pair) for name, pair in pairs.items()}
