"""How what is known of a picture is said: words for kinds and organs, ways to say that something is there or is not.

HELD ways are never trained on; they are for measuring whether a text tower understands negation in new words.
"""

WAYS = {  # of making a picture
    "xray": ("X-ray", "radiograph", "plain film", "X-ray image", "radiography"),
    "ct": ("CT", "computed tomography", "CT scan", "CT slice", "computed tomography image"),
    "mr": ("MRI", "magnetic resonance imaging", "MR image", "MR slice", "magnetic resonance scan"),
    "us": ("ultrasound", "sonogram", "ultrasound image", "sonography", "ultrasonography"),
    "fundus": ("fundus photograph", "colour fundus photography", "retinal photograph", "fundus image"),
    "histology": ("histology", "histopathology", "stained tissue section", "H&E section", "pathology slide"),
    "fluorescence": ("fluorescence microscopy", "fluorescence image", "fluorescence micrograph"),
    "light": ("brightfield microscopy", "light microscopy", "light micrograph"),
}
ORGANS = {
    "chest": ("chest", "thorax", "lungs"),
    "head": ("brain", "head"),
    "abdomen": ("abdomen", "belly"),
    "pelvis": ("pelvis",),
    "breast": ("breast",),
    "eye": ("eye", "retina"),
    "cells": ("cell nuclei", "cells", "nuclei"),
    "tissue": ("tissue",),
    "hippocampus": ("hippocampus", "brain"),
}
KIND = ("{way} of the {organ}", "a {way} of the {organ}", "{organ} {way}", "this is a photo of {organ} {way}",
        "an image of the {organ}, {way}", "{way}, {organ}", "{organ}", "a picture of the {organ}", "{way}", "a {way}",
        "this is a photo of {way}", "this is a photo of the {organ}", "modality: {way}",
        "the modality is {way}")  # fmt: skip
SEEN = ("there is {}", "{} is seen", "findings of {}", "{}", "signs of {}", "{} is present", "shows {}", "with {}",
        "evidence of {}", "consistent with {}", "this is a photo of {}", "an image with {}", "positive for {}",
        "a patient with {}", "{} can be seen")  # fmt: skip
UNSEEN = ("there is no {}", "no {}", "no evidence of {}", "{} is not seen", "without {}", "no signs of {}",
          "{} is absent", "not {}", "shows no {}", "an image without {}", "no {} is present", "free of {}",
          "there is not any {}", "a patient with no {}", "{} is not present")  # fmt: skip
HELD_SEEN = ("the image demonstrates {}", "{} has been found", "findings are positive for {}", "one can see {}")
HELD_UNSEEN = ("the image demonstrates no {}", "{} has not been found", "findings are negative for {}", "absence of {}")
HEALTHY = ("normal", "no finding", "no abnormality", "a normal image", "healthy", "unremarkable", "without findings")
SAME = {  # other words for a finding
    "effusion": ("pleural effusion", "effusion", "fluid in the pleural space"),
    "pneumonia": ("pneumonia", "lung infection"),
    "infiltration": ("infiltration", "an infiltrate", "pulmonary infiltration"),
    "edema": ("pulmonary edema", "edema", "lung oedema"),
    "atelectasis": ("atelectasis", "collapse of lung tissue"),
    "consolidation": ("consolidation", "lung consolidation", "airspace consolidation"),
    "cardiomegaly": ("cardiomegaly", "an enlarged heart"),
    "pneumothorax": ("pneumothorax", "air in the pleural space"),
    "nodule": ("nodule", "a lung nodule"),
    "mass": ("mass", "a lung mass"),
    "opacity": ("lung opacity", "an opacity in the lungs", "pneumonia or infiltration"),
    "glioma": ("glioma", "glioma tumour", "a glioma"),
    "meningioma": ("meningioma", "meningioma tumour", "a meningioma"),
    "pituitary tumour": ("pituitary tumour", "pituitary adenoma", "a tumour of the pituitary gland"),
    "brain tumour": ("tumour", "brain tumour", "a tumour of the brain"),
    "benign lesion": ("benign lesion", "benign breast lesion", "a benign tumour"),
    "malignant lesion": ("malignant lesion", "malignant breast lesion", "breast cancer", "a malignant tumour"),
    "lesion": ("lesion", "a breast lesion", "breast mass"),
}


def names(finding: str) -> tuple[str, ...]:
    """The words for a finding."""
    return SAME.get(finding, (finding,))
