"""Pictures with sentences, made from labels: what the two-tower recipes learn from.

Only sources whose licence lets weights ship (table in the data's README). What is known of a picture is a set of facts;
a caption says some of them in one of many ways (`phrases`), so it is known of which pictures it is true. Statements
of VQA-RAD are made of its questions and answers; its chests are films, its abdomens CT, its heads CT where listed, else
MR.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import phrases
from jaxtyping import UInt8
from PIL import Image as Picture
from scout_data import Archive, rows

from hilum.adapt.data_check import difference_hash
from hilum.capabilities.trainable import Captioned
from hilum.values.image import from_array

Fact = tuple[str, str]  # ("way" | "organ" | "view" | "there" | "absent", what)
SIDE = 256  # pixels of the longest side that is kept
LICENCES = {
    "cxr": "NIH ChestX-ray14 (free use, cite Wang 2017)",
    "brain_mri": "brain tumour MR (MIT)",
    "ultrasound": "BUSI (cite Al-Dhabyani 2020)",
    "nuclei": "BBBC038 (CC0)",
    "retina": "CHASE_DB1 (CC BY 4.0)",
    "vqa_rad": "VQA-RAD (CC0)",
    "hippocampus": "Medical Segmentation Decathlon, task 4 (CC BY-SA 4.0)",
    "ct_slices": "AMOS and TotalSegmentator slices (CC BY 4.0)",
    "ct_head": "CT_pitch of niivue-images (open)",
    "slide": "CMU-1 of OpenSlide's test data (CC0)",
}
TUMOURS = {"glioma_tumor": "glioma", "meningioma_tumor": "meningioma", "pituitary_tumor": "pituitary tumour"}
STAINS = {"fluorescence": "fluorescence", "stained": "histology", "grey": "light"}
OPACITIES = ("pneumonia", "infiltration")
CODES = {"xray": "DX", "ct": "CT", "mr": "MR", "us": "US", "fundus": "OP"}
HEADS_BY_CT = frozenset(  # of VQA-RAD, in the order of their names: seen by eye
    (9, 52, 137, 156, 174, 186, 190, 202, 228, 247, 249)
)
NEAR = 6  # bits of the difference hash in which pictures of one group differ at most
WINDOWS = ((40, 80), (40, 400), (400, 1800), (-500, 1400))  # of a CT: brain, soft tissue, bone, lung (level, width)


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """A picture and what is known of it. `patient` is a patient, or a group of pictures that look alike; `name` tells
    pictures of a source apart."""

    source: str
    name: str
    patient: str
    way: str
    organ: str
    picture: UInt8[np.ndarray, "c h w"]
    there: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    view: str = ""

    @property
    def modality(self) -> str | None:
        """DICOM's code."""
        return CODES.get(self.way)

    @property
    def healthy(self) -> bool:
        """Whether something was looked for and nothing found."""
        return bool(self.absent) and not self.there and self.source != "vqa_rad"

    @property
    def facts(self) -> frozenset[Fact]:
        """All that is known of it."""
        own = {("way", self.way), ("organ", self.organ), ("view", self.view)}
        own |= {("there", "healthy")} if self.healthy else set()
        return frozenset(own | {("there", each) for each in self.there} | {("absent", each) for each in self.absent})

    def caption(self, rng: np.random.Generator) -> tuple[str, frozenset[Fact]]:
        """A sentence, and the facts it tells."""
        parts = [kind(self.way, self.organ, self.view, rng)] if rng.random() < 0.8 else []
        if self.there and (not parts or rng.random() < 0.8):
            parts.append(claim(str(rng.choice(self.there)), True, rng))
        if self.healthy and rng.random() < 0.4:
            parts.append((str(rng.choice(phrases.HEALTHY)), frozenset({("there", "healthy")})))
        elif self.absent and (not parts or rng.random() < (0.2 if self.there else 0.5)):
            parts.append(claim(str(rng.choice(self.absent)), False, rng))
        if not parts:
            parts = [kind(self.way, self.organ, self.view, rng)]
        return ", ".join(text for text, _ in parts), frozenset().union(*(facts for _, facts in parts))

    def told(self, rng: np.random.Generator) -> Captioned:
        """One sentence about it, and its findings."""
        findings = dict.fromkeys(self.there, 1) | dict.fromkeys(self.absent, 0)
        return Captioned(from_array(self.picture, modality=self.modality), self.caption(rng)[0], findings)


