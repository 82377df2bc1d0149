"""Images and answers as napari's layer data: axes z, y, x, and an affine that is hilum's own with its axes reversed.

The world of the layers is the patient in millimetres, in the order superior, posterior, left: LPS from back to front.
Nothing is resampled and no number is rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from ...values.answers import Segmentation
from ...values.image import Image
from ...values.notice import NOTICE

KEY = "hilum"  # in a layer's metadata: the image, or the answer
MM = "millimeter"
LayerData = tuple[np.ndarray, dict[str, Any], str]


def image_layer(image: Image, name: str) -> LayerData:
    """The values as they are (colours as shown), with the display window and the affine."""
    if len(image.array) == 3:
        told: dict[str, Any] = {"rgb": True}
        data = on_layer(image, image.shown())
    else:
        window = image.display
        told = {"rgb": False, "contrast_limits": (window.low, window.high)}
        told["colormap"] = "gray_r" if window.inverted else "gray"
        data = on_layer(image, image.array[0])
    return data, {"name": name, **placed(image), **told, "metadata": {KEY: image}}, "image"


def answer_layers(answer: Segmentation) -> list[LayerData]:
    """One layer of labels for the objects, 1, 2, ... in their order; one for each object where they overlap."""
    made = answer.provenance
    groups = [[number] for number in range(len(answer.names))] if answer.overlaps() else [range(len(answer.names))]
    layers: list[LayerData] = []
    for group in groups:
        labels = np.zeros(answer.image.grid, dtype=np.uint16)
        for label, number in enumerate(group, start=1):
            labels[answer.masks[number]] = label
        names = [answer.names[number] for number in group]
        told = {
            "name": f"{', '.join(names)} by {made.system} (model output)",
            "features": {"index": list(range(len(group) + 1)), "name": ["", *names]},
            "metadata": {KEY: answer, "notice": NOTICE},
        }
        layers.append((on_layer(answer.image, labels), {**told, **placed(answer.image)}, "labels"))
    return layers + _unsure(answer)


def _unsure(answer: Segmentation) -> list[LayerData]:
    if answer.uncertainty is None or not len(answer.names):
        return []
    told = {"name": "uncertainty in nats", "colormap": "inferno", "opacity": 0.6, "blending": "additive"}
    data = on_layer(answer.image, answer.uncertainty.max(axis=0))
    return [(data, {**told, "visible": False, **placed(answer.image)}, "image")]


def axes(image: Image) -> int:
    """How many the layer has: a lone slice that has a place in the patient keeps it, as a volume of one plane."""
    return 3 if image.space == "patient" else image.dimensions


def on_layer(image: Image, values: np.ndarray) -> np.ndarray:
    """([z,] y, x[, colour]) of the image's grid as the layer has it."""
    return values[None] if axes(image) > image.dimensions else values


def placed(image: Image) -> dict[str, Any]:
    """Where a layer on the image's grid lies."""
    count = axes(image)
    told: dict[str, Any] = {"affine": affine(image), "axis_labels": ("z", "y", "x")[-count:]}
    return told if image.space == "pixel" else {**told, "units": (MM,) * count}


def affine(image: Image) -> Float[np.ndarray, "n n"]:
    """Layer index -> world, both in napari's order: hilum's affine with rows and columns of its axes reversed."""
    count = axes(image)
    reverse = [*range(count - 1, -1, -1)]
    whole = np.eye(count + 1)
    whole[:count, :count] = image.affine[np.ix_(reverse, reverse)]
    whole[:count, count] = image.affine[reverse, 3]
    return whole
