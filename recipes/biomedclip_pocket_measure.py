"""What biomedclip.pocket can do, beside two rivals that learn from the same pictures: HOG and ridge, thumbnails.

python recipes/biomedclip_pocket_measure.py          # docs/zero-shot.md and the card, between their marks

Measured on patients (or groups of pictures that look alike) held back from the training, and on whole sources that it
never used. Intervals: 95 %, whole patients drawn anew 1,000 times.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import biomedclip_pocket as recipe
import numpy as np
import phrases
import torch
from captions import Known
from minilm import minilm
from scout import between
from scout_data import data_root
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unseen_sources import ultrasounds, unseen

from hilum import registry
from hilum.adapt.data_check import difference_hash
from hilum.bench import rivals
from hilum.bench.resample import interval, redrawn
from hilum.bench.tower_speed import Int8
from hilum.parts.two_tower import unit
from hilum.values.image import from_array

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/zero-shot.md"
MODALITIES = ("xray", "ct", "mr", "us", "fundus", "histology", "fluorescence")
ORGANS = ("chest", "head", "abdomen", "breast", "eye", "cells")
ALIKE = {"pelvis": "abdomen", "hippocampus": "head", "tissue": "cells", "light": "histology"}
TUMOURS = ("glioma", "meningioma", "pituitary tumour", "none")
LESIONS = ("benign lesion", "malignant lesion", "none")
FAR = 6  # bits of the difference hash: pictures that differ in no more may be neighbouring slices
ZERO, PROBE = "biomedclip.pocket, zero-shot", "biomedclip.pocket, linear probe"
HOG, THUMBNAIL = "HOG + ridge", "1-NN on 8 × 8"
Measure = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table."""

    what: str
    by: str
    measure: str
    numbers: tuple[float, float, float]
    cases: int


class Pocket:
    """The system as the door loads it, with vectors by the batch."""

    def __init__(self, tag: str = "biomedclip.pocket"):
        self.system = registry.load(tag, backend="torch")

    def pixels(self, pictures: list[Known]) -> torch.Tensor:
        return torch.cat([self.system.pixels(self.system.prepare(from_array(each.picture))) for each in pictures])

    @torch.inference_mode()
    def vectors(self, pictures: list[Known]) -> np.ndarray:
        """Unit vectors."""
        parts = [pictures[start : start + 64] for start in range(0, len(pictures), 64)]
        return torch.cat([unit(self.system.network.visual(self.pixels(part))) for part in parts]).numpy()

    def texts(self, groups: list[list[str]]) -> np.ndarray:
        """A unit vector for each group of texts: the mean of theirs."""
        means = [unit(torch.from_numpy(self.system.worded(group))).mean(0, keepdim=True) for group in groups]
        return unit(torch.cat(means)).numpy()


def rivalling(train: list[Known], test: list[Known], label: Callable[[Known], str]) -> dict[str, np.ndarray]:
    """Scores of both rivals over the classes in sorted order."""
    names, labels = np.unique([label(each) for each in train], return_inverse=True)
    squares = [
        [rivals.middle(each.picture.mean(0).round().astype(np.uint8)) for each in some] for some in (train, test)
    ]
    edges, small = ([make(some) for some in squares] for make in (rivals.gradients, rivals.thumbnails))
    return {
        HOG: rivals.ridge(edges[0], labels, edges[1], len(names)),
        THUMBNAIL: rivals.nearest(small[0], labels, small[1], len(names)),
    }


def with_interval(
    measure: Measure, truth: np.ndarray, found: np.ndarray, groups: np.ndarray
) -> tuple[float, float, float]:
    """The value and its interval; draws without one of the classes give none."""
    draws = []
    for rows in redrawn(groups):
        try:
            draws.append(measure(truth[rows], found[rows]))
        except ValueError:
            draws.append(np.nan)
    low, high = interval(np.array(draws))
    return measure(truth, found), float(low), float(high)


def balanced(truth: np.ndarray, found: np.ndarray) -> float:
    """The mean over the classes of how often they are found."""
    return float(np.mean([(found[truth == each] == each).mean() for each in np.unique(truth)]))


def people(pictures: list[Known]) -> np.ndarray:
    """The group of each."""
    return np.array([f"{each.source} {each.patient}" for each in pictures])


