"""What the tests of pictures look at: the CT phantom with its answer, and views of images."""

import numpy as np
from grids import PROVENANCE

from hilum.io.view import View, fitted, whole
from hilum.values.answers import Segmentation
from hilum.values.image import Display, Image, Source
from phantoms import ct_affine, ct_values, ellipsoid


def phantom(kind="axial", *, objects=1):
    """The CT phantom with its bright ellipsoid as the answer, in an abdominal window."""
    affine, values = ct_affine(kind), ct_values(kind)
    image = Image(values[None], affine, "patient", Display(-160.0, 240.0), Source("DICOM", modality="CT", unit="HU"))
    mask = ellipsoid(affine, image.grid)
    masks = np.stack([np.roll(mask, number, axis=2) for number in range(objects)])
    names = tuple(f"organ {number + 1}" for number in range(objects))
    return Segmentation(masks, names, (0.9,) * objects, image, PROVENANCE)


def view_of(image, normal=None, number=0, box=(400, 400), region=None):
    section = image.section(normal)
    part = region or whole(image, section)
    return View(image, section, number, part, fitted(image, section, part, box))
