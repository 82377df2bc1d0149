"""Pictures with sentences, made from labels: what the two-tower recipes learn from.

Only sources whose licence lets weights ship (table in the data's README). What is known of a picture is said in one of
several ways, now and then with what it does not show; statements of VQA-RAD are made of its questions and answers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image as Picture
from scout_data import Archive, rows

from hilum.capabilities.trainable import Captioned
from hilum.values.image import from_array

SIDE = 256  # pixels of the longest side that is kept
LICENCES = {
    "cxr": "NIH ChestX-ray14 (free use, cite Wang 2017)",
    "brain_mri": "brain tumour MR (MIT)",
    "ultrasound": "BUSI (cite Al-Dhabyani 2020)",
    "nuclei": "BBBC038 (CC0)",
    "retina": "CHASE_DB1 (CC BY 4.0)",
    "vqa_rad": "VQA-RAD (CC0)",
}
FILM = ("a chest X-ray", "a frontal chest radiograph", "a film of the chest")
SEEN = ("there is {}", "{} is seen", "findings of {}", "{}", "signs of {}")
UNSEEN = ("there is no {}", "no {}", "no evidence of {}", "{} is not seen")
TUMOURS = {"glioma_tumor": "glioma", "meningioma_tumor": "meningioma", "pituitary_tumor": "pituitary tumour"}
STAINS = {
    "fluorescence": ("fluorescence microscopy of cell nuclei", "nuclei under a fluorescence microscope"),
    "stained": ("stained tissue under a microscope, in colour", "a histology section with coloured nuclei"),
    "grey": ("brightfield microscopy of cells, in grey", "cells under a light microscope"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A picture and what is known of it: what it is (in several ways), what it shows, what it does not."""

    source: str
    patient: str
    modality: str | None
    picture: UInt8[np.ndarray, "c h w"]
    kinds: tuple[str, ...]
    there: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def told(self, rng: np.random.Generator) -> Captioned:
        """One sentence about it, and its findings."""
        parts = [str(rng.choice(self.kinds))]
        if self.there:
            parts.append(str(rng.choice(SEEN)).format(str(rng.choice(self.there))))
        if self.absent and (not self.there or rng.random() < 0.5):
            parts.append(str(rng.choice(UNSEEN)).format(str(rng.choice(self.absent))))
        keep = rng.random(len(parts)) < 0.8
        said = [part for part, kept in zip(parts, keep, strict=True) if kept] or parts
        findings = dict.fromkeys(self.there, 1) | dict.fromkeys(self.absent, 0)
        return Captioned(from_array(self.picture, modality=self.modality), ", ".join(said), findings)


def known(root: Path) -> Iterator[Known]:
    """All of them, source by source."""
    for make in (films, brains, breasts, cells, eyes, cases):
        yield from make(root)


def films(root: Path) -> Iterator[Known]:
    """NIH's films with their labels; what is not named counts as absent."""
    archive = Archive(root / "cxr/images.zip")
    table = [row for row in rows(root / "cxr/metadata.csv") if row["file"].startswith("nih/")]
    names = sorted({name for row in table for name in row["labels"].split("|")} - {"No Finding", ""})
    for row in table:
        given = row["labels"].split("|")
        there = tuple(said(name) for name in names if name in given)
        absent = tuple(said(name) for name in names if name not in given)
        kinds = (*FILM, f"{FILM[0]}, {row['view']} view")
        if not there:
            kinds = (*kinds, *(f"{film}, the lungs are clear" for film in FILM), f"{FILM[1]} without findings")
        yield Known("cxr", row["patient"], row["modality"], small(archive.image(row["file"])), kinds, there, absent)


def brains(root: Path) -> Iterator[Known]:
    """Slices with a tumour's type, or none."""
    archive = Archive(root / "brain_mri/images.zip")
    kinds = ("a brain MR slice", "magnetic resonance of the head", "contrast-enhanced brain MRI")
    for row in rows(root / "brain_mri/metadata.csv"):
        here = TUMOURS.get(row["label"])
        absent = tuple(name for name in TUMOURS.values() if name != here) + (() if here else ("tumour",))
        picture = small(archive.image(row["file"]))
        yield Known("brain_mri", row["file"], "MR", picture, kinds, (here,) if here else (), absent)


