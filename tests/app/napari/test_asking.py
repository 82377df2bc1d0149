"""What was drawn in layers becomes prompts on the image's own voxels, and the answer layers; without a window."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from app.conftest import threshold  # noqa: F401  a fixture

import hilum
from hilum.app.napari.asking import BEST, Asking, choices, shown, worded
from hilum.app.napari.layers import image_layer
from hilum.app.napari.said import image_of, kinds, prompts
from hilum.values.errors import BadInput, UnsupportedPrompt
from phantoms import ct_series

LOW, HIGH = (12.0, 8.0, 3.0), (28.0, 24.0, 6.0)


@dataclass
class Layer:
    """As much of a layer of napari as is asked of it; tests/clients/test_napari.py has the real ones."""

    data: object
    affine: np.ndarray
    name: str = "layer"
    metadata: dict = field(default_factory=dict)

    @property
    def ndim(self) -> int:
        return len(self.affine) - 1

    def data_to_world(self, place):
        return (self.affine @ [*place, 1.0])[:-1]

    def world_to_data(self, place):
        return (np.linalg.inv(self.affine) @ [*place, 1.0])[:-1]


@pytest.fixture(params=["axial", "tilted", "oblique"])
def image(request, tmp_path):
    ct_series(tmp_path, request.param)
    return hilum.read(tmp_path)


@pytest.fixture
def layer(image) -> Layer:
    data, told, _ = image_layer(image, "ct")
    return Layer(data, told["affine"], "ct", told["metadata"])


def rectangle(low, high) -> np.ndarray:
    """As napari keeps one that was drawn on a plane: four corners, z, y, x."""
    (left, top, z), (right, bottom, _) = low, high
    return np.array([[z, top, left], [z, top, right], [z, bottom, right], [z, bottom, left]])


def test_what_is_drawn_lies_on_the_same_voxels(layer, image):
    boxes = Layer([rectangle(LOW, HIGH)], layer.affine)
    clicks = Layer(np.array([[5.0, 16.0, 20.0]]), layer.affine)
    box, inside, outside = prompts(layer, boxes=boxes, inside=clicks, outside=clicks)
    assert np.allclose([box.low, box.high], [LOW, (*HIGH[:2], LOW[2])], atol=1e-9)
    assert np.allclose(inside.at, [[20, 16, 5]], atol=1e-9)
    assert (inside.inside.tolist(), outside.inside.tolist()) == ([True], [False])
    assert kinds((box, inside, outside)) == ("box", "points")


def test_layers_may_lie_elsewhere_in_the_world(layer, image):
    """Clicks in a layer without an affine are places of the world, in millimetres."""
    world = layer.data_to_world([5.0, 16.0, 20.0])
    (points,) = prompts(layer, inside=Layer(np.array([world]), np.eye(4)))
    assert np.allclose(points.at, [[20, 16, 5]], atol=1e-9)


def test_strokes_and_labels(layer, image):
    strokes = np.zeros(image.grid, dtype=np.uint8)
    assert prompts(layer, strokes=Layer(strokes, layer.affine)) == []
    strokes[5, 16, 18:22], strokes[5, 2, 2:9] = 1, 2
    scribble, labels = prompts(layer, strokes=Layer(strokes, layer.affine), labels="liver, spleen,")
    assert (scribble.inside.sum(), scribble.outside.sum()) == (4, 7)
    assert labels.names == ("liver", "spleen")


def test_what_cannot_be_meant_is_a_sentence(layer, image):
    with pytest.raises(BadInput, match="has 2 axes and the image 3"):
        prompts(layer, inside=Layer(np.zeros((1, 2)), np.eye(3)))
    with pytest.raises(BadInput, match="draw on the image's own grid"):
        prompts(layer, strokes=Layer(np.ones((3, 4, 5)), np.eye(4)))
    with pytest.raises(BadInput, match="was not read by hilum"):
        image_of(Layer(np.zeros((3, 4, 5)), np.eye(4)))


def test_pictures_of_other_readers_are_taken():
    assert image_of(Layer(np.zeros((4, 5)), np.eye(3))).grid == (4, 5)
    assert image_of(Layer(np.zeros((4, 5, 4), dtype=np.uint8), np.eye(3))).array.shape == (3, 4, 5)


def test_a_lone_slice_is_one_plane(tmp_path):
    ct_series(tmp_path)
    image = hilum.read(min(tmp_path.iterdir()))
    data, told, _ = image_layer(image, "slice")
    layer = Layer(data, told["affine"], metadata=told["metadata"])
    strokes = np.zeros((1, *image.grid), dtype=np.uint8)
    strokes[0, 3, 4] = 1
    points, scribble = prompts(
        layer, inside=Layer(np.array([[0.0, 3.0, 4.0]]), layer.affine), strokes=Layer(strokes, layer.affine)
    )
    assert np.allclose(points.at, [[4, 3]])
    assert scribble.inside[3, 4]


def test_the_answer_is_the_librarys_as_labels_on_the_images_grid(threshold, layer, image):  # noqa: F811
    boxes = Layer([rectangle(LOW, HIGH), rectangle((2, 2, 5), (8, 9, 5))], layer.affine)
    answer, wrong = Asking().tried(image, prompts(layer, boxes=boxes), "threshold")
    assert wrong == ""
    found, words = shown(answer)
    for (data, told, kind), number in zip(found, range(len(answer.names)), strict=False):
        assert kind == "labels"
        assert np.array_equal(told["affine"], layer.affine)
        assert told["name"].endswith("by threshold (model output)")
        assert data.shape == image.grid
        assert np.array_equal(data > 0, answer.masks[number] if len(found) > 1 else answer.masks.any(axis=0))
    assert "Research use only" in words


def test_one_more_click_does_not_look_again(threshold, layer, image):  # noqa: F811
    asking, boxes = Asking(), Layer([rectangle(LOW, HIGH)], layer.affine)
    asking.ask(image, prompts(layer, boxes=boxes), "threshold")
    look = asking.look
    asking.ask(
        image, prompts(layer, boxes=boxes, inside=Layer(np.array([[3.0, 16.0, 20.0]]), layer.affine)), "threshold"
    )
    assert asking.look is look


def test_a_system_refuses_what_it_does_not_take(threshold, layer, image):  # noqa: F811
    said = prompts(layer, inside=Layer(np.array([[5.0, 16.0, 20.0]]), layer.affine))
    with pytest.raises(UnsupportedPrompt):
        Asking().ask(image, said, "medsam")
    answer, wrong = Asking().tried(image, said, "medsam")
    assert answer is None
    assert "Systems that take points" in wrong
    assert "wants a prompt" in Asking().tried(image, [], "threshold")[1]


def test_those_that_can_be_asked_are_offered(threshold):  # noqa: F811
    offered = choices()
    assert offered[0] == BEST
    assert {"scout", "threshold", "medsam"} <= set(offered)
    assert "retfound" not in offered


def test_what_nobody_foresaw_is_told_without_its_text():
    assert "Canary" not in worded(KeyError("Canary^Yellow"))