def named(pocket: Pocket, test: list[Known], names: tuple[str, ...]) -> np.ndarray:
    """The nearest of some modalities or organs, each said in all of its words."""
    every = phrases.WAYS | phrases.ORGANS
    words = [[word for each in (name, *joined(name)) for word in every[each]] for name in names]
    groups = [[f"this is a photo of {word}" for word in said] + list(said) for said in words]
    return np.array(names)[(pocket.vectors(test) @ pocket.texts(groups).T).argmax(1)]


def joined(name: str) -> tuple[str, ...]:
    """What counts as the same and has words of its own."""
    return tuple(other for other, own in ALIKE.items() if own == name and other not in ("light", "hippocampus"))


def kinds(pocket: Pocket, train: list[Known], test: list[Known]) -> list[Line]:
    """Modality and organ on sources never used."""
    lines = []
    for attribute, what, names in (("way", "modality", MODALITIES), ("organ", "organ", ORGANS)):

        def label(each: Known, attribute: str = attribute) -> str:
            own = getattr(each, attribute)
            return ALIKE.get(own, own)

        truth, groups = np.array([label(each) for each in test]), people(test)
        own = [each for each in train if label(each) in names]
        order = np.unique([label(each) for each in own])
        found = {ZERO: named(pocket, test, names)}
        found |= {by: order[scores.argmax(1)] for by, scores in rivalling(own, test, label).items()}
        title = f"{what} of unseen sources, {len(set(truth))} of {len(names)} labels"
        lines += [
            Line(title, by, "balanced accuracy", with_interval(balanced, truth, said, groups), len(test))
            for by, said in found.items()
        ]
    return lines


def sick(each: Known) -> bool | None:
    """Pneumonia or infiltration, or no finding; None: another one."""
    return True if "opacity" in each.there else None if each.there else False


def opacity(pocket: Pocket, train: list[Known], test: list[Known]) -> list[Line]:
    """Pneumonia or infiltration against no finding, within each view."""
    train, test = ([each for each in some if each.source == "cxr" and sick(each) is not None] for some in (train, test))
    truth, views, groups = np.array([sick(each) for each in test]), np.array([each.view for each in test]), people(test)
    claim, denial = opacity_texts(pocket)
    seen = pocket.vectors(test)
    found = {
        ZERO: seen @ (claim - denial),
        PROBE: probed(pocket.vectors(train), [str(sick(each)) for each in train], seen)[:, 1],
        "biomedclip.pocket in int8, zero-shot": unit(int8(pocket, train, test)).numpy() @ (claim - denial),
        "biomedclip.pocket by openvino:int8, zero-shot": unit(by_door(pocket, test)).numpy() @ (claim - denial),
    } | {by: scores[:, 1] for by, scores in rivalling(train, test, lambda each: str(sick(each))).items()}

    def within(view: str) -> Measure:
        def area(rows: np.ndarray, scores: np.ndarray) -> float:
            own = rows[views[rows] == view]
            return float(roc_auc_score(truth[own], scores[views[rows] == view]))

        return area

    def mean(rows: np.ndarray, scores: np.ndarray) -> float:
        return (within("AP")(rows, scores) + within("PA")(rows, scores)) / 2

    lines, rows = [], np.arange(len(test))
    for by, scores in found.items():
        for what, measure in (("AP", within("AP")), ("PA", within("PA")), ("mean of both", mean)):
            count = len(test) if measure is mean else int((views == what).sum())
            numbers = with_interval(measure, rows, scores, groups)
            lines.append(Line(f"opacity on NIH films, {what}", by, "AUROC", numbers, count))
    return lines


def opacity_texts(pocket: Pocket) -> np.ndarray:
    """The claims' vector and the denials'."""
    words = phrases.SAME["opacity"] + phrases.SAME["pneumonia"]
    claims = [way.format(word) for way in ("there is {}", "signs of {}") for word in words]
    denials = [way.format(word) for way in ("there is no {}", "no signs of {}") for word in words]
    return pocket.texts([claims, denials])


def int8(pocket: Pocket, train: list[Known], test: list[Known]) -> torch.Tensor:
    """Vectors by int8 products, calibrated on films of the training."""
    module, shape = pocket.system.costly()
    rows = tuple(pocket.pixels(train[:128]).split(1))
    return in_eights(Int8(rows).compile(module, (8, *shape[1:]), key=""), pocket.pixels(test))


