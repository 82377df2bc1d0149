"""Canaries: a patient whose every attribute is found again wherever it comes out."""

import re

from pydicom.datadict import DicomDictionary, keyword_for_tag

SONG = re.compile(rb"canary|1934.?05.?06|06.?05.?1934", re.IGNORECASE)
SUNG = {"PN": "Canary^Yellow", "DA": "19340506", "DT": "19340506070809.0", "AS": "089Y"}
TEXTS = ("LO", "SH", "ST", "LT", "UT", "UC")
NAMED = re.compile(
    r"Patient|Physician|Operator|Institution|Accession|StudyID|Address|Telephone|Comment|Description|Station|Serial|Name$"
    r"|Person|Admission|Order|Request|Procedure|Protocol|Reason|History|Allerg|Occupation|Religio|Visit|Special"
)


def canaries() -> dict[str, str]:
    """Every top-level attribute that could tell who somebody is, with a canary in it."""
    found = {}
    for tag, (kind, _, _, retired, _) in DicomDictionary.items():
        keyword = keyword_for_tag(tag)
        if retired or not keyword or tag >> 16 in (0x0000, 0x0002, 0x0004, 0x0028, 0x7FE0):
            continue
        if kind in SUNG:
            found[keyword] = SUNG[kind]
        elif kind in TEXTS and NAMED.search(keyword):
            found[keyword] = "CANARY-0001"
    return found
