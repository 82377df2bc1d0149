"""An image described for a viewer: what `hilum inspect` says, and how the planes across each axis are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..inspection import facts

if TYPE_CHECKING:
    from ...values.image import Image


def described(image: Image) -> dict[str, Any]:
    """Plain types; nothing that names a patient or a file."""
    axes = (0, 1, 2) if image.dimensions == 3 else (2,)
    shown = image.section()
    return {
        **facts(image),
        "space": image.space,
        "shown_axis": shown.normal,
        "planes": [_planes(image, axis) for axis in axes],
    }


def _planes(image: Image, axis: int) -> dict[str, Any]:
    """The planes across an axis: `down` and `across` are array axes, reversed where `flip_…`; `sides` are left, right,
    top, bottom of the picture in the patient."""
    from ...io.view import View, orientation, whole

    section = across(image, axis)
    region = whole(image, section)
    view = View(image, section, 0, region, (region.width, region.height))
    words = orientation(image, section.normal)
    return {
        "axis": section.normal,
        "count": image.volume().shape[1:][::-1][section.normal],
        "width": region.width,
        "height": region.height,
        "across": section.across,
        "down": section.down,
        "flip_across": section.flip_across,
        "flip_down": section.flip_down,
        "flip_normal": section.flip_normal,
        "sides": None if (sides := view.sides()) is None else list(sides),
        "orientation": words[0] if words else None,
    }


def across(image: Image, axis: int) -> Any:
    """The section across an array axis: radiological in patient space, as stored otherwise."""
    from ...values.geometry import Section

    if image.space == "patient":
        return image.section(axis)
    down, right = {0: (2, 1), 1: (2, 0), 2: (1, 0)}[axis]
    return Section(normal=axis, down=down, across=right)