def kind(way: str, organ: str, view: str, rng: np.random.Generator) -> tuple[str, frozenset[Fact]]:
    """What it is."""
    said = str(rng.choice(phrases.KIND))
    facts = {("way", way)} if "{way}" in said else set()
    facts |= {("organ", organ)} if "{organ}" in said else set()
    text = said.format(way=rng.choice(phrases.WAYS[way]), organ=rng.choice(phrases.ORGANS[organ]))
    if view and rng.random() < 0.1:
        return f"{text}, {view} view", frozenset(facts | {("view", view)})
    return text, frozenset(facts)


def claim(finding: str, there: bool, rng: np.random.Generator) -> tuple[str, frozenset[Fact]]:
    """That a finding is there, or not."""
    ways = phrases.SEEN if there else phrases.UNSEEN
    said = str(rng.choice(ways)).format(str(rng.choice(phrases.names(finding))))
    return said, frozenset({("there" if there else "absent", finding)})


def known(root: Path) -> Iterator[Known]:
    """All of them, source by source."""
    for make in (films, brains, breasts, cells, eyes, cases, hippocampi, organ_slices, head, slide):
        yield from make(root)


def films(root: Path) -> Iterator[Known]:
    """NIH's films with their labels; what is not named counts as absent."""
    archive = Archive(root / "cxr/images.zip")
    table = [row for row in rows(root / "cxr/metadata.csv") if row["file"].startswith("nih/")]
    names = sorted({said(name) for row in table for name in row["labels"].split("|")} - {"no finding", ""})
    for row in table:
        given = {said(name) for name in row["labels"].split("|")}
        there = [name for name in names if name in given]
        absent = [name for name in names if name not in given]
        (there if given & set(OPACITIES) else absent).append("opacity")
        picture = small(archive.image(row["file"]))
        yield Known(
            "cxr", row["file"], row["patient"], "xray", "chest", picture, tuple(there), tuple(absent), row["view"]
        )


def brains(root: Path) -> Iterator[Known]:
    """Slices with a tumour's type, or none; slices that look alike are one group."""
    archive = Archive(root / "brain_mri/images.zip")
    table = rows(root / "brain_mri/metadata.csv")
    pictures = [small(archive.image(row["file"])) for row in table]
    for row, picture, group in zip(table, pictures, groups(pictures), strict=True):
        here = TUMOURS.get(row["label"])
        there = (here, "brain tumour") if here else ()
        absent = tuple(name for name in (*TUMOURS.values(), "brain tumour") if name not in there)
        yield Known("brain_mri", row["file"], group, "mr", "head", picture, there, absent)


def breasts(root: Path) -> Iterator[Known]:
    """Ultrasound with a benign or malignant lesion, or none; pictures that look alike are one group."""
    archive = Archive(root / "ultrasound/images.zip")
    table = rows(root / "ultrasound/metadata.csv")
    pictures = [small(archive.image(row["file"])) for row in table]
    for row, picture, group in zip(table, pictures, groups(pictures), strict=True):
        there = () if row["label"] == "normal" else (f"{row['label']} lesion", "lesion")
        absent = tuple(name for name in ("benign lesion", "malignant lesion", "lesion") if name not in there)
        yield Known("ultrasound", row["file"], group, "us", "breast", picture, there, absent)


def cells(root: Path) -> Iterator[Known]:
    """Microscopy, by its kind."""
    archive = Archive(root / "nuclei/images.zip")
    for row in rows(root / "nuclei/metadata.csv"):
        way = next((way for key, way in STAINS.items() if key in row["kind"]), "histology")
        yield Known("nuclei", row["file"], row["file"], way, "cells", small(archive.image(row["image"])))


def eyes(root: Path) -> Iterator[Known]:
    """Fundus photographs of children (CHASE_DB1); both eyes of a child under one name."""
    archive = Archive(root / "retina/images.zip")
    for row in rows(root / "retina/metadata.csv"):
        if row["dataset"] == "CHASE":
            child = Path(row["file"]).stem[:-1]
            yield Known("retina", row["file"], child, "fundus", "eye", small(archive.image(row["file"])))


