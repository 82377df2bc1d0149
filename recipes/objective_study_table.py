"""What is measured of a cell of the objective study, and the page and the figure that come of all of them."""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import biomedclip_pocket_measure as measures
import numpy as np
import phrases
from captions import Known
from scout import between
from sklearn.metrics import roc_auc_score

from hilum.bench.resample import redrawn

ROOT = Path(__file__).resolve().parents[1]
PAGE, FIGURE = ROOT / "docs/objective-study.md", ROOT / "docs/pictures/objective-study.png"
MARKS = ("<!-- measured -->", "<!-- end -->")
FIRST = "InfoNCE"
MEASURES = {
    "modality": "modality", "organ": "organ", "tumour": "tumour type, zero-shot", "tumour probe": "tumour type, probe",
    "lesion": "lesion class, zero-shot", "opacity": "opacity, AUROC within views", "negation": "claim or denial",
    "retrieval": "captions true of the first five",
}  # fmt: skip
Per = dict[str, dict[str, list[Any]]]  # measure -> truth, found, group, and view where it matters


@dataclass(frozen=True, slots=True)
class Eyes:
    """Unit vectors of pictures and of texts."""

    see: Callable[[list[Known]], np.ndarray]
    read: Callable[[list[str]], np.ndarray]

    def groups(self, groups: list[list[str]]) -> np.ndarray:
        """A unit vector for each group of texts."""
        means = np.stack([self.read(group).mean(0) for group in groups])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def found(eyes: Eyes, learned: list[Known], held: list[Known]) -> Per:
    """Per picture, what is true and what was said."""
    seen, people, per = eyes.see(held), measures.people(held), {}
    kinds = (("modality", phrases.WAYS, measures.MODALITIES), ("organ", phrases.ORGANS, measures.ORGANS))
    for what, words, names in kinds:
        truth = np.array([alike(each.way if what == "modality" else each.organ) for each in held])
        texts = eyes.groups([[f"this is a photo of {word}" for word in words[name]] for name in names])
        per[what] = told(truth, np.array(names)[(seen @ texts.T).argmax(1)], people)
    per |= classified(eyes, learned, held, seen, people)
    per["negation"] = negated(eyes, held, seen, people)
    per["retrieval"] = retrieved(eyes, held, seen, people)
    return per


def alike(name: str) -> str:
    return measures.ALIKE.get(name, name)


def told(
    truth: np.ndarray, said: np.ndarray, people: np.ndarray, view: np.ndarray | None = None
) -> dict[str, list[Any]]:
    more = {} if view is None else {"view": view.tolist()}
    return {"truth": truth.tolist(), "found": said.tolist(), "group": people.tolist(), **more}


def classified(eyes: Eyes, learned: list[Known], held: list[Known], seen: np.ndarray, people: np.ndarray) -> Per:
    """Tumours, lesions, and opacities on films."""
    per: Per = {}
    for source, what, names in (("brain_mri", "tumour", measures.TUMOURS), ("ultrasound", "lesion", measures.LESIONS)):

        def label(each: Known, names: tuple[str, ...] = names) -> str:
            return next((name for name in names if name in each.there), "none")

        rows = np.array([each.source == source for each in held])
        truth = np.array([label(each) for each in held if each.source == source])
        texts = eyes.groups([list(phrases.HEALTHY if name == "none" else phrases.names(name)) for name in names])
        per[what] = told(truth, np.array(names)[(seen[rows] @ texts.T).argmax(1)], people[rows])
        if what == "tumour":
            own = [each for each in learned if each.source == source]
            probe = measures.probed(eyes.see(own), [label(each) for each in own], seen[rows])
            per["tumour probe"] = told(truth, np.array(sorted(names))[probe.argmax(1)], people[rows])
    rows = np.array([each.source == "cxr" and ("opacity" in each.there or not each.there) for each in held])
    ways = ("there is {}", "there is no {}")
    claim, denial = eyes.groups([[way.format(word) for word in phrases.SAME["opacity"]] for way in ways])
    truth, views = (
        np.array(column)[rows] for column in zip(*(("opacity" in e.there, e.view) for e in held), strict=True)
    )
    per["opacity"] = told(truth, seen[rows] @ (claim - denial), people[rows], views)
    return per


def negated(eyes: Eyes, held: list[Known], seen: np.ndarray, people: np.ndarray) -> dict[str, list[Any]]:
    """Claim or denial, in words that were never trained on."""
    own = np.array([number for number, each in enumerate(held) if each.source in ("cxr", "brain_mri", "ultrasound")])
    places, sides, there = measures.claims_and_denials([held[number] for number in own])
    texts = sorted({text for side in sides for text in side})
    vectors = dict(zip(texts, eyes.read(texts), strict=True))
    claims, denials = (np.stack([vectors[text] for text in side]) for side in sides)
    margin = (seen[own][places] * (claims - denials)).sum(1)
    return told(there, margin > 0, people[own][places])


