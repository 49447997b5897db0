from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from tests.packs.medical.analysis.nets import Counted, card_of, conv_net, same_kernel, sample_of

from sightline.core.errors import Cancelled, ConfigError, InvalidInput, InvalidModel, ModelNotFound
from sightline.core.prediction import Mask
from sightline.packs.medical.predictors.segmenter import VolumeSegmenter
from sightline.testing import FakePorts, make_context, make_frame


@pytest.fixture
def nets(tmp_path: Path) -> dict[str, Counted]:
    """A net that gives the voxel itself, and one that gives half of it."""
    return {
        name: Counted(conv_net(tmp_path / f"{name}.onnx", card_of(name), same_kernel(factor)))
        for name, factor in (("same", 1.0), ("half", 0.5))
    }


@pytest.fixture
def profiles(tmp_path: Path) -> str:
    (tmp_path / "plain.yaml").write_text("threshold: 0.5\nminimum_volume_mm3: 2\noverlap: 0\n")
    (tmp_path / "both.yaml").write_text("members: [same, half]\nthreshold: 0.5\noverlap: 0\n")
    (tmp_path / "missing.yaml").write_text("members: [same, deepbet]\n")
    return str(tmp_path)


def opened(nets: Mapping[str, Counted], ports: FakePorts | None = None, **fields: Any) -> VolumeSegmenter:
    segmenter = VolumeSegmenter(**{"model": "same", **fields})
    segmenter.open(make_context(models=nets, ports=ports))
    return segmenter


def mask_of(segmenter: VolumeSegmenter, voxels: npt.NDArray[Any], affine: Any = None) -> Mask:
    [mask] = segmenter.predict([sample_of(voxels, affine)])
    return mask


def blocks() -> npt.NDArray[np.float32]:
    voxels = np.zeros((12, 10, 9), np.float32)
    voxels[2:5, 2:5, 2:5], voxels[7:9, 6, 6], voxels[0, 0, 0] = 0.9, 0.7, 0.9
    return voxels


def test_a_mask_lies_on_the_grid_of_its_volume_and_says_how_sure_it_is(nets: Any, profiles: str) -> None:
    mask = mask_of(opened(nets, profile="plain", profiles=profiles), blocks())
    assert mask.labels_HW.shape == (12, 10, 9)
    assert mask.labels_HW.dtype == np.uint8
    assert mask.class_name == ("background", "lesion")
    assert set(mask.maps) == {"probability"}
    assert mask.maps["probability"][2, 2, 2] == np.float16(0.9)
    assert mask.labels_HW.sum() == 27 + 2  # the single voxel is below 2 mm3
    assert mask.model == "same@1"


def test_the_threshold_of_a_request_goes_before_the_profiles(nets: Any, profiles: str) -> None:
    assert mask_of(opened(nets, profile="plain", profiles=profiles, threshold=0.8), blocks()).labels_HW.sum() == 27


def test_members_are_averaged_and_tell_where_they_agree(nets: Any, profiles: str) -> None:
    mask = mask_of(opened(nets, profile="both", profiles=profiles), blocks())
    assert mask.maps["probability"][2, 2, 2] == pytest.approx(0.675, abs=1e-3)
    assert mask.maps["agreement"][2, 2, 2] == pytest.approx(0.55, abs=1e-3)
    assert mask.maps["agreement"][5, 5, 5] == 1
    assert mask.labels_HW[7, 6, 6] == 1  # 0.7 and 0.35 make 0.525
    assert mask.model == "same@1 + half@1"


def test_a_member_that_is_missing_is_told_with_the_command_that_adds_it(nets: Any, profiles: str) -> None:
    with pytest.raises(ModelNotFound, match="The profile 'missing' needs deepbet") as caught:
        opened(nets, profile="missing", profiles=profiles)
    command = "sightline models add FILE.onnx --name deepbet --task volume-segmentation --preprocess deepbet"
    assert command in caught.value.cure


def test_members_of_other_labels_are_no_ensemble(nets: Any, profiles: str, tmp_path: Path) -> None:
    card = card_of("half", labels=("background", "liver"))
    other = {**nets, "half": Counted(conv_net(tmp_path / "liver.onnx", card, same_kernel(0.5)))}
    with pytest.raises(InvalidModel, match="same@1 has the labels background, lesion, half@1 has background, liver"):
        opened(other, profile="both", profiles=profiles)


def test_equal_content_runs_no_net_a_second_time(nets: Any, profiles: str) -> None:
    ports = FakePorts()
    first = mask_of(opened(nets, ports, profile="both", profiles=profiles), blocks())
    calls = nets["same"].calls, nets["half"].calls
    again = mask_of(opened(nets, ports, profile="both", profiles=profiles), blocks().copy(order="F"))
    assert (nets["same"].calls, nets["half"].calls) == calls
    np.testing.assert_array_equal(again.labels_HW, first.labels_HW)
    assert again.maps.keys() == first.maps.keys()
    for word in first.maps:
        np.testing.assert_array_equal(again.maps[word], first.maps[word])
    assert (again.class_name, again.model) == (first.class_name, first.model)


def test_another_threshold_takes_what_the_nets_said_before(nets: Any, profiles: str) -> None:
    ports = FakePorts()
    mask_of(opened(nets, ports, profile="plain", profiles=profiles), blocks())
    calls = nets["same"].calls
    assert (
        mask_of(opened(nets, ports, profile="plain", profiles=profiles, threshold=0.8), blocks()).labels_HW.sum() == 27
    )
    assert nets["same"].calls == calls