def cases(root: Path) -> Iterator[Known]:
    """VQA-RAD: closed questions with a yes or no become what is there or absent."""
    archive, kinds = Archive(root / "vqa_rad/images.zip"), {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
    told: dict[str, tuple[str, list[str], list[str]]] = {}
    for row in rows(root / "vqa_rad/qa.csv"):
        organ = kinds[row["organ"]]
        _, there, absent = told.setdefault(row["image"], (organ, [], []))
        statement = stated(row["question"])
        if statement and row["answer"].strip().lower() in ("yes", "no"):
            (there if row["answer"].strip().lower() == "yes" else absent).append(statement)
    for number, (name, (organ, there, absent)) in enumerate(sorted(told.items())):
        way = {"chest": "xray", "abdomen": "ct"}.get(organ, "ct" if number in HEADS_BY_CT else "mr")
        yield Known("vqa_rad", name, name, way, organ, small(archive.image(name)), tuple(there), tuple(absent))


def hippocampi(root: Path) -> Iterator[Known]:
    """Three slices of each crop, one along each axis."""
    archive = Archive(root / "hippocampus/hippocampus.zip")
    for row in rows(root / "hippocampus/metadata.csv"):
        volume = np.asarray(read_nifti(archive, f"images/{row['file']}"))
        for axis in range(3):
            plane = np.take(volume, volume.shape[axis] // 2, axis)
            picture = grey(plane, *np.percentile(plane, (1, 99)))
            yield Known("hippocampus", f"{row['file']} axis {axis}", row["file"], "mr", "hippocampus", picture)


def organ_slices(root: Path) -> Iterator[Known]:
    """Five CT slices whose organs are outlined."""
    archive = Archive(root / "ct-mr/ct_slices_organs.zip")
    found: dict[str, list[str]] = {}
    with (root / "ct-mr/ct_slices_organs.csv").open() as file:
        for line in file.read().splitlines()[1:]:
            image, _, structure, _ = line.split(",")
            found.setdefault(image, []).append(structure)
    for image, organs in found.items():
        organ = "chest" if any("lung" in each or "heart" in each for each in organs) else "abdomen"
        organ = "pelvis" if any("gluteus" in each or "hip" in each for each in organs) else organ
        yield Known("ct_slices", image, image, "ct", organ, small(archive.image(image)), tuple(organs))


def head(root: Path) -> Iterator[Known]:
    """A CT of a head: planes along each axis, in one of four windows."""
    volume = nibabel.load(root / "ct-mr/volumes/CT_pitch.nii.gz").get_fdata()
    for axis in range(3):
        for number, place in enumerate(np.linspace(0.15, 0.85, 24)):
            level, width = WINDOWS[number % len(WINDOWS)]
            plane = np.rot90(np.take(volume, int(place * volume.shape[axis]), axis))
            picture = grey(plane, level - width / 2, level + width / 2)
            yield Known("ct_head", f"axis {axis} {place:.2f}", "CT_pitch", "ct", "head", picture)


def slide(root: Path) -> Iterator[Known]:
    """Tiles of a slide, at two magnifications, where there is tissue."""
    import tifffile

    with tifffile.TiffFile(root / "wsi/CMU-1-Small-Region.svs") as file:
        page = file.pages[0].asarray()
    for side in (256, 512):
        for top in range(0, page.shape[0] - side, side):
            for left in range(0, page.shape[1] - side, side):
                tile = page[top : top + side, left : left + side]
                if tile.mean() < 235:
                    yield Known("slide", f"{side} px {left} {top}", "CMU-1", "histology", "tissue", small(tile))


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


def read_nifti(archive: Archive, name: str) -> np.ndarray:
    """A volume in a zip file."""
    import gzip

    return nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.file.read(name))).get_fdata()


def grey(plane: np.ndarray, low: float, high: float) -> UInt8[np.ndarray, "1 h w"]:
    """A plane between two values as 8 bit."""
    scaled = np.clip((plane - low) / max(high - low, 1e-6), 0, 1) * 255
    return small(scaled.round().astype(np.uint8)[..., None])


def small(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "c h w"]:
    """At most SIDE pixels long; one channel where all are alike."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    alike = image.shape[2] == 1 or bool((image == image[..., :1]).all())
    picture = Picture.fromarray(image[..., 0] if alike else image[..., :3])
    picture = picture.resize((round(width * scale), round(height * scale)), Picture.Resampling.BILINEAR)
    array = np.asarray(picture)
    return array[None] if alike else np.moveaxis(array, -1, 0)


def groups(pictures: list[UInt8[np.ndarray, "c h w"]]) -> list[str]:
    """The group of each: pictures whose difference hashes differ in few bits are joined, and so on through chains."""
    hashes = np.stack([difference_hash(picture.mean(0) / 255) for picture in pictures])
    from scipy.sparse.csgraph import connected_components

    apart = (hashes[:, None] != hashes[None]).sum(-1)
    return [f"group{each}" for each in connected_components(apart <= NEAR)[1]]


def apart(pictures: list[Known], held: Callable[[str], bool]) -> tuple[list[Known], list[Known]]:
    """Those to learn from and those held back, by patient."""
    train = [each for each in pictures if not held(f"{each.source} {each.patient}")]
    return train, [each for each in pictures if held(f"{each.source} {each.patient}")]