def by_door(pocket: Pocket, test: list[Known]) -> torch.Tensor:
    """Vectors as `--backend openvino:int8` makes them, which is calibrated on nothing."""
    return in_eights(pocket.system.placed("cpu", "openvino:int8").run, pocket.pixels(test))


def in_eights(run: Callable[[torch.Tensor], torch.Tensor], given: torch.Tensor) -> torch.Tensor:
    """All rows by batches of eight, the last one filled."""
    filled = torch.cat([given, given[: -len(given) % 8]])
    return torch.cat([run(part) for part in filled.split(8)])[: len(given)]


def probed(known: np.ndarray, labels: list[str], wanted: np.ndarray) -> np.ndarray:
    """A linear probe's probabilities."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, class_weight="balanced", max_iter=2000))
    return probe.fit(known, labels).predict_proba(wanted)


def classes(pocket: Pocket, train: list[Known], test: list[Known]) -> list[Line]:
    """Tumour type and lesion class: by a probe, zero-shot, by the rivals; without near copies of the training."""
    lines = []
    for source, names, what in (("brain_mri", TUMOURS, "tumour type"), ("ultrasound", LESIONS, "lesion class")):

        def label(each: Known, names: tuple[str, ...] = names) -> str:
            return next((name for name in names if name in each.there), "none")

        own, others = ([each for each in some if each.source == source] for some in (train, test))
        others = [each for each, far in zip(others, far_from(own, others), strict=True) if far > FAR]
        truth, groups, seen = np.array([label(each) for each in others]), people(others), pocket.vectors(others)
        texts = [list(phrases.HEALTHY) if name == "none" else list(phrases.names(name)) for name in names]
        order = np.array(sorted(names))
        found = {
            PROBE: order[probed(pocket.vectors(own), [label(each) for each in own], seen).argmax(1)],
            ZERO: np.array(names)[(seen @ pocket.texts(texts).T).argmax(1)],
        } | {by: order[scores.argmax(1)] for by, scores in rivalling(own, others, label).items()}
        title = f"{what}, {len(names)} classes"
        lines += [
            Line(title, by, "balanced accuracy", with_interval(balanced, truth, said, groups), len(others))
            for by, said in found.items()
        ]
    return lines


def far_from(known: list[Known], others: list[Known]) -> np.ndarray:
    """In how many bits of the difference hash each differs from the nearest picture of the training."""
    hashes = [np.stack([difference_hash(each.picture.mean(0) / 255) for each in some]) for some in (others, known)]
    return (hashes[0][:, None] != hashes[1][None]).sum(-1).min(1)


def negation(pocket: Pocket, test: list[Known]) -> list[Line]:
    """Of "X" and "no X", in words never trained on, which one wins beside the picture."""
    test = [each for each in test if each.source in ("cxr", "brain_mri", "ultrasound", "vqa_rad")]
    places, sides, there = claims_and_denials(test)
    known = sorted({text for side in sides for text in side})
    vectors = dict(zip(known, pocket.texts([[text] for text in known]), strict=True))
    claims, denials = (np.stack([vectors[text] for text in side]) for side in sides)
    said = (pocket.vectors(test)[places] * (claims - denials)).sum(1) > 0
    groups, sources = people(test)[places], np.array([each.source for each in test])[places]

    def right(truth: np.ndarray, said: np.ndarray) -> float:
        return float((truth == said).mean())

    lines = [
        Line("negation, all pairs", by, "right", with_interval(right, there, found, groups), len(there))
        for by, found in ((ZERO, said), ('always "no X"', np.zeros_like(said)))
    ]
    for source in ("all", "cxr", "brain_mri", "ultrasound", "vqa_rad"):
        rows = np.ones(len(there), bool) if source == "all" else sources == source
        numbers = with_interval(balanced, there[rows], said[rows], groups[rows])
        title = f"negation, there and absent weigh alike, {source}"
        lines.append(Line(title, ZERO, "balanced accuracy", numbers, int(rows.sum())))
    return lines


def claims_and_denials(test: list[Known]) -> tuple[np.ndarray, tuple[list[str], list[str]], np.ndarray]:
    """Of each finding that is known of each picture: its place, both texts in held words, and whether it is there."""
    places, claims, denials, there = [], [], [], []
    for place, each in enumerate(test):
        for number, finding in enumerate((*each.there, *each.absent)):
            way, word = (place + number) % len(phrases.HELD_SEEN), phrases.names(finding)[0]
            claims.append(phrases.HELD_SEEN[way].format(word))
            denials.append(phrases.HELD_UNSEEN[way].format(word))
            places.append(place)
            there.append(finding in each.there)
    return np.array(places), (claims, denials), np.array(there)


def denials_alike(encode: Callable[[list[str]], np.ndarray]) -> tuple[float, int]:
    """How often two denials of a finding, in held words, are nearer to each other than to its claim."""
    ways = [(one, other) for one in phrases.HELD_UNSEEN for other in phrases.HELD_UNSEEN if one != other]
    findings = [name for names in phrases.SAME.values() for name in names]
    rows = [(one.format(name), other.format(name), f"large left {name}") for name in findings for one, other in ways]
    one, other, claim = (encode([row[part] for row in rows]) for part in range(3))
    return float(((one * other).sum(1) > (one * claim).sum(1)).mean()), len(rows)


def near(encode: Callable[[list[str]], np.ndarray], one: str, other: str) -> float:
    """The mean cosine of two phrasings over all findings."""
    findings = [name for names in phrases.SAME.values() for name in names]
    return float(
        (encode([one.format(each) for each in findings]) * encode([other.format(each) for each in findings]))
        .sum(1)
        .mean()
    )


def sentences(pocket: Pocket) -> list[str]:
    """What stands below the table."""
    sounds = list(ultrasounds())
    right = int((named(pocket, sounds, MODALITIES) == "us").sum())
    told = [f"- Of pydicom's {len(sounds)} ultrasound pictures (it learned from breasts only), {right} are called so."]
    encoders = {"biomedclip.pocket": lambda texts: pocket.texts([[text] for text in texts])}
    for name, encode in (encoders | ({"MiniLM": other} if (other := minilm()) else {})).items():
        own, other = (near(encode, "no {}", far) for far in ("without {}", "large left {}"))
        share, count = denials_alike(encode)
        what = f'nearer to each other than to "large left …" in {share:.3f} of {count} triples'
        told.append(
            f'- {name}: the mean cosine of "no …" is {own:.2f} with "without …" and {other:.2f} with "large left …"; '
            f"two denials of a finding, in phrasings that ours was never trained on, are {what}."
        )
    return told


def table(lines: list[Line]) -> list[str]:
    """As Markdown."""
    head = ["| what | by | measure | value [95 %] | cases |", "|---|---|---|---|---:|"]
    rows = [f"| {each.what} | {each.by} | {each.measure} | {number(each.numbers)} | {each.cases} |" for each in lines]
    return head + rows


def number(told: tuple[float, float, float]) -> str:
    return f"{told[0]:.3f} [{told[1]:.3f}, {told[2]:.3f}]"


def on_card(line: Line) -> bool:
    """Whether a line stands on the card."""
    if line.by == PROBE:
        return "classes" in line.what or "mean" in line.what
    return line.by == ZERO and ("unseen" in line.what or "mean" in line.what or line.what.endswith("alike, all"))


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=recipe.OUT)
    parser.add_argument("--dry", action="store_true", help="print, and write nothing down")
    given = parser.parse_args()
    train, held = recipe.split(torch.load(given.out / "bank.pt", weights_only=False))
    pocket = Pocket()
    lines = kinds(pocket, train, list(unseen(data_root())))
    lines += opacity(pocket, train, held) + classes(pocket, train, held) + negation(pocket, held)
    rows, more = table(lines), sentences(pocket)
    print("\n".join([*rows, "", *more]), flush=True)
    if given.dry:
        return
    between(PAGE, ("<!-- pocket -->", "<!-- end -->"), ["", *rows, "", *more, ""])
    chosen = [each for each in lines if on_card(each)]
    said = ", ".join(f"{each.what} ({each.by.partition(', ')[2]}) {number(each.numbers)}" for each in chosen)
    shown = json.loads((given.out / "shown.json").read_text())
    between(recipe.CARD, ("# pocket", "# end"), recipe.entry(shown, f"held patients and unseen sources: {said}"))


if __name__ == "__main__":
    main()