def retrieved(eyes: Eyes, held: list[Known], seen: np.ndarray, people: np.ndarray) -> dict[str, list[Any]]:
    """Of the five captions that are nearest to a picture, one of each held picture, how many are true of it."""
    rng = np.random.default_rng(0)
    said = [each.caption(rng) for each in held]
    first = np.argsort(-(seen @ eyes.read([text for text, _ in said]).T), axis=1)[:, :5]
    true = [[said[number][1] <= each.facts for number in some] for each, some in zip(held, first, strict=True)]
    return told(np.ones(len(held)), np.mean(true, axis=1), people)


def value(what: str, truth: np.ndarray, said: np.ndarray, view: np.ndarray | None) -> float:
    """The measure of some rows."""
    if what == "retrieval":
        return float(said.mean())
    if what == "opacity":
        return float(np.mean([roc_auc_score(truth[view == each], said[view == each]) for each in ("AP", "PA")]))
    return measures.balanced(truth, said)


def drawn(cells: list[dict[str, Any]], what: str, draws: int = 400) -> tuple[float, np.ndarray]:
    """The mean over seeds, and as many means of patients and seeds drawn anew; the same draws for every objective."""
    per = [{key: np.array(column) for key, column in cell["found"][what].items()} for cell in cells]

    def of(each: dict[str, np.ndarray], rows: np.ndarray) -> float:
        some = {key: column[rows] for key, column in each.items()}
        return value(what, some["truth"], some["found"], some.get("view"))

    every, found, rng = np.arange(len(per[0]["truth"])), [], np.random.default_rng(1)
    for rows in redrawn(per[0]["group"], draws=draws):
        chosen = rng.integers(0, len(per), len(per))
        try:
            found.append(np.mean([of(per[number], rows) for number in chosen]))
        except ValueError:  # a draw without one of the classes
            found.append(np.nan)
    return float(np.mean([of(each, every) for each in per])), np.array(found)


def table(given: argparse.Namespace) -> None:
    """The page between its marks, and the figure."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(given.out.glob("*.json")):
        told_ = json.loads(file.read_text())
        cells.setdefault(told_["objective"], []).append(told_)
    order = sorted(cells, key=lambda name: (name != FIRST, name))
    numbers = {name: {what: drawn(cells[name], what) for what in MEASURES} for name in order}
    head = [f"| objective | {' | '.join(MEASURES.values())} | seeds |", "|---" * (len(MEASURES) + 2) + "|"]
    rows = []
    for name in order:
        first = None if name == FIRST else numbers[FIRST]
        parts = [told_cell(numbers[name][what], first and first[what]) for what in MEASURES]
        rows.append(f"| {name} | {' | '.join(parts)} | {len(cells[name])} |")
    steps = sorted({cell["steps"] for some in cells.values() for cell in some})
    said = (
        f"{', '.join(map(str, steps))} steps of 48 pictures a cell. Mean of the seeds [95 %: patients and seeds drawn "
    )
    said += f"anew]; bold where the paired difference to {FIRST} is off zero."
    picture = f"![Every objective beside InfoNCE](pictures/{FIGURE.name})"
    between(PAGE, MARKS, ["", said, "", *head, *rows, "", picture, ""])
    drawn_figure(order, numbers)
    print("\n".join([said, *head, *rows]))


def told_cell(own: tuple[float, np.ndarray], first: tuple[float, np.ndarray] | None) -> str:
    low, high = np.nanquantile(own[1], (0.025, 0.975))
    apart = first is not None and np.prod(np.nanquantile(own[1] - first[1], (0.025, 0.975))) > 0
    return f"{'**' if apart else ''}{own[0]:.2f}{'**' if apart else ''} [{low:.2f}, {high:.2f}]"


def drawn_figure(order: list[str], numbers: dict[str, dict[str, tuple[float, np.ndarray]]]) -> None:
    """The difference of each to InfoNCE, by measure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    others = [name for name in order if name != FIRST]
    figure, axes = pyplot.subplots(1, len(others), figsize=(3 * len(others), 3.6), sharey=True, layout="constrained")
    for axis, name in zip(np.atleast_1d(axes), others, strict=True):
        for row, what in enumerate(MEASURES):
            apart = numbers[name][what][1] - numbers[FIRST][what][1]
            low, high = np.nanquantile(apart, (0.025, 0.975))
            axis.plot([low, high], [row, row], color="#3b6ea5", lw=2)
            axis.plot(numbers[name][what][0] - numbers[FIRST][what][0], row, "o", color="#3b6ea5")
        axis.axvline(0, color="0.6", lw=1)
        axis.set(title=name, xlabel=f"minus {FIRST}", yticks=range(len(MEASURES)), yticklabels=list(MEASURES.values()))
    np.atleast_1d(axes)[0].invert_yaxis()
    figure.savefig(FIGURE, dpi=110)
