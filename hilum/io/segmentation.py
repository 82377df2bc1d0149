"""A segmentation as DICOM SEG: binary, one frame per object and source slice, in the source slices' own geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import highdicom
import numpy as np
from einops import rearrange
from highdicom.seg import SegmentationTypeValues, SegmentDescription
from jaxtyping import Bool, Shaped
from pydicom.sr.codedict import codes

from hilum.io import limits
from hilum.io.dicom_quiet import quiet
from hilum.io.segment_codes import property_of
from hilum.io.segmentation_sources import Sources, sources_of
from hilum.values.answers import Segmentation
from hilum.values.errors import BadInput, Failed
from hilum.values.notice import SENTENCE

POINTED_AT = frozenset({"points", "box", "mask", "scribble"})  # prompts by which a person takes part
SERIES_NUMBER = 900
UNKNOWN = "unknown"

Compatibility = Literal["standard", "ohif"]


def write_seg(answer: Segmentation, path: Path, *, compat: Compatibility = "standard") -> None:
    """Writes a DICOM SEG to exactly this path; it refers to the DICOM files that the image was read from.

    "ohif" keeps the empty frames, which some viewers need to put the others in place.
    """
    if not len(answer.names):
        raise BadInput("a DICOM SEG wants at least one object, and this answer has none.")
    with quiet():
        sources = sources_of(answer.image)
        try:
            segmentation = _segmentation(answer, sources, compat)
            _number_frames(segmentation, sources)
        except (ValueError, TypeError, AttributeError, KeyError) as error:  # highdicom's ways to refuse a source
            raise Failed(f"no DICOM SEG can be made for this source ({type(error).__name__}).") from error
        if "FrameOfReferenceUID" not in segmentation:  # then the picture's own sides are wanted, even if not known
            segmentation.PatientOrientation = sources.datasets[0].get("PatientOrientation") or ""
        segmentation.preamble = bytes(128)
        segmentation.save_as(path)


def _segmentation(answer: Segmentation, sources: Sources, compat: Compatibility) -> highdicom.seg.Segmentation:
    provenance = answer.provenance
    return highdicom.seg.Segmentation(
        source_images=sources.datasets,
        pixel_array=_pixels(answer.masks if answer.masks.ndim == 4 else answer.masks[:, None]),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=_descriptions(answer),
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="hilum",
        manufacturer_model_name=_text(provenance.system),
        software_versions=_text(provenance.version or UNKNOWN),
        device_serial_number=_text((provenance.weights_sha256 or UNKNOWN)[:16]),
        content_label="SEGMENTATION",
        content_description=_text(f"{SENTENCE} By {provenance.system}"),
        series_description=_text(f"{SENTENCE} By {provenance.system}"),
        omit_empty_frames=compat != "ohif",
    )


def _number_frames(segmentation: highdicom.seg.Segmentation, sources: Sources) -> None:
    """References to kept frames become references to their true numbers in the source file."""
    if sources.frames is None:
        return
    references = {  # by identity: the frames of several objects on one slice share theirs
        id(reference): reference
        for group in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in group.get("DerivationImageSequence", ())
        for reference in derivation.SourceImageSequence
    }
    for reference in references.values():
        reference.ReferencedFrameNumber = sources.frames[int(reference.get("ReferencedFrameNumber", 1)) - 1]


def _pixels(masks: Bool[np.ndarray, "objects z y x"]) -> Shaped[np.ndarray, "z y x *objects"]:
    """One label map where no two objects share a voxel, which saves memory; else all masks, objects last."""
    if not _overlapping(masks):
        labels = np.zeros(masks.shape[1:], dtype=np.uint8 if len(masks) < 256 else np.uint16)
        for number, mask in enumerate(masks, start=1):
            labels[mask] = number
        return labels
    limits.check_bytes(masks.size, "the SEG of overlapping objects")
    return np.ascontiguousarray(rearrange(masks, "objects z y x -> z y x objects"))


def _overlapping(masks: Bool[np.ndarray, "objects z y x"]) -> bool:
    taken = np.zeros(masks.shape[1:], dtype=bool)
    for mask in masks:
        if (taken & mask).any():
            return True
        taken |= mask
    return False


def _descriptions(answer: Segmentation) -> list[SegmentDescription]:
    provenance = answer.provenance
    parameters = {"weights": provenance.weights, "backend": provenance.backend, "precision": provenance.precision}
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_text(provenance.system),
        family=codes.DCM.ArtificialIntelligence,
        version=_text(provenance.version or UNKNOWN),
        parameters={key: _text(value) for key, value in parameters.items()},
    )
    pointed = any(prompt.get("kind") in POINTED_AT for prompt in provenance.prompts)
    described = []
    for number, name in enumerate(answer.names, start=1):
        known = property_of(name)
        segment = SegmentDescription(
            segment_number=number,
            segment_label=_text(name) or f"object {number}",
            segmented_property_category=known.category,
            segmented_property_type=known.type,
            algorithm_type="SEMIAUTOMATIC" if pointed else "AUTOMATIC",
            algorithm_identification=algorithm,
            anatomic_regions=None if known.region is None else [known.region],
        )
        if known.side is not None:
            side = highdicom.sr.CodedConcept(known.side.value, known.side.scheme_designator, known.side.meaning)
            segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [side]
        described.append(segment)
    return described


def _text(value: str) -> str:
    """A DICOM long string: 64 characters, no backslash, no control characters, ASCII."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in value)
    return plain.replace("\\", "/").strip()[:64]
