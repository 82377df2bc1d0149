"""What kinds of DICOM object are no images, and how to say so."""

from __future__ import annotations

from types import MappingProxyType

from pydicom.uid import UID

DIRECTORY = "1.2.840.10008.1.3.10"
NO_IMAGES = MappingProxyType(  # they may have rows and columns, and are no images all the same: (short, what to do)
    {
        "1.2.840.10008.5.1.4.1.1.66.4": ("SEG", "a DICOM SEG (a segmentation): give the series it was drawn on"),
        "1.2.840.10008.5.1.4.1.1.66.5": ("SEG", "a DICOM surface segmentation: give the series it was drawn on"),
        "1.2.840.10008.5.1.4.1.1.66.7": ("SEG", "a DICOM label map SEG: give the series it was drawn on"),
        "1.2.840.10008.5.1.4.1.1.481.2": ("RTDOSE", "an RT dose grid: give the series it was planned on"),
        "1.2.840.10008.5.1.4.1.1.481.3": ("RTSTRUCT", "an RT structure set: give the series it was drawn on"),
        "1.2.840.10008.5.1.4.1.1.77.1.6": ("slide", "a whole-slide image: DICOM slides are not read yet"),
        DIRECTORY: ("DICOMDIR", "a list of files, which is never followed: give the folder"),
    }
)


def class_name(uid: str) -> str:
    """The name of a SOP class from the standard's own list; never text of the file."""
    name = UID(uid).name
    return "not in the standard" if name == uid else name.removesuffix(" Storage")


def excuse(sop_class: str, *, pictures: bool) -> str | None:
    """Why an object is no image, as the end of "x.dcm is ..."; None for images. `pictures`: has rows and columns."""
    if sop_class in NO_IMAGES:
        return NO_IMAGES[sop_class][1]
    return None if pictures else f"no image: it holds no pixels (its kind is {class_name(sop_class)})"


def short_name(sop_class: str) -> str:
    """One word or two for a list of what was left out."""
    return NO_IMAGES[sop_class][0] if sop_class in NO_IMAGES else class_name(sop_class)