def breasts(root: Path) -> Iterator[Known]:
    """Ultrasound with a benign or malignant lesion, or none."""
    archive = Archive(root / "ultrasound/images.zip")
    kinds = ("a breast ultrasound", "ultrasound of the breast", "a sonogram of breast tissue")
    for row in rows(root / "ultrasound/metadata.csv"):
        here = () if row["label"] == "normal" else (f"{row['label']} lesion", f"{row['label']} breast lesion")
        other = {"benign": "malignant lesion", "malignant": "benign lesion", "normal": "lesion"}[row["label"]]
        yield Known("ultrasound", row["file"], "US", small(archive.image(row["file"])), kinds, here, (other,))


def cells(root: Path) -> Iterator[Known]:
    """Microscopy, by its kind."""
    archive = Archive(root / "nuclei/images.zip")
    for row in rows(root / "nuclei/metadata.csv"):
        kinds = next((words for key, words in STAINS.items() if key in row["kind"]), STAINS["stained"])
        yield Known("nuclei", row["file"], None, small(archive.image(row["image"])), kinds)


def eyes(root: Path) -> Iterator[Known]:
    """Fundus photographs of children (CHASE_DB1); both eyes of a child under one name."""
    archive = Archive(root / "retina/images.zip")
    kinds = ("a colour fundus photograph", "a photograph of the retina", "the back of the eye with its vessels")
    for row in rows(root / "retina/metadata.csv"):
        if row["dataset"] == "CHASE":
            child = Path(row["file"]).stem[:-1]
            yield Known("retina", child, "OP", small(archive.image(row["file"])), kinds)


def cases(root: Path) -> Iterator[Known]:
    """VQA-RAD: closed questions with a yes or no become what is there or absent."""
    archive, kinds = Archive(root / "vqa_rad/images.zip"), {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
    told: dict[str, tuple[str, list[str], list[str]]] = {}
    for row in rows(root / "vqa_rad/qa.csv"):
        organ = kinds.get(row["organ"], row["organ"].lower())
        _, there, absent = told.setdefault(row["image"], (organ, [], []))
        statement = stated(row["question"])
        if statement and row["answer"].strip().lower() in ("yes", "no"):
            (there if row["answer"].strip().lower() == "yes" else absent).append(statement)
    for name, (organ, there, absent) in told.items():
        words = (f"a radiology image of the {organ}", f"an image of the {organ}")
        yield Known("vqa_rad", name, None, small(archive.image(name)), words, tuple(there), tuple(absent))


def stated(question: str) -> str | None:
    """ "Is there a pleural effusion?" -> "a pleural effusion"; None for other questions."""
    asked = question.strip().rstrip("?").lower()
    for beginning in ("is there evidence of ", "is there ", "are there ", "does the image show "):
        if asked.startswith(beginning) and len(asked.split()) < 12:
            return asked.removeprefix(beginning).removeprefix("any ")
    return None


def said(label: str) -> str:
    """NIH's label as words."""
    return label.replace("_", " ").lower()


def small(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "c h w"]:
    """At most SIDE pixels long; one channel where all are alike."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    grey = image.shape[2] == 1 or bool((image == image[..., :1]).all())
    picture = Picture.fromarray(image[..., 0] if grey else image[..., :3])
    picture = picture.resize((round(width * scale), round(height * scale)), Picture.Resampling.BILINEAR)
    array = np.asarray(picture)
    return array[None] if grey else np.moveaxis(array, -1, 0)


def apart(pictures: list[Known], held: Callable[[str], bool]) -> tuple[list[Known], list[Known]]:
    """Those to learn from and those held back, by patient."""
    train = [each for each in pictures if not held(f"{each.source} {each.patient}")]
    return train, [each for each in pictures if held(f"{each.source} {each.patient}")]
