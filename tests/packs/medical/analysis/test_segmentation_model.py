from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from tests.packs.medical.analysis.nets import Counted, card_of, conv_net, mean_kernel, same_kernel

from sightline.core.errors import InvalidInput, InvalidModel, ModelNotFound, NotProcessed
from sightline.core.model import ModelCard, TensorSpec
from sightline.core.ports import ModelHandle
from sightline.packs.medical.profiles import Profile
from sightline.packs.medical.recipes import completed_card, recipe_of
from sightline.packs.medical.segmentation_model import SegmentationModel
from sightline.testing import FakeHandle

PLAIN = Profile(name="plain", overlap=0.5)


def model_of(path: Path, **others: Path) -> SegmentationModel:
    def open_model(ref: str) -> ModelHandle:
        if ref not in others:
            raise ModelNotFound(f"No model is called {ref!r}.")
        return FakeHandle(Counted(others[ref]))

    return SegmentationModel(FakeHandle(Counted(path)), open_model)


def volume_of(shape: tuple[int, int, int], seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def filtered(volume: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(ndimage.uniform_filter(volume, 3, mode="constant"), np.float32)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_window_that_covers_all_gives_what_the_net_gives(tmp_path: Path, channels_last: bool) -> None:
    card = card_of(size=16, layout="NDHWC" if channels_last else "NCDHW")
    model = model_of(conv_net(tmp_path / "net.onnx", card, mean_kernel(), channels_last=channels_last))
    volume = volume_of((16, 16, 16))
    said = model.probabilities(volume, np.eye(4), PLAIN)
    assert said.shape == (1, 16, 16, 16)
    assert said.dtype == np.float16
    np.testing.assert_allclose(said[0], filtered(volume), atol=1e-3)


def test_small_windows_differ_from_one_pass_only_at_their_faces(tmp_path: Path) -> None:
    """The net sees one voxel around: with windows that overlap by half, the weights let the middle speak."""
    model = model_of(conv_net(tmp_path / "net.onnx", card_of(size=8), mean_kernel()))
    volume = volume_of((20, 24, 17))
    said = model.probabilities(volume, np.eye(4), PLAIN)[0]
    assert np.abs(said - filtered(volume)).mean() < 5e-3


def test_flips_are_averaged_and_undone(tmp_path: Path) -> None:
    kernel = np.zeros((1, 1, 3, 3, 3))
    kernel[0, 0, 0, 1, 1] = 1  # takes the neighbour to the left
    model = model_of(conv_net(tmp_path / "net.onnx", card_of(size=6), kernel))
    volume = np.zeros((6, 6, 6), np.float32)
    volume[3, 2, 4] = 1
    plain = model.probabilities(volume, np.eye(4), PLAIN)[0]
    assert np.argwhere(plain).tolist() == [[4, 2, 4]]
    flipped = model.probabilities(volume, np.eye(4), replace(PLAIN, flips=("x",)))[0]
    assert {tuple(at): flipped[tuple(at)] for at in np.argwhere(flipped)} == {(4, 2, 4): 0.5, (2, 2, 4): 0.5}
    along_y = model.probabilities(volume, np.eye(4), replace(PLAIN, flips=("y",)))[0]
    np.testing.assert_array_equal(along_y, plain)


def affines() -> list[npt.NDArray[np.float64]]:
    found = []
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = np.eye(4)
        affine[:3, :3] = 0
        for axis, (world, sign) in enumerate(zip(axes, signs, strict=True)):
            affine[world, axis] = sign
        found.append(affine)
    return found


@pytest.mark.parametrize("orientation", ["RAS", "LPI"])
def test_the_net_sees_the_same_head_whatever_the_order_of_the_axes(tmp_path: Path, orientation: str) -> None:
    kernel = np.random.default_rng(1).random((1, 1, 3, 3, 3))  # not the same in any two directions
    kernel /= kernel.sum()
    card = card_of(size=[9, 8, 7], inference="whole", orientation=orientation, interpolation="linear")
    model = model_of(conv_net(tmp_path / "net.onnx", card, kernel))
    head = volume_of((9, 8, 7))
    wanted = model.probabilities(head, np.eye(4), PLAIN)[0]
    for affine in affines():
        # Voxels of the same head, as they lie in a file of this orientation.
        axes = [int(np.flatnonzero(affine[:3, axis])[0]) for axis in range(3)]
        steps = tuple(slice(None, None, int(affine[axes[axis], axis])) for axis in range(3))
        said = model.probabilities(head.transpose(axes)[steps], affine, PLAIN)[0]
        np.testing.assert_array_equal(said, wanted.transpose(axes)[steps])


def test_a_tilted_series_is_shown_upright_and_answered_on_its_own_grid(tmp_path: Path) -> None:
    """A ball in the patient is a ball for the net, and its mask has the ball's volume on the sheared grid."""
    model = model_of(conv_net(tmp_path / "net.onnx", card_of(size=24), same_kernel(1.0)))
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[1, 2] = 1.0
    shape = (40, 60, 20)
    points = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T
    away = np.linalg.norm(points - affine[:3, :3] @ [20, 30, 10], axis=1).reshape(shape)
    ball = (away < 12).astype(np.float32)
    said = model.probabilities(ball, affine, PLAIN)[0]
    assert said.shape == shape
    found = (said > 0.5).sum() * 2.0
    assert found == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03)
    assert 2 * ((said > 0.5) & (ball > 0.5)).sum() / ((said > 0.5).sum() + ball.sum()) > 0.95


def test_the_spacing_of_the_profile_is_what_the_net_sees(tmp_path: Path) -> None:
    session = Counted(conv_net(tmp_path / "net.onnx", card_of(size=8), same_kernel(1.0)))
    model = SegmentationModel(FakeHandle(session), lambda _: FakeHandle(session))
    volume = np.zeros((16, 16, 16), np.float32)
    volume[4:12, 4:12, 4:12] = 1
    said = model.probabilities(volume, np.eye(4), replace(PLAIN, spacing_mm=(2.0, 2.0, 2.0)))[0]
    assert session.calls == 1  # 8^3 is one window
    assert said.shape == volume.shape
    assert ((said > 0.5) == (volume > 0.5)).mean() > 0.98


def test_several_labels_by_softmax_without_the_background(tmp_path: Path) -> None:
    labels = ("background", "liver", "spleen")
    card = card_of(size=8, labels=labels, activation="softmax")
    model = model_of(conv_net(tmp_path / "net.onnx", card, same_kernel(0.0, 1.0, -1.0)))
    volume = np.linspace(-3, 3, 8**3, dtype=np.float32).reshape(8, 8, 8)
    said = model.probabilities(volume, np.eye(4), PLAIN)
    scores = np.exp(np.stack([volume * 0, volume, -volume]))
    np.testing.assert_allclose(said, (scores / scores.sum(axis=0))[1:], atol=1e-3)
    assert model.labels == labels


def test_labels_that_do_not_fit_the_net_are_refused(tmp_path: Path) -> None:
    model = model_of(conv_net(tmp_path / "net.onnx", card_of(size=8), same_kernel(0.0, 1.0, 2.0)))
    with pytest.raises(InvalidModel, match="gives 2 labels beside the background, its card names 1"):
        model.probabilities(volume_of((8, 8, 8)), np.eye(4), PLAIN)


def test_a_first_net_finds_the_box_that_a_second_one_looks_at(tmp_path: Path) -> None:
    box = conv_net(
        tmp_path / "box.onnx", card_of("box", size=16, inference="whole", interpolation="nearest"), same_kernel(1.0)
    )
    session = Counted(
        conv_net(
            tmp_path / "net.onnx",
            card_of(size=8, inference="whole", interpolation="nearest", box_model="box", box_margin=0.0),
            same_kernel(1.0),
        )
    )
    fed: list[Any] = []

    class Watched(FakeHandle):
        def run(self, feeds: Any) -> Any:
            fed.append(feeds["x"][0, 0])
            return super().run(feeds)

    model = SegmentationModel(Watched(session), lambda _: FakeHandle(Counted(box)))
    volume = np.zeros((32, 32, 32), np.float32)
    volume[8:24, 4:20, 10:26] = 1
    said = model.probabilities(volume, np.eye(4), PLAIN)[0]
    np.testing.assert_array_equal(said, volume)
    assert fed[0].min() == 1  # nothing but the box
    with pytest.raises(NotProcessed, match="finds none"):
        model.probabilities(np.zeros((32, 32, 32), np.float32), np.eye(4), PLAIN)


def test_an_affine_that_is_none_is_refused(tmp_path: Path) -> None:
    model = model_of(conv_net(tmp_path / "net.onnx", card_of(), same_kernel(1.0)))
    with pytest.raises(InvalidInput, match="no place in space"):
        model.probabilities(volume_of((8, 8, 8)), np.full((4, 4), np.nan), PLAIN)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inference": "slide"}, "preprocessing.inference = 'slide'; it must be one of whole, sliding"),
        ({"sice": 8}, "unknown field preprocessing.sice. Did you mean 'size'"),
        ({"size": 0}, "preprocessing.size"),
        ({"orientation": "RAX"}, "an orientation such as RAS"),
        ({"normalise": {"kind": "percentile", "low": 1}}, "no preprocessing.normalise.high"),
        ({"normalise": {"kind": "window", "low": 5, "high": 1}}, "above low"),
        ({"normalise": 3}, "must be a JSON object"),
        ({"activation": "relu"}, "postprocessing.activation"),
        ({"fill_holes": 1}, "true or false"),
        ({"input": "z"}, "no input 'z', only x"),
    ],
)
def test_a_card_that_lacks_something_says_what(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = conv_net(tmp_path / "net.onnx", card_of(**fields), same_kernel(1.0))
    with pytest.raises(InvalidModel, match=message):
        model_of(path)


def test_a_file_that_says_nothing_of_itself_is_completed_by_a_recipe() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 1, "d", "h", "w"))
    bare = ModelCard(name="deepbet", task="volume-segmentation", inputs=(spec,), outputs=(replace(spec, name="p"),))
    card = completed_card(bare, "deepbet")
    recipe = recipe_of(card)
    assert (recipe.size, recipe.box_model, recipe.interpolation) == ((256, 256, 256), "deepbet-bbox", "nearest")
    assert (recipe.largest, recipe.fills_holes, card.labels) == (True, True, ("background", "brain"))
    with pytest.raises(InvalidModel, match="cannot be told from the file") as caught:
        completed_card(bare, "")
    assert "--preprocess" in caught.value.cure
    with pytest.raises(InvalidInput, match="No recipe is called 'unet'"):
        completed_card(bare, "unet")
