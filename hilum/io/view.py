"""A view: a rectangle of one plane of an image, and the pixels of a picture that it is shown on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from hilum.values import geometry
from hilum.values.geometry import Section
from hilum.values.image import Image

ORIENTATIONS = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a plane as shown, in its voxels: from (left, top), up to but without (right, bottom)."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Voxels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Voxels down."""
        return self.bottom - self.top


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Plane `number` of a section (counted as shown), cut to a region and shown on `size` = (width, height) pixels.

    A voxel's square covers the pixels from index * scale to (index + 1) * scale, so its centre lies half a voxel in.
    """

    image: Image
    section: Section
    number: int
    region: Region
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels per voxel, across and down."""
        return self.size[0] / self.region.width, self.size[1] / self.region.height

    @property
    def pixels_per_mm(self) -> float | None:
        """Pixels per mm across; None where there are no millimetres."""
        if self.image.space == "pixel":
            return None
        return self.scale[0] / float(geometry.spacing(self.image.affine)[self.section.across])

    def plane(self, array: np.ndarray) -> np.ndarray:
        """(..., [z,] y, x) on the image's grid -> (..., h, w): this view's voxels, as shown."""
        volume = array if self.image.dimensions == 3 else array[..., None, :, :]
        region = self.region
        return self.section.planes(volume)[..., self.number, region.top : region.bottom, region.left : region.right]

    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image by its display transform, smoothly resized; where it has no value it is black."""
        shown = np.nan_to_num(self.image.display(self.plane(self.image.array)), nan=0.0)
        grey = np.rint(np.broadcast_to(shown, (3, *shown.shape[1:])) * 255.0).astype(np.uint8)
        return resized(np.moveaxis(grey, 0, -1), self.size)

    def mask(self, mask: Bool[np.ndarray, " *grid"]) -> Bool[np.ndarray, "h w"]:
        """A mask of the image's grid on this view's pixels: enlarged without smoothing, and nothing lost if reduced."""
        plane = self.plane(mask)
        for axis, length in ((0, self.size[1]), (1, self.size[0])):
            plane = stretched(plane, axis, length)
        return plane

    def field(self, values: Float[np.ndarray, " *grid"]) -> Float[np.ndarray, "h w"]:
        """Values of the image's grid, smoothly resized to this view's pixels."""
        from PIL import Image as Pillow

        plane = np.ascontiguousarray(np.nan_to_num(self.plane(values)), dtype=np.float32)
        return np.asarray(Pillow.fromarray(plane).resize(self.size, Pillow.Resampling.BILINEAR))

    def place(self, voxels: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Voxel indices (x, y, z) -> (px across, px down, planes away); the px of a voxel's centre."""
        shown = self.section.shown(voxels, self.image.volume().shape[1:])
        across = (shown[:, 0] - self.region.left + 0.5) * self.scale[0]
        down = (shown[:, 1] - self.region.top + 0.5) * self.scale[1]
        return np.stack([across, down, shown[:, 2] - self.number], axis=1)

    def sides(self) -> tuple[str, str, str, str] | None:
        """Patient sides at the left, right, top, bottom; None outside patient space."""
        if self.image.space != "patient":
            return None
        affine = self.section.affine(self.image.affine, self.image.volume().shape[1:])
        return (*geometry.letters(affine, 0), *geometry.letters(affine, 1))

    def words(self) -> str:
        """Orientation and the plane's index along its array axis, as prompts count it: "axial · z 45"."""
        size = self.image.volume().shape[1:][::-1]
        normal = self.section.normal
        index = size[normal] - 1 - self.number if self.section.flip_normal else self.number
        plane = () if size[normal] == 1 else (f"{'xyz'[normal]} {index}",)
        return " · ".join((*orientation(self.image, normal), *plane))


def orientation(image: Image, normal: int) -> tuple[str, ...]:
    """What a radiologist calls the planes across an array axis: ("oblique axial",); empty outside patient space."""
    if image.space != "patient":
        return ()
    first, second = (geometry.directions(image.affine)[:, axis] for axis in range(3) if axis != normal)
    upright = np.cross(first, second)
    lps = geometry.nearest_axes(image.affine)[normal]
    tilt = np.degrees(np.arccos(np.clip(abs(upright[lps]) / np.linalg.norm(upright), 0.0, 1.0)))
    return (f"{'oblique ' if tilt > 10 else ''}{ORIENTATIONS[lps]}",)


def whole(image: Image, section: Section) -> Region:
    """The region of a section's whole plane."""
    size = image.volume().shape[1:][::-1]
    return Region(0, 0, size[section.across], size[section.down])


def fitted(image: Image, section: Section, region: Region, box: tuple[int, int]) -> tuple[int, int]:
    """The picture's (width, height) in px: as large as the box allows, a millimetre as long across as down."""
    step = geometry.spacing(image.affine)
    wide, high = region.width * step[section.across], region.height * step[section.down]
    scale = min(box[0] / wide, box[1] / high)
    return max(1, round(wide * scale)), max(1, round(high * scale))


def resized(picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "a b 3"]:
    """A picture at another size, bicubic (averaging where it is reduced)."""
    from PIL import Image as Pillow

    sheet = Pillow.fromarray(np.ascontiguousarray(picture)).resize(size, Pillow.Resampling.BICUBIC)
    return np.array(sheet)


def stretched(mask: Bool[np.ndarray, "h w"], axis: int, length: int) -> Bool[np.ndarray, "a b"]:
    """One axis of a mask at another length: the nearest voxel, or any of the voxels that share a pixel."""
    given = mask.shape[axis]
    if length >= given:
        return mask.take((2 * np.arange(length) + 1) * given // (2 * length), axis=axis)
    return np.logical_or.reduceat(mask, np.arange(length) * given // length, axis=axis)
