"""Pictures for an agent: one plane of an image with the way from its pixels to voxels, and the preview of an answer."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from ...values.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from ...io.view import View
    from ...values.answers import Segmentation
    from ...values.image import Image
    from ...values.prompts import Prompt

SIDE = 768  # pixels at most
AXES = "xyz"


def plane(image: Image, axis: str | None, index: int | None) -> tuple[bytes, dict[str, Any]]:
    """Plane `index` across an axis (the shown one and its middle where they are not said), and where its pixels lie."""
    from ...io.view import View, fitted, whole

    normal = image.section().normal if axis is None else AXES.index(axis)
    section = image.section(normal)
    if section.normal != normal:
        raise BadInput(f"this image is shown across {AXES[section.normal]} only.")
    count = image.volume().shape[1:][::-1][normal]
    chosen = count // 2 if index is None else index
    if not 0 <= chosen < count:
        raise BadInput(f"across {AXES[normal]} the image has planes 0 to {count - 1}, got {chosen}.")
    region = whole(image, section)
    number = count - 1 - chosen if section.flip_normal else chosen
    view = View(image, section, number, region, fitted(image, section, region, (SIDE, SIDE)))
    return png(view.picture()), _where(view, normal, chosen)


def _where(view: View, normal: int, index: int) -> dict[str, Any]:
    """`x = at_left_top + per_pixel * pixel`, for the axes that the picture's pixels run along."""
    section, (across, down) = view.section, view.scale
    runs = {section.across: (across, section.flip_across, view.region.width, "right")}
    runs[section.down] = (down, section.flip_down, view.region.height, "down")
    voxels = {}
    for axis, (scale, flipped, count, way) in sorted(runs.items()):
        step, start = 1.0 / scale, 0.5 / scale - 0.5  # a pixel's middle
        first = count - 1 - start if flipped else start
        voxels[AXES[axis]] = {"per_pixel": -step if flipped else step, "along": way, "at_left_top": first}
    words = dict(zip(("left", "right", "top", "bottom"), view.sides() or (), strict=False))
    size = {"width": view.size[0], "height": view.size[1]}
    return {"plane": {"axis": AXES[normal], "index": index}, **size, "voxel_of_pixel": voxels, "sides": words}


def preview(answer: Segmentation, prompts: list[Prompt]) -> bytes:
    """The sheet that `hilum ask --preview` writes."""
    from ...io.overlay import sheet

    return png(sheet(answer, prompts))


def png(pixels: np.ndarray) -> bytes:
    """Without a word beside the pixels."""
    from ...io.page import pillow

    stream = BytesIO()
    pillow(pixels).save(stream, format="PNG")
    return stream.getvalue()
