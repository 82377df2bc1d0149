"""The 32 classes of the Universal Model in the order of its channels, and what people call them."""

from __future__ import annotations

from types import MappingProxyType

CLASSES = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "esophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic vein",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
    "duodenum",
    "hepatic vessel",
    "right lung",
    "left lung",
    "colon",
    "intestine",
    "rectum",
    "bladder",
    "prostate",
    "left femur head",
    "right femur head",
    "celiac trunk",
    "kidney tumor",
    "liver tumor",
    "pancreas tumor",
    "hepatic vessel tumor",
    "lung tumor",
    "colon tumor",
    "kidney cyst",
)
PAIRED = ("kidney", "adrenal gland", "lung", "femur head")  # a plain word for a pair means both
SAME = MappingProxyType(
    {
        "gall bladder": "gallbladder",
        "oesophagus": "esophagus",
        "postcava": "inferior vena cava",
        "ivc": "inferior vena cava",
        "vena cava": "inferior vena cava",
        "portal vein": "portal and splenic vein",
        "splenic vein": "portal and splenic vein",
        "portal vein and splenic vein": "portal and splenic vein",
        "liver vessel": "hepatic vessel",
        "small intestine": "intestine",
        "small bowel": "intestine",
        "large intestine": "colon",
        "large bowel": "colon",
        "urinary bladder": "bladder",
        "celiac truck": "celiac trunk",
        "celiac artery": "celiac trunk",
        "coeliac trunk": "celiac trunk",
        "coeliac artery": "celiac trunk",
        "pancreatic tumor": "pancreas tumor",
        "hepatic tumor": "liver tumor",
        "renal tumor": "kidney tumor",
        "renal cyst": "kidney cyst",
        "pulmonary tumor": "lung tumor",
    }
)  # beside the names above; the published spelling is among them
PARTS = MappingProxyType(
    {
        "adrenal": "adrenal gland",
        "femoral head": "femur head",
        "head of femur": "femur head",
    }
)  # of a name with a side, or without one
WORDS = MappingProxyType({"tumour": "tumor", "r": "right", "l": "left"})


def called(label: str) -> tuple[str, ...]:
    """The classes that a plain word means, both sides of a pair where it names no side; none where it means nothing."""
    plain = " ".join(label.casefold().replace("_", " ").replace("+", " and ").split())
    return next((found for each in (plain, plain.removesuffix("s")) if (found := _classes(each))), ())


def _classes(name: str) -> tuple[str, ...]:
    name = " ".join(WORDS.get(word, word) for word in name.split())
    side = next((each for each in ("right ", "left ") if name.startswith(each)), "")
    part = name.removeprefix(side)
    part = PARTS.get(part, part)
    name = SAME.get(side + part, side + part)
    if not side and part in PAIRED:
        return f"right {part}", f"left {part}"
    return (name,) if name in CLASSES else ()
