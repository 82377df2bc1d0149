"""What stands on pictures in words: the image, its window, an object's size and the confidence in it."""

from __future__ import annotations

import numpy as np

from hilum.values import geometry
from hilum.values.answers import Segmentation
from hilum.values.explanation import Ablation, Explanation
from hilum.values.image import Image

WRITTEN = {"nifti": "NIfTI", "metaimage": "MetaImage", "array": "array"}  # others are capitals: DICOM, NRRD, PNG


def image_words(image: Image) -> str:
    """Modality, size and spacing: "CT · 512 × 512 × 80 voxels · 0.7 × 0.7 × 2.5 mm"."""
    size = " × ".join(str(length) for length in image.grid[::-1])
    parts = [f"{size} {'pixels' if image.dimensions == 2 else 'voxels'}"]
    if image.source.modality:
        parts.insert(0, image.source.modality)
    if image.spacing is not None:
        parts.append(f"{' × '.join(f'{step:.4g}' for step in image.spacing)} mm")
    return " · ".join(parts)


def format_words(image: Image) -> str:
    """The file format as its makers write it."""
    return WRITTEN.get(image.source.format.lower(), image.source.format.upper())


def system_words(answer: Segmentation | Explanation) -> str:
    """The system with its weights: "scout.pocket"; where it asked another one, "sam_u over scout.pocket"."""
    made = answer.provenance
    if made.weights.startswith(made.system):
        return made.weights
    return f"{made.system} over {made.weights}" if "." in made.weights else f"{made.system}.{made.weights}"


def window_words(image: Image) -> str:
    """The display window as radiologists say it, for CT: width and level in HU; nothing for other images."""
    if image.source.modality != "CT" and image.source.unit != "HU":
        return ""
    display = image.display
    return f"W {display.high - display.low:.4g} L {(display.high + display.low) / 2:.4g} HU"


def confidence_words(score: float) -> str:
    """The answer's confidence in an object, or that it gave none."""
    return f"confidence {score:.2f}" if np.isfinite(score) else "no confidence given"


def dice_words(ablation: Ablation) -> str:
    """How far the answer after a change is from the full one."""
    return "not answered" if ablation.dice is None else f"Dice {ablation.dice:.2f} with the full answer"


def size_words(answer: Segmentation) -> list[str]:
    """How large each object is: ml of a volume, mm² of a picture, pixels where there are no millimetres."""
    image, counts = answer.image, answer.voxels()
    if image.space == "patient" and image.dimensions == 3:
        factor, unit = geometry.voxel_ml(image.affine), "ml"
    elif image.space != "pixel" and image.dimensions == 2:
        factor, unit = pixel_area(image), "mm²"
    else:
        return [f"{count} {'pixels' if image.dimensions == 2 else 'voxels'}" if count else "empty" for count in counts]
    return [f"{rounded(count * factor)} {unit}" if count else "empty" for count in counts]


def pixel_area(image: Image) -> float:
    """Area of one pixel of a picture in mm²."""
    return float(np.linalg.norm(np.cross(image.affine[:3, 0], image.affine[:3, 1])))


def rounded(number: float) -> str:
    """A positive number with three significant digits, without an exponent."""
    digits = max(0, 2 - int(np.floor(np.log10(number))))
    return f"{number:.{digits}f}"
