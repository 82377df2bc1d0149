"""What an object is called in SNOMED CT: a small table of common organs; what is not in it is a tissue."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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
        "celiac trunk": "CeliacAxis",
        "colon": "Colon",
        "duodenum": "Duodenum",
        "esophagus": "Esophagus",
        "oesophagus": "Esophagus",
        "eye": "Eye",
        "femur": "Femur",
        "femur head": "HeadOfFemur",
        "gallbladder": "Gallbladder",
        "heart": "Heart",
        "hepatic vein": "HepaticVein",
        "hippocampus": "Hippocampus",
        "inferior vena cava": "InferiorVenaCava",
        "kidney": "Kidney",
        "liver": "Liver",
        "lung": "Lung",
        "pancreas": "Pancreas",
        "portal and splenic vein": "PortalVein",  # its code is the larger part's; the label says both
        "portal vein": "PortalVein",
        "prostate": "Prostate",
        "rectum": "Rectum",
        "retina": "Retina",
        "rib": "Rib",
        "skin": "Skin",
        "small intestine": "SmallIntestine",
        "spinal cord": "SpinalCord",
        "spine": "Spine",
        "spleen": "Spleen",
        "splenic vein": "SplenicVein",
        "stomach": "Stomach",
        "trachea": "Trachea",
        "uterus": "Uterus",
        "vertebra": "Vertebra",
        "vessel": "BloodVessel",
    }
)
BESIDE = MappingProxyType({"intestine": Code("113276009", "SCT", "Intestine")})  # not in pydicom's dictionary
ABNORMAL = MappingProxyType(
    {
        "cyst": "Cyst",
        "lesion": "Lesion",
        "mass": "Mass",
        "neoplasm": "Neoplasm",
        "nodule": "Nodule",
        "tumor": "Neoplasm",
        "tumour": "Neoplasm",
    }
)
PLACES = MappingProxyType({"hepatic": "liver", "hepatic vessel": "liver", "renal": "kidney"})  # what is there is in it


@dataclass(frozen=True, slots=True)
class Property:
    """Category, type and side of a segment, each a code; `region` is the organ that a tumour or vessel is in."""

    category: Code
    type: Code
    side: Code | None = None
    region: Code | None = None


def property_of(name: str) -> Property:
    """The codes of an object's name, read without case, underscores and the plural; "left" and "right" are sides."""
    words = re.findall(r"[a-z]+", name.lower())
    sides = [word for word in words if word in ("left", "right")]
    side = getattr(codes.SCT, sides[0].capitalize()) if len(sides) == 1 else None
    plain = " ".join(word for word in words if word not in ("left", "right"))
    for kind in (plain, plain.removesuffix("s")):
        if structure := _structure(kind):
            return Property(codes.SCT.AnatomicalStructure, structure, side)
        if kind in ABNORMAL:
            return Property(codes.SCT.MorphologicallyAbnormalStructure, getattr(codes.SCT, ABNORMAL[kind]), side)
        place, _, last = kind.rpartition(" ")
        if (region := _structure(PLACES.get(place, place))) and (last in ABNORMAL or last == "vessel"):
            return replace(property_of(last), side=side, region=region)
    return Property(codes.SCT.Tissue, codes.SCT.Tissue)


def _structure(name: str) -> Code | None:
    return getattr(codes.SCT, STRUCTURES[name]) if name in STRUCTURES else BESIDE.get(name)
