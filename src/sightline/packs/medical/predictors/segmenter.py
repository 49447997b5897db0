"""Says what each voxel of a volume is.

Shape letters: IJK voxel axes, L labels without the background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import Cancelled, ConfigError, InvalidInput, ModelNotFound
from sightline.core.model import ModelCard
from sightline.core.plugins import Context, Predictor
from sightline.core.prediction import Mask
from sightline.core.sample import Sample, Volume
from sightline.packs.medical.cache import ContentCache, cache_key, content_digest
from sightline.packs.medical.components import without_small
from sightline.packs.medical.debugging import Intermediates
from sightline.packs.medical.ensemble import check_alike, joined, tidied
from sightline.packs.medical.grids import voxel_volume_mm3
from sightline.packs.medical.profiles import Profiled
from sightline.packs.medical.recipes import PRESETS, TASK, completed_card
from sightline.packs.medical.segmentation_model import SegmentationModel

_LOOKING = ("spacing_mm", "tile", "overlap", "blend", "flips")
"""Fields of a profile that change what a net says."""


@dataclass(kw_only=True)
class VolumeSegmenter(Profiled, Predictor):
    """A label for each voxel of a volume, on the grid of that volume, and how sure that is.

    How a model is fed and read stands in its card; see `docs/how-to/segment-a-volume.md`. What was computed once of
    equal voxels, models and profile is taken from the artifact store (`cache/medical/`), by any process.

    Attributes:
        model: reference of the model, where the profile names no members.
        threshold: probability from which a voxel counts, in place of the profile's, 0 to 1.
        cache_bytes: most bytes that results may take in the artifact store; 0 keeps none.
        cache_days: results that are older go.
        debug_dir: folder for what lies on the way to the mask as NIfTI and PNG, by run: the volume, what each net is
            given before and after its values are scaled, what each member of an ensemble says, the mask before it is
            tidied. Nothing is taken from the cache then. Empty: none is kept.
    """

    model: str = "deepbrain"
    threshold: float | None = None
    cache_bytes: int = 4 << 30
    cache_days: float = 30.0
    debug_dir: str = ""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold is {self.threshold}; it must lie between 0 and 1.")
        if self.cache_bytes < 0 or self.cache_days <= 0:
            raise ConfigError("cache_bytes must not be negative, and cache_days above 0.")

    @classmethod
    def completed(cls, card: ModelCard, preset: str = "") -> ModelCard:
        """Return `card` with what its inputs and outputs, and the recipe called `preset`, tell; see `Predictor`."""
        return completed_card(card, preset)

    def open(self, context: Context) -> None:
        """Open the models of the profile.

        Raises:
            InvalidInput: there is no such profile.
            ConfigError: its file is wrong.
            ModelNotFound: a member of the profile was not added; the cure is the command that adds it.
            InvalidModel: a card lacks something, or members give different labels.
        """
        super().open(context)
        if self.threshold is not None:
            self._profile = replace(self._profile, threshold=self.threshold)
        self._kept = Intermediates(self.debug_dir, context, "1-mask")
        refs = self._profile.members or (self.model,)
        self._members = [self._opened(ref) for ref in refs]
        self._labels = check_alike([each.labels for each in self._members], [each.card.ref for each in self._members])
        self._cache = ContentCache(
            context.ports.artifacts,
            max_bytes=self.cache_bytes,
            max_age=timedelta(days=self.cache_days),
            now=context.now,
        )

    def predict(self, samples: Sequence[Sample[Volume]]) -> Sequence[Mask]:
        """Return the mask of each volume."""
        return [self._mask(sample) for sample in samples]

    def _opened(self, ref: str) -> SegmentationModel:
        try:
            return SegmentationModel(self.context.open_model(ref), self.context.open_model)
        except ModelNotFound as error:
            missing = next((name for name in PRESETS if f"'{name}'" in str(error)), ref)
            recipe = f"--preprocess {missing}" if missing in PRESETS else "--preprocess JSON"
            cure = f"Add it: sightline models add FILE.onnx --name {missing} --task {TASK} {recipe}"
            of = f"The profile {self._profile.name!r} needs {ref}. " if self._profile.members else ""
            raise ModelNotFound(f"{of}{error.message}", cure=cure) from None

    def _mask(self, sample: Sample[Volume]) -> Mask:
        volume = sample.payload
        if not isinstance(volume, Volume):
            raise InvalidInput(
                f"The sample {sample.id} holds a {type(volume).__name__}, not a Volume.",
                cure="Use this predictor behind a source of volumes, such as study.",
            )
        modality = str((sample.metadata.get("study") or {}).get("modality") or "")
        self._kept.keep("volume", volume.voxels_IJK, volume.affine, modality=modality)
        content = content_digest(volume.voxels_IJK, volume.affine)
        looking = {name: value for name, value in self._profile.to_json().items() if name in _LOOKING}
        deciding = {
            "threshold": self._profile.threshold,
            "minimum_volume_mm3": self._profile.minimum_volume_mm3,
            "connectivity": self._profile.connectivity,
        }
        models = [self._identity(each) for each in self._members]
        key = cache_key("mask", content=content, models=models, looking=looking, deciding=deciding)
        found = self._known(key)
        if found is None or found.get("labels", volume.voxels_IJK).shape != volume.voxels_IJK.shape:
            labels_IJK, maps = self._decided(volume, content, looking)
            found = {"labels": labels_IJK, **maps}
            self._cache.put(key, found)
        self.context.progress(1.0, "segment")
        names = self._labels or ("background", *(str(number) for number in range(1, int(found["labels"].max()) + 1)))
        return Mask(
            labels_HW=found.pop("labels"),
            class_name=names,
            maps=found,
            # Told here, for the pipeline learns it from the calls, and there are none where the cache knows the answer.
            model=" + ".join(each.card.ref for each in self._members),
        )

    def _decided(
        self, volume: Volume, content: str, looking: dict[str, Any]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, npt.NDArray[np.float16]]]:
        said = [self._said(number, volume, content, looking) for number in range(len(self._members))]
        labels_IJK, maps = joined(said, self._profile.threshold)
        self._kept.keep("untidied", labels_IJK, volume.affine)
        recipes = [member.recipe for member in self._members]
        labels_IJK = tidied(
            labels_IJK,
            only_largest=any(recipe.largest for recipe in recipes),
            fills_holes=any(recipe.fills_holes for recipe in recipes),
        )
        least = self._profile.minimum_volume_mm3 / voxel_volume_mm3(volume.affine)
        return without_small(labels_IJK, least, self._profile.connectivity), maps

    def _said(self, number: int, volume: Volume, content: str, looking: dict[str, Any]) -> npt.NDArray[np.float16]:
        """Return what one member says, from the cache where it said it before."""
        member = self._members[number]
        key = cache_key("member", content=content, model=self._identity(member), looking=looking)
        found = self._known(key)
        if found is not None and found["said"].shape[1:] == volume.voxels_IJK.shape:
            return found["said"]

        def done(num: int, of: int) -> None:
            if self.context.stopping.is_set():
                raise Cancelled("The volume is no longer wanted.")
            self.context.progress((number + num / of) / len(self._members), "segment")

        def seen(name: str, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
            self._kept.keep(f"{member.card.name}_{name}", voxels, affine)

        watched = seen if self._kept.is_on else None
        said = member.probabilities(volume.voxels_IJK, volume.affine, self._profile, done, watched)
        for label, values in enumerate(said if watched else (), 1):
            name = self._labels[label] if label < len(self._labels) else str(label)
            self._kept.keep(f"{member.card.name}_{name}", values, volume.affine)
        self._cache.put(key, {"said": said})
        return said

    def _known(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return what was computed before; nothing where somebody wants to see how it is computed."""
        return None if self._kept.is_on else self._cache.get(key)

    def _identity(self, member: SegmentationModel) -> dict[str, Any]:
        """Return all of a model that its answer depends on: two cards may read one file in different ways."""
        cards = [member.card, *([member.box.card] if member.box else [])]
        return {
            "files": list(member.digests),
            "cards": [[dict(card.preprocessing), dict(card.postprocessing), list(card.labels)] for card in cards],
        }