def test_other_voxels_another_place_another_card_and_no_cache_run_the_net(
    nets: Any, profiles: str, tmp_path: Path
) -> None:
    ports = FakePorts()

    def calls_of(voxels: npt.NDArray[Any], affine: Any = None, net: Counted = nets["same"], **fields: Any) -> int:
        before = net.calls
        mask_of(opened({"same": net}, ports, profile="plain", profiles=profiles, **fields), voxels, affine)
        return net.calls - before

    assert calls_of(blocks()) > 0
    assert calls_of(blocks()) == 0
    other = blocks()
    other[11, 9, 8] = 0.1
    assert calls_of(other) > 0
    assert calls_of(blocks(), np.diag([2.0, 1, 1, 1])) > 0
    card = card_of("same", normalise={"kind": "max"})
    assert calls_of(blocks(), net=Counted(conv_net(tmp_path / "max.onnx", card, same_kernel(1.0)))) > 0
    assert calls_of(blocks(), cache_bytes=0) > 0


def test_a_damaged_entry_of_the_cache_is_computed_anew(nets: Any, profiles: str) -> None:
    ports = FakePorts()
    wanted = mask_of(opened(nets, ports, profile="plain", profiles=profiles), blocks())
    for key in list(ports.artifacts.list("cache/medical/")):
        ports.artifacts.put(key, ports.artifacts.open(key).read()[:40])
    again = mask_of(opened(nets, ports, profile="plain", profiles=profiles), blocks())
    np.testing.assert_array_equal(again.labels_HW, wanted.labels_HW)


def test_what_lies_on_the_way_is_kept_where_somebody_looks_for_a_mistake(
    nets: Any, profiles: str, tmp_path: Path
) -> None:
    ports, affine = FakePorts(), np.diag([1.5, -1.0, 1.0, 1.0])
    mask_of(opened(nets, ports, profile="plain", profiles=profiles), blocks(), affine)
    calls, seen = nets["same"].calls, tmp_path / "seen"
    found = mask_of(opened(nets, ports, profile="plain", profiles=profiles, debug_dir=str(seen)), blocks(), affine)

    assert nets["same"].calls > calls  # the cache knew the answer, and shows nothing of the way
    names = ["volume", "same_resampled", "same_scaled", "same_lesion", "untidied"]
    stems = [f"1-mask-{number:02d}-{name}" for number, name in enumerate(names, 1)]
    files = sorted(path.name for path in (seen / "run").iterdir())
    assert files == sorted(f"{stem}{end}" for stem in stems for end in (".nii.gz", ".png"))

    def image(stem: str) -> Any:
        return nib.load(seen / "run" / f"{stem}.nii.gz")

    np.testing.assert_array_equal(np.asarray(image(stems[0]).dataobj), blocks())
    np.testing.assert_array_equal(np.asarray(image(stems[1]).dataobj), blocks()[:, ::-1])  # as the net sees it: RAS
    np.testing.assert_allclose(image(stems[1]).affine[:3, 3], (affine @ [0, 9, 0, 1])[:3])
    assert np.asarray(image(stems[4]).dataobj).sum() == found.labels_HW.sum() + 1  # a single voxel is tidied away


def test_work_that_is_no_longer_wanted_ends_between_two_windows(nets: Any, profiles: str) -> None:
    stopping = Event()
    shares: list[float] = []

    def progress(share: float, stage: str) -> None:
        shares.append(share)
        assert stage == "segment"
        if share > 0.3:
            stopping.set()

    segmenter = VolumeSegmenter(model="same", profile="plain", profiles=profiles)
    segmenter.open(make_context(models=nets, stopping=stopping, progress=progress))
    with pytest.raises(Cancelled):
        segmenter.predict([sample_of(np.ones((40, 16, 16), np.float32))])
    assert 0.3 < max(shares) < 0.6


def test_fields_are_checked() -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        VolumeSegmenter(threshold=2)
    with pytest.raises(ConfigError, match="cache_days"):
        VolumeSegmenter(cache_days=0)


def test_a_picture_is_no_volume(nets: Any, profiles: str) -> None:
    with pytest.raises(InvalidInput, match="holds a Frame, not a Volume"):
        opened(nets, profile="plain", profiles=profiles).predict([make_frame()])  # type: ignore[list-item]


def test_entries_go_when_they_are_old_or_too_many(nets: Any, profiles: str) -> None:
    ports = FakePorts()
    segmenter = opened(nets, ports, profile="plain", profiles=profiles)
    mask_of(segmenter, blocks())
    assert len(list(ports.artifacts.list("cache/medical/"))) == 2  # what the net said, and the mask
    cache = segmenter._cache
    aged = replace_cache(cache, max_age=timedelta(seconds=-5))
    assert aged.prune() == 2
    mask_of(
        opened(nets, ports, profile="plain", profiles=profiles, cache_bytes=600),
        np.random.default_rng(0).random((9, 9, 9)),
    )
    assert sum(entry.num_bytes for entry in ports.artifacts.entries("cache/medical/")) <= 600


def replace_cache(cache: Any, *, max_age: timedelta) -> Any:
    from datetime import UTC, datetime

    return type(cache)(cache._artifacts, max_bytes=1 << 30, max_age=max_age, now=lambda: datetime.now(UTC))
