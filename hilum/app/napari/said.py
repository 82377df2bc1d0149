"""What a person drew in napari's layers, as prompts about an image; no Qt, and nothing of napari but what layers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from jaxtyping import Float

from ...values.errors import BadInput
from ...values.image import Image, from_array
from ...values.prompts import Box, Labels, Points, Scribble
from .layers import KEY, axes

if TYPE_CHECKING:
    from ...values.prompts import Prompt

DIGITS = 9  # of a voxel: what the way through the world loses is put back


class Layer(Protocol):
    """What is asked of a layer of napari."""

    name: str
    data: Any
    ndim: int
    metadata: dict[str, Any]

    def data_to_world(self, position: Any) -> Any:
        """A place of its data in the world."""

    def world_to_data(self, position: Any) -> Any:
        """A place of the world in its data."""


def image_of(layer: Layer) -> Image:
    """The image that hilum read into the layer; else a picture without millimetres. Volumes are not guessed at."""
    found = layer.metadata.get(KEY)
    if isinstance(found, Image):
        return found
    data = np.asarray(layer.data)
    if data.ndim == 3 and data.shape[-1] in (3, 4) and layer.ndim == 2:
        return from_array(np.moveaxis(data[..., :3], -1, 0))
    if data.ndim == 2:
        return from_array(data[None])
    raise BadInput(
        f"the layer {layer.name!r} was not read by hilum, so it is not known where its voxels lie: open its file again "
        "and choose hilum as the reader."
    )


def prompts(
    layer: Layer,
    *,
    boxes: Layer | None = None,
    inside: Layer | None = None,
    outside: Layer | None = None,
    strokes: Layer | None = None,
    labels: str = "",
) -> list[Prompt]:
    """The prompts about the image in `layer`, boxes before the clicks that refine them."""
    image = image_of(layer)
    said: list[Prompt] = []
    for shape in [] if boxes is None else boxes.data:
        corners = _voxels(layer, _checked(boxes, image), shape, image)
        said.append(Box([corners.min(axis=0)], [corners.max(axis=0)]))  # type: ignore[arg-type]
    for clicks, within in ((inside, True), (outside, False)):
        if clicks is not None and len(clicks.data):
            at = _voxels(layer, _checked(clicks, image), clicks.data, image)
            said.append(Points(at, np.full(len(at), within)))
    if strokes is not None:
        said += _scribbled(strokes, image)
    names = tuple(word.strip() for word in labels.split(",") if word.strip())
    return [*said, Labels(names)] if names else said


def kinds(said: Sequence[Prompt]) -> tuple[str, ...]:
    """As cards name them."""
    return tuple(dict.fromkeys(type(prompt).__name__.lower() for prompt in said))


def _checked(layer: Layer | None, image: Image) -> Layer:
    assert layer is not None
    if layer.ndim != axes(image):
        raise BadInput(
            f"the layer {layer.name!r} has {layer.ndim} axes and the image {axes(image)}: make it with the button "
            '"layers to draw in", or while the image is selected.'
        )
    return layer


def _voxels(layer: Layer, drawn: Layer, places: Any, image: Image) -> Float[np.ndarray, "n d"]:
    """Places of a drawn layer as (x, y[, z]) voxels of the image, through the world: layers may lie apart."""
    found = np.array([layer.world_to_data(drawn.data_to_world(place)) for place in places], dtype=np.float64)
    return np.round(found[:, ::-1][:, : image.dimensions], DIGITS)


def _scribbled(strokes: Layer, image: Image) -> list[Prompt]:
    drawn = np.asarray(strokes.data)
    if drawn.ndim > image.dimensions and drawn.shape[0] == 1:
        drawn = drawn[0]
    if drawn.shape != image.grid:
        sizes = f"{drawn.shape} and the image {image.grid}"
        raise BadInput(f"the strokes in {strokes.name!r} are {sizes}: draw on the image's own grid.")
    inside, outside = drawn == 1, drawn == 2
    if not inside.any():
        return []
    return [Scribble(inside, outside if outside.any() else None)]
