"""What an object is called in SNOMED CT: a small table of common organs; what is not in it is a tissue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

STRUCTURES = MappingProxyType(  # plain words -> keyword of the anatomical structure
    {
        "adrenal gland": "AdrenalGland",
        "aorta": "Aorta",
        "bladder": "Bladder",
        "urinary bladder": "Bladder",
        "bone": "Bone",
        "brain": "Brain",
        "breast": "Breast",
        "colon": "Colon",
        "duodenum": "Duodenum",
        "esophagus": "Esophagus",
        "oesophagus": "Esophagus",
        "eye": "Eye",
        "femur": "Femur",
        "gallbladder": "Gallbladder",
        "heart": "Heart",
        "hippocampus": "Hippocampus",
        "inferior vena cava": "InferiorVenaCava",
        "kidney": "Kidney",
        "liver": "Liver",
        "lung": "Lung",
        "pancreas": "Pancreas",
        "prostate": "Prostate",
        "retina": "Retina",
        "rib": "Rib",
        "skin": "Skin",
        "spinal cord": "SpinalCord",
        "spine": "Spine",
        "spleen": "Spleen",
        "stomach": "Stomach",
        "trachea": "Trachea",
        "uterus": "Uterus",
        "vertebra": "Vertebra",
    }
)
ABNORMAL = MappingProxyType(
    {
        "lesion": "Lesion",
        "mass": "Mass",
        "neoplasm": "Neoplasm",
        "nodule": "Nodule",
        "tumor": "Neoplasm",
        "tumour": "Neoplasm",
    }
)


@dataclass(frozen=True, slots=True)
class Property:
    """Category, type and side of a segment, each a code."""

    category: Code
    type: Code
    side: Code | None = None


def property_of(name: str) -> Property:
    """The codes of an object's name, read without case, underscores and the plural; "left" and "right" are sides."""
    words = re.findall(r"[a-z]+", name.lower())
    sides = [word for word in words if word in ("left", "right")]
    side = getattr(codes.SCT, sides[0].capitalize()) if len(sides) == 1 else None
    plain = " ".join(word for word in words if word not in ("left", "right"))
    for kind in (plain, plain.removesuffix("s")):
        if kind in STRUCTURES:
            return Property(codes.SCT.AnatomicalStructure, getattr(codes.SCT, STRUCTURES[kind]), side)
        if kind in ABNORMAL:
            return Property(codes.SCT.MorphologicallyAbnormalStructure, getattr(codes.SCT, ABNORMAL[kind]), side)
    return Property(codes.SCT.Tissue, codes.SCT.Tissue)
